"""The photos and masks that are measured on: a folder of real ones where there is one, else the demo's birds.

The folder holds `images/NAME.jpg`, `masks/NAME.png` (class ids) and `annotations/NAME.json` (a Label Studio task);
names that begin with `train_` are for training, those with `test_` for testing.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demo import birds
from pipeline.preprocess import polygons_to_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

REAL_LABELS = ("Light", "Wheel", "Glass", "Body")
BIRDS = 64
TESTED_BIRDS = 22


@dataclass(frozen=True, slots=True)
class Drawn:
    """One polygon of an annotation: its class id and its points in per cent."""

    class_id: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture as its file has it, its mask of class ids, and the polygons that the mask was drawn from."""

    name: str
    jpeg: bytes
    mask: NDArray[np.uint8]
    polygons: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """All photos; *source* says where they are from."""

    source: str
    labels: tuple[str, ...]
    train: Sequence[Photo]
    test: Sequence[Photo]

    @property
    def photos(self) -> Sequence[Photo]:
        """Those for training and those for testing."""
        return (*self.train, *self.test)


def load(folder: Path) -> Samples:
    """The photos of *folder*, or birds where it has none."""
    if not (folder / "masks").is_dir():
        return _birds()
    photos = {
        prefix: tuple(_photo(folder, path.stem) for path in sorted((folder / "masks").glob(f"{prefix}_*.png")))
        for prefix in ("train", "test")
    }
    return Samples("realset", REAL_LABELS, photos["train"], photos["test"])


def _photo(folder: Path, name: str) -> Photo:
    with Image.open(folder / "masks" / f"{name}.png") as opened:
        mask = np.asarray(opened, dtype=np.uint8)
    task = json.loads((folder / "annotations" / f"{name}.json").read_text(encoding="utf-8"))
    regions = task["annotations"][0]["result"]
    jpeg = (folder / "images" / f"{name}.jpg").read_bytes()
    return Photo(name, jpeg, mask, tuple(_drawn(region["value"]) for region in regions))


def _drawn(value: dict[str, Any]) -> Drawn:
    points = tuple((float(x), float(y)) for x, y in value["points"])
    return Drawn(REAL_LABELS.index(value["polygonlabels"][0]) + 1, points)


def _birds() -> Samples:
    photos = [bird(seed, size_wh=birds.scene_size(seed)) for seed in range(BIRDS)]
    return Samples("birds", birds.LABELS, photos[:-TESTED_BIRDS], photos[-TESTED_BIRDS:])


def bird(seed: int, *, size_wh: tuple[int, int]) -> Photo:
    """The bird of a seed as a photo."""
    scene = birds.draw_scene(seed, size_wh=size_wh)
    polygons = tuple(Drawn(birds.LABELS.index(each.label) + 1, each.points_percent) for each in scene.polygons)
    file = io.BytesIO()
    scene.image.save(file, "JPEG", quality=90)
    mask = polygons_to_mask([(each.class_id, each.points) for each in polygons], size_wh)
    return Photo(f"bird {seed}", file.getvalue(), mask, polygons)
