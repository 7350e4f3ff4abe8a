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


def decode(source: Path | bytes, *, side: int) -> tuple[Image.Image, SizeWH]:
    """Decode to RGB as shown (EXIF orientation applied), and say the full size as shown.

    A JPEG that is much larger than needed is decoded at a fraction of its size, never below `side` pixels along its
    long side.

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
        size = opened.size
        if size[0] * size[1] > MAX_PIXELS:
            raise ImageError(f"an image of {size[0]} x {size[1]} pixels is more than {MAX_PIXELS:,} pixels")
        opened.draft("RGB", _draft_size(size, side=side))
        shown = ImageOps.exif_transpose(opened)
        turned = shown.size != opened.size
        return _rgb(shown), (size[1], size[0]) if turned else size


def fitted(size: SizeWH, *, side: int) -> SizeWH:
    """Shrink a size so that its long side is at most `side`; proportions are kept, nothing is enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


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


def _draft_size(size: SizeWH, *, side: int) -> SizeWH:
    # draft() never goes below the size asked for on either side.
    return fitted(size, side=side)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # 16 bits a pixel: Pillow's own conversion would clip everything above 255 to white.
        values = np.asarray(image, dtype=np.float32)
        return Image.fromarray((values / max(1.0, float(values.max()) / 255)).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
