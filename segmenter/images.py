"""Files and bytes to arrays, with bounded memory: orientation applied, odd modes converted, broken ones refused."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from segmenter.errors import ImageError

# No camera makes more; a larger header is a mistake or an attack.
MAX_PIXELS = 200_000_000

# What Pillow and its codecs raise for files that are no images, or broken ones.
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)

Pixels = npt.NDArray[np.uint8]
SizeWH = tuple[int, int]

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


def decode(source: Path | bytes, *, side: int) -> tuple[Image.Image, SizeWH]:
    """Decode to RGB as shown (EXIF orientation applied), and say the full size as shown.

    An image that is much larger than needed comes smaller, never below `side` pixels along its long side.

    Raises:
        ImageError: not an image, cut off, of an unknown kind, or of more than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on odd but readable metadata
            return _decode(source, side=side)
    except UNREADABLE as error:
        raise ImageError(f"not an image that can be read: {error}") from error


def _decode(source: Path | bytes, *, side: int) -> tuple[Image.Image, SizeWH]:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        full = opened.size
        if full[0] * full[1] > MAX_PIXELS:
            raise ImageError(f"an image of {full[0]} x {full[1]} pixels is more than {MAX_PIXELS:,} pixels")
        drafted = opened.draft("RGB", fitted(full, side=side))
        opened.load()
        # Block means down to twice what the network sees: what is left to its own resizing is then all but exact.
        factor = max(1, max(opened.size) // (2 * side))
        return turned(to_rgb(opened, factor=factor), opened, full if drafted else opened.size)


def read_mask(path: Path) -> Pixels:
    """Read a mask of class ids (H, W); indexed and grey PNGs hold the ids as they are.

    Raises:
        ImageError: not an image, or not of a single channel of 8 bits.
    """
    try:
        with Image.open(path) as opened:
            if opened.mode not in ("P", "L", "1"):
                raise ImageError(f"a mask has one channel of 8 bits (mode P or L), this one is {opened.mode}")
            return np.asarray(opened if opened.mode != "1" else opened.convert("L"), dtype=np.uint8).copy()
    except UNREADABLE as error:
        raise ImageError(f"not an image that can be read: {error}") from error


# From here on pipeline/preprocess.py has the same text.


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
