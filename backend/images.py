"""Images: from the reference in a task to bytes, and from bytes to what an endpoint takes."""

import base64
import hashlib
import io
import logging
import re
import struct
import time
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from backend.aws import split_s3_uri
from backend.config import Settings
from backend.dataset import Selection
from backend.errors import AwsError, BackendError, ImageAwayError, ImageError
from backend.label_studio import download

logger = logging.getLogger(__name__)

MAX_BYTES = 128 * 2**20
PATIENCE_SECONDS = 600.0  # how long training waits for images whose server is away
MAX_PIXELS = 100_000_000  # above that a file is more likely a decompression bomb than a photo
_JPEG_QUALITY = 92
# Files of Label Studio, which may lie below a path of its own; nothing else there is asked for with our token.
_UPLOAD = re.compile(r"(/[\w.~-]+)*?/data/(?!.*\.\./)")
_COPIES_AT_ONCE = 8
_ORIENTATION = 0x0112  # EXIF tag
_SIDEWAYS = {5, 6, 7, 8}  # its values for an image that lies on its side
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

    def __init__(self, settings: Settings, *, store: ObjectStore, files: FileServer) -> None:
        self._settings = settings
        self._store = store
        self._files = files
        self._away: dict[str, float] = {}  # when a reference was first found to be away

    def fetch(self, reference: str, *, task: int | None = None) -> bytes:
        """Bytes of an upload (``/data/...``), an ``http(s)://``, ``s3://`` or ``data:`` address.

        Raises:
            ImageError: it cannot be had; an ImageAwayError where it may be had later.
        """
        if reference.startswith("s3://"):
            return self._fetch_s3(reference, task)
        if reference.startswith("data:"):
            return _decode_data_uri(reference)
        if _UPLOAD.match(reference):
            return self._fetch_file(reference, task)
        path = reference.removeprefix(self._settings.label_studio_url)
        if path != reference and _UPLOAD.match(path):
            return self._fetch_file(path, task)
        if reference.startswith(("http://", "https://")):
            return download(reference, limit=MAX_BYTES)
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
        """Object keys of the selected images in ``S3_BUCKET``, by their references.

        Images that lie there already are used in place. All others are copied once, to a key made of the reference.
        Those that cannot be had are left out and logged: a single one that is missing would make the whole job fail.

        Raises:
            ImageAwayError: one may be had later, and was not waited for long yet (PATIENCE_SECONDS).
        """
        with ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="copy") as pool:
            tasks = selection.tasks
            keys = pool.map(lambda each: self._key(project, each.image, each.task), tasks)
            return {task.image: key for task, key in zip(tasks, keys, strict=True) if key is not None}

    def _key(self, project: int, reference: str, task: int) -> str | None:
        own = f"s3://{self._settings.s3_bucket}/"
        try:
            if reference.startswith(own):
                return self._present(reference.removeprefix(own))
            return self._copied(project, reference, task)
        except ImageAwayError as error:
            if self._is_worth_waiting_for(reference):
                raise ImageAwayError(f"training waits for the image of task {task}: {error}") from error
            logger.warning("project %s: task %s is left out of training: %s", project, task, error)
        except ImageError as error:
            logger.warning("project %s: task %s is left out of training: %s", project, task, error)
        return None

    def _is_worth_waiting_for(self, reference: str) -> bool:
        """A server that is away for a moment must not cost labelled images; one that stays away must not stop all."""
        now = time.monotonic()
        return now - self._away.setdefault(reference, now) < PATIENCE_SECONDS

    def _present(self, key: str) -> str:
        if not self._store.has_object(key):
            raise ImageError(f"there is no object {key[:200]} in {self._settings.s3_bucket}")
        return key

    def _copied(self, project: int, reference: str, task: int) -> str:
        digest = hashlib.sha256(reference.encode()).hexdigest()
        key = self._settings.key("projects", str(project), "images", digest)
        if not self._store.has_object(key):
            body = self.fetch(reference, task=task)
            require_image(body)  # what is none (a login page, say) must not lie there as one for ever
            self._store.put_object(key, body)
        return key


def _decode_data_uri(uri: str) -> bytes:
    header, _, body = uri.partition(",")
    if not header.endswith(";base64"):
        return urllib.parse.unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:  # also when it is no ASCII
        raise ImageError(f"the task's data: address cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A JPEG for the endpoint, and the sizes (width, height) of it and of the image as shown."""

    jpeg: bytes
    sent_wh: tuple[int, int]
    shown_wh: tuple[int, int]


def prepare_image(body: bytes, *, side: int) -> PreparedImage:
    """Turn an image upright and shrink it to at most *side* pixels on its long side.

    Raises:
        ImageError: it is no image that can be read, or has more than MAX_PIXELS.
    """
    try:
        shown_wh = _shown_size(body)
        with Image.open(io.BytesIO(body)) as image:
            image.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size, never below side
            upright = to_rgb(ImageOps.exif_transpose(image))
    except UNREADABLE as error:
        raise ImageError(f"not an image that can be read: {error}") from error
    upright.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return PreparedImage(buffer.getvalue(), upright.size, shown_wh)


def require_image(body: bytes) -> None:
    """Raise ImageError if *body* does not begin as an image does; reads the header only."""
    try:
        _shown_size(body)
    except UNREADABLE as error:
        raise ImageError(f"not an image that can be read: {error}") from error


def _shown_size(body: bytes) -> tuple[int, int]:
    """Width and height with the EXIF orientation applied; 5 to 8 lie on their side. Reads the header only."""
    with Image.open(io.BytesIO(body)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"it has {width}x{height} pixels; at most {MAX_PIXELS} are read")
        return (height, width) if image.getexif().get(_ORIENTATION) in _SIDEWAYS else (width, height)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16-bit values are scaled down, transparent places become white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _stretched(image)
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """A picture of 16-bit or real numbers, its darkest value black and its brightest white."""
    values = np.asarray(image, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
