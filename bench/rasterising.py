"""Polygons -> mask: the pipeline's way and Pillow's ImageDraw, both against a count of the pixel centres inside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from PIL import Image, ImageDraw

from bench.terminal import say
from pipeline.preprocess import polygons_to_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bench.samples import Drawn, Photo

    Draw = Callable[[Sequence[Drawn], tuple[int, int]], NDArray[np.uint8]]

SIDE = 512
RUNS = 5


def measure(photos: Sequence[Photo]) -> dict[str, Any]:
    """Time and error of both; the error is of a single polygon's area, the time is of a whole annotation."""
    every = [polygon for photo in photos for polygon in photo.polygons if shapely.is_valid(_shape(polygon))]
    exact = np.array([_centres_inside(_shape(polygon)) for polygon in every])
    kept = [(polygon, area) for polygon, area in zip(every, exact, strict=True) if area >= 26]  # of 512 x 512: 0.01 %
    say(f"rasterising: {len(kept)} polygons at {SIDE} pixels")
    return {
        "side": SIDE,
        "polygons": len(kept),
        **_one(_ours, photos, kept),
        "peers": {"pillow": _one(_by_pillow, photos, kept)},
    }


def _one(draw: Draw, photos: Sequence[Photo], known: Sequence[tuple[Drawn, int]]) -> dict[str, float]:
    size = (SIDE, SIDE)
    errors = [abs(np.count_nonzero(draw([polygon], size)) - area) / area for polygon, area in known]
    ms = [min(_timed(draw, photo.polygons, size) for _ in range(RUNS)) for photo in photos]
    return {
        "ms_per_annotation": round(float(np.mean(ms)), 3),
        "area_error_mean": round(float(np.mean(errors)), 5),
        "area_error_max": round(float(np.max(errors)), 5),
    }


def _timed(draw: Draw, polygons: Sequence[Drawn], size_wh: tuple[int, int]) -> float:
    began = time.process_time()
    draw(polygons, size_wh)
    return (time.process_time() - began) * 1000


def _ours(polygons: Sequence[Drawn], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    return polygons_to_mask([(each.class_id, each.points) for each in polygons], size_wh)


def _by_pillow(polygons: Sequence[Drawn], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """The larger first, too; half a pixel less, since whole numbers are centres to Pillow."""
    mask = Image.new("L", size_wh)
    pen, (width, height) = ImageDraw.Draw(mask), size_wh
    outlines = [
        (each.class_id, [(x * width / 100 - 0.5, y * height / 100 - 0.5) for x, y in each.points]) for each in polygons
    ]
    for class_id, outline in sorted(outlines, key=lambda pair: -shapely.Polygon(pair[1]).area):
        pen.polygon(outline, fill=class_id)
    return np.asarray(mask)


def _shape(polygon: Drawn) -> shapely.Polygon:
    return shapely.Polygon(np.clip(np.array(polygon.points), 0, 100) * (SIDE / 100))


def _centres_inside(shape: shapely.Polygon) -> int:
    """Counted one by one, by a library that knows nothing of scan lines."""
    left, top, right, bottom = (int(bound) for bound in shape.bounds)
    x, y = np.meshgrid(np.arange(left, right + 1) + 0.5, np.arange(top, bottom + 1) + 0.5)
    return int(shapely.contains_xy(shape, x, y).sum())
