"""Files and bytes to arrays, with bounded memory: orientation applied, odd modes converted, broken ones refused."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

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

ORIENTATION = 0x0112  # the EXIF tag
SIDEWAYS = range(5, 9)  # its values for an image that lies on its side


def decode(source: Path | bytes, *, side: int) -> tuple[Image.Image, SizeWH]:
    """Decode to RGB as shown (EXIF orientation applied), and say the full size as shown.

    A JPEG that is much larger than needed comes smaller, never below `side` pixels along its long side.

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
        if not drafted:
            full = opened.size  # Pillow turns a TIFF itself while it decodes it
        sideways = opened.getexif().get(ORIENTATION) in SIDEWAYS
        upright = _rgb(ImageOps.exif_transpose(opened))
        return upright, (full[1], full[0]) if sideways else full


def fitted(size: SizeWH, *, side: int) -> SizeWH:
    """Shrink a size so that its long side is at most `side`; proportions are kept, nothing is enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _rgb(image: Image.Image) -> Image.Image:
    """RGB of 8 bits; transparent places become white. Deeper values are for who sends the image to scale."""
    if image.mode.startswith(("I", "F")):
        raise ImageError(f"wanted an image of 8 bits a channel, this one is {image.mode}; convert it first")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


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
