"""Images: from the reference in a task to bytes, and from bytes to what an endpoint takes."""

import hashlib
import io
import logging
import re
import struct
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from backend.aws import split_s3_uri
from backend.bucket_images import BucketImages
from backend.config import Settings
from backend.dataset import Selection
from backend.downloads import Downloads
from backend.errors import AwsError, BackendError, ImageAwayError, ImageError
from backend.image_cache import ImageCache, PreparedImage, cache_key
from backend.references import decode_data_uri, normal

logger = logging.getLogger(__name__)

MAX_BYTES = 128 * 2**20
MAX_PIXELS = 100_000_000  # above that a file is more likely a decompression bomb than a photo
_JPEG_QUALITY = 92
# By a process, in threads for nothing else: a large image takes much memory for a moment, more at once are no faster,
# and glibc keeps some of it for each thread that ever decoded one.
_DECODED_AT_ONCE = 2
# Files of Label Studio, which may lie below a path of its own; nothing else there is asked for with our token.
_UPLOAD = re.compile(r"(/[\w.~-]+)*?/data/(?!.*\.\./)")
# What turns an image upright, by its EXIF orientation; from 5 on it lies on its side.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
STRIP_PIXELS = 2**20  # so many are converted at a time
# What Pillow and its codecs raise for files that are no images, or broken ones. pipeline/preprocess.py has the same.
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class ObjectStore(Protocol):
    """What fetching needs of S3."""

    def get_object(self, bucket: str, key: str, *, limit: int | None = None) -> bytes: ...
    def has_object(self, key: str) -> bool: ...
    def put_object(self, key: str, body: bytes) -> None: ...


class FileServer(Protocol):
    """What fetching needs of Label Studio."""

    def fetch(self, path: str, *, task: int | None, limit: int) -> bytes: ...


class Images:
    """Finds the bytes of any image that a Label Studio task can refer to."""

    def __init__(
        self, settings: Settings, *, store: ObjectStore, files: FileServer, downloads: Downloads | None = None
    ) -> None:
        self._settings = settings
        self._store = store
        self._files = files
        self._downloads = downloads or Downloads.by(settings)
        self._cache = ImageCache(
            settings.model_dir / "images", megabytes=settings.image_cache_mb, processes=settings.workers + 1
        )
        self._decoding = ThreadPoolExecutor(_DECODED_AT_ONCE, thread_name_prefix="decode")
        self._bucket_images = BucketImages(settings, store=store, copy=self._copied)

    def prepared(self, reference: str, *, project: int, side: int, task: int | None = None) -> PreparedImage:
        """The image as the endpoint takes it, *side* pixels long at most.

        It comes from the cache where it was made ready for *project* lately.

        Raises:
            ImageError: it cannot be had or read; an ImageAwayError where it may be had later.
        """
        reference = normal(reference)
        if reference.startswith("data:"):  # all of it is here
            return self._prepare(reference, task, side)
        key = cache_key(reference, project=project, side=side)
        image = self._cache.get(key)
        if image is None:
            image = self._prepare(reference, task, side)
            self._cache.put(key, image)
        return image

    def _prepare(self, reference: str, task: int | None, side: int) -> PreparedImage:
        body = self.fetch(reference, task=task)
        return self._decoding.submit(prepare_image, body, side=side).result()

    def fetch(self, reference: str, *, task: int | None = None) -> bytes:
        """Bytes of an upload (``/data/...``), an ``http(s)://``, ``s3://`` or ``data:`` address.

        Raises:
            ImageError: it cannot be had; an ImageAwayError where it may be had later.
        """
        reference = normal(reference)
        if reference.startswith("s3://"):
            return self._fetch_s3(reference, task)
        if reference.startswith("data:"):
            return decode_data_uri(reference)
        if _is_upload(reference):
            return self._fetch_file(reference, task)
        path = reference.removeprefix(self._settings.label_studio_url)
        if path != reference and _is_upload(path):
            return self._fetch_file(path, task)
        if reference.startswith(("http://", "https://")):
            return self._downloads.get(reference, limit=MAX_BYTES)
        raise ImageError(f"wanted an upload, http(s)://, s3:// or data: address, got {reference[:200]!r}")

    def _fetch_s3(self, uri: str, task: int | None) -> bytes:
        """With our own credentials; where those do not reach, with those of Label Studio's storage."""
        try:
            return self._store.get_object(*split_s3_uri(uri), limit=MAX_BYTES)
        except AwsError as error:
            if task is None:
                raise ImageAwayError(f"cannot read {uri[:200]}: {error}") from error
            logger.info("task %s: cannot read its image from S3 (%s); asking Label Studio", task, error)
        return self._fetch_file(uri, task)

    def _fetch_file(self, path: str, task: int | None) -> bytes:
        try:
            return self._files.fetch(path, task=task, limit=MAX_BYTES)
        except ImageError:
            raise
        except BackendError as error:
            raise ImageAwayError(f"cannot get {path[:200]}: {error}") from error

    def keys(self, project: int, selection: Selection) -> dict[str, str]:
        """Object keys of the selected images in ``S3_BUCKET``, by their references; see :class:`BucketImages`.

        Those that lie elsewhere are copied once, to a key made of the reference.

        Raises:
            ImageAwayError: one may be had later, and was not waited for long yet.
        """
        return self._bucket_images.keys(project, selection)

    def _copied(self, project: int, reference: str, task: int) -> str:
        digest = hashlib.sha256(normal(reference).encode()).hexdigest()
        key = self._settings.key("projects", str(project), "images", digest)
        if not self._store.has_object(key):
            body = self.fetch(reference, task=task)
            require_image(body)  # what is none (a login page, say) must not lie there as one for ever
            self._store.put_object(key, body)
        return key


def _is_upload(path: str) -> bool:
    """Whether it lies below ``/data/``, also once a server has decoded it: nothing else is asked for with our token."""
    return _UPLOAD.match(urllib.parse.unquote(path)) is not None


def prepare_image(body: bytes, *, side: int) -> PreparedImage:
    """Turn an image upright and shrink it to at most *side* pixels on its long side.

    Before it becomes a JPEG it has the very pixels that pipeline/preprocess.py makes of it for training at this side.
    What it takes is the decoded image (1 to 4 bytes a pixel, a large JPEG far less) and some 50 MB: measured at 50
    megapixels, 147 MB for a PNG of 16 bits, 228 MB for one in colour, 36 MB for a JPEG (155 MB for a progressive one,
    386 MB in CMYK). The decoder of WebP takes 15 bytes a pixel, that of JPEG 2000 18: 767 and 924 MB.

    Raises:
        ImageError: it is no image that can be read, or has more than MAX_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(body)) as image:
            _require_few_pixels(image)
            upright, shown_wh = as_shown(image, side=side)
    except UNREADABLE as error:
        raise ImageError(f"not an image that can be read: {_why(error)}") from error
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return PreparedImage(buffer.getvalue(), upright.size, shown_wh)


def require_image(body: bytes) -> None:
    """Raise ImageError if *body* does not begin as an image does; reads the header only."""
    try:
        with Image.open(io.BytesIO(body)) as image:
            _require_few_pixels(image)
    except UNREADABLE as error:
        raise ImageError(f"not an image that can be read: {_why(error)}") from error


def _why(error: Exception) -> str:
    """The reason without the address of a buffer in memory, which is all that Pillow knows of the file."""
    return "its format is not known" if isinstance(error, UnidentifiedImageError) else str(error)


def _require_few_pixels(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"it has {width}x{height} pixels; at most {MAX_PIXELS} are read")


# From here on pipeline/preprocess.py has the same text, so that an image looks alike in training and in prediction.


def as_shown(image: Image.Image, *, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Decode to RGB, upright and at most `side` pixels long (never enlarged); say the full size as shown, too.

    A JPEG can be decoded at a half, a quarter or an eighth. Where that is `side` or up to a sixteenth shorter it stays
    so, as with most cameras' 4032 pixels for a side of 1024 or 512: nothing is left to shrink then.
    """
    full = image.size
    drafted = image.draft("RGB", fitted(full, side=side - side // 16))  # at a fraction, never below that size
    image.load()
    full = full if drafted else image.size
    factor = max(1, max(image.size) // (2 * side))
    rgb = to_rgb(image, factor=factor)
    if max(rgb.size) > side:
        box = (0, 0, image.width / factor, image.height / factor)
        rgb = rgb.resize(fitted(full, side=side), Image.Resampling.BILINEAR, box=box)
    return turned(rgb, image, full)


def fitted(size: tuple[int, int], *, side: int) -> tuple[int, int]:
    """Shrink a size so that its long side is at most `side`; proportions are kept, nothing is enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_rgb(image: Image.Image, *, factor: int = 1) -> Image.Image:
    """Any mode as RGB, each side `factor` times shorter (rounded up): the mean colours of blocks.

    Transparent places become white. Values of more than 8 bits are stretched, the darkest to black and the brightest
    to white. It goes a strip at a time, to need little memory beyond the image and the result.
    """
    convert = _stretching(image) if image.mode.startswith(("I", "F")) else _on_white
    result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top, strip in _strips(image, factor):
        result.paste(convert(strip).reduce(factor), (0, top // factor))
    return result


def _strips(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    """The image in pieces of its full width and about STRIP_PIXELS, each with its upper edge, a multiple of factor."""
    rows = factor * max(1, STRIP_PIXELS // (image.width * factor))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _stretching(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """How to make 8 bits of the image's values. Pillow itself would cut off all above 255."""
    low, high = _extremes(image)
    scale = 255 / (high - low) if high > low else 0.0

    def stretch(strip: Image.Image) -> Image.Image:
        values = np.nan_to_num(np.asarray(strip, dtype=np.float64), nan=low, posinf=high, neginf=low)
        return Image.fromarray(np.rint((values - low) * scale).astype(np.uint8)).convert("RGB")

    return stretch


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value; real numbers may also be infinite or none, which do not count."""
    strips = (np.asarray(strip) for _, strip in _strips(image, 1))
    spans = [(finite.min(), finite.max()) for values in strips if (finite := values[np.isfinite(values)]).size]
    return float(min((low for low, _ in spans), default=0)), float(max((high for _, high in spans), default=0))


def turned(rgb: Image.Image, image: Image.Image, full: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Turn `rgb` upright by the EXIF orientation of the decoded `image` that it was made from, and its `full` size."""
    # Read only now: Pillow turns a TIFF itself while it decodes it, and then takes the orientation away.
    orientation = image.getexif().get(ORIENTATION)
    if orientation not in UPRIGHT:
        return rgb, full
    return rgb.transpose(UPRIGHT[orientation]), (full[1], full[0]) if orientation >= 5 else full
