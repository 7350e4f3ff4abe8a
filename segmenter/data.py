"""The channels: images and masks paired by name, loaded at the training size, bad ones skipped by name."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segmenter import images
from segmenter.container import Container
from segmenter.errors import DataError, ImageError
from segmenter.images import Pixels

logger = logging.getLogger(__name__)

IGNORE = 255
SUFFIXES = (".jpg", ".jpeg", ".png")
# How many skipped files are named one by one; the rest are counted.
NAMED = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One image (H, W, 3) and its mask of class ids (H, W; 255 = ignore), both at most `side` pixels long."""

    name: str
    image: Pixels
    mask: Pixels


@dataclass(frozen=True, slots=True)
class Channel:
    """What one pair of channels held."""

    samples: Sequence[Sample]
    skipped: Sequence[str]
    digest: str


def load(container: Container, name: str, *, side: int, num_classes: int) -> Channel:
    """Load the channel `name` with its masks from `name`_annotation.

    Files that cannot be used are skipped, and said.

    Raises:
        DataError: no usable pair is left, or a mask holds a class id that `num_classes` does not allow.
    """
    folder, masks = container.channel(name), container.channel(f"{name}_annotation")
    samples, skipped, digest = [], [], hashlib.sha256()
    for path in _image_files(folder):
        try:
            sample = _load_pair(path, masks / f"{path.stem}.png", side=side, num_classes=num_classes)
        except ImageError as error:
            skipped.append(f"{path.name}: {error}")
        else:
            samples.append(sample)
            digest.update(sample.name.encode() + sample.image.tobytes() + sample.mask.tobytes())
    _report(name, samples, skipped)
    return Channel(samples, skipped, digest.hexdigest())


def class_pixels(samples: Sequence[Sample], num_classes: int) -> list[int]:
    """Count the pixels of each class over all masks; ignored pixels are not counted."""
    counts = sum((np.bincount(sample.mask.ravel(), minlength=256) for sample in samples), np.zeros(256, np.int64))
    return [int(count) for count in counts[:num_classes]]


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _load_pair(path: Path, mask_path: Path, *, side: int, num_classes: int) -> Sample:
    if not mask_path.is_file():
        raise ImageError(f"its mask {mask_path.parent.name}/{mask_path.name} is missing")
    image, size = images.decode(path, side=side)
    mask = images.read_mask(mask_path)
    height, width = mask.shape
    if (width, height) != size:
        raise ImageError(f"the image is {size[0]} x {size[1]}, its mask {width} x {height} pixels")
    whole = Image.fromarray(mask)
    _check_ids(whole, name=mask_path.name, num_classes=num_classes)
    wanted = images.fitted(size, side=side)
    resized = image if image.size == wanted else image.resize(wanted, Image.Resampling.BILINEAR, reducing_gap=2.0)
    shrunk = whole.resize(wanted, Image.Resampling.NEAREST)
    return Sample(path.stem, np.asarray(resized).copy(), np.asarray(shrunk).copy())


def _check_ids(mask: Image.Image, *, name: str, num_classes: int) -> None:
    wrong = [value for value, count in enumerate(mask.histogram()) if count and num_classes <= value < IGNORE]
    if wrong:
        # Not skipped: one such mask means that num_classes is wrong for all of them.
        raise DataError(
            f"mask {name} holds the class ids {wrong[:5]}, but num_classes={num_classes} allows 0 to {num_classes - 1} "
            f"(and 255 = ignore): set num_classes to the number of labels plus one for the background"
        )


def _report(name: str, samples: Sequence[Sample], skipped: Sequence[str]) -> None:
    for line in skipped[:NAMED]:
        logger.warning("%s: skipped %s", name, line)
    if len(skipped) > NAMED:
        logger.warning("%s: skipped %s more", name, len(skipped) - NAMED)
    logger.info("%s: %s images, %s skipped", name, len(samples), len(skipped))
    if not samples:
        first = f", the first {skipped[0]}" if skipped else ""
        raise DataError(
            f"channel {name} holds no usable pair of NAME.jpg and {name}_annotation/NAME.png "
            f"({len(skipped)} skipped{first}): at least one is needed"
        )
