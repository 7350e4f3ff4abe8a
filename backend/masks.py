"""Segmentation output -> polygons. Pure: arrays in, arrays out.

Contours run where two classes are equally probable, which for a class mask is along its pixel edges: the centre
of pixel ``(row, column)`` lies at ``((column + 0.5) / width, (row + 0.5) / height)``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
MINIMUM_AREA = 1e-4  # of the image: smaller regions are specks
TOLERANCE_PX = 0.7  # how far a simplified outline may leave the contour, in pixels of the model's output
_UPSCALE = 2  # a class mask is enlarged, so that its contour cuts a pixel's corner by a quarter, not a half
_STAIRCASE_PX = 1.1  # tolerance for masks: just above a pixel, which takes the stairs out of a slanted edge


@dataclass(frozen=True, slots=True)
class Polygon:
    """One predicted region: vertices as fractions 0..1 of the image; *score* is None where only a mask is known."""

    class_id: int
    points: tuple[tuple[float, float], ...]
    score: float | None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """All regions of one image; *score* in [0, 1]: how sure the model is of them, None where only a mask is known."""

    polygons: tuple[Polygon, ...]
    score: float | None


def probabilities_to_polygons(probabilities: Floats) -> Segmentation:
    """Outline every region of every class but the background.

    Args:
        probabilities: shape (classes, height, width), class 0 is the background.
    """
    classes = probabilities.argmax(axis=0).astype(np.uint8)
    second, first = np.partition(probabilities, -2, axis=0)[-2:]
    polygons = []
    for class_id in np.unique(classes[classes > 0]):
        best_other = np.where(classes == class_id, second, first)
        for shape in _outline(probabilities[class_id] - best_other):
            score = _mean_inside(probabilities[class_id], shape)
            polygons.append(_polygon(int(class_id), shape, probabilities.shape[1:], score))
    return Segmentation(_largest_first(polygons), _image_score(first, classes))


def mask_to_polygons(mask: NDArray[np.uint8]) -> Segmentation:
    """Outline every region of a mask of class ids, shape (height, width); 0 and 255 (ignore) are background."""
    large = mask.repeat(_UPSCALE, axis=0).repeat(_UPSCALE, axis=1)
    polygons: list[tuple[float, Polygon]] = []
    for class_id in np.unique(mask[(mask > 0) & (mask < 255)]):
        margin = np.where(large == class_id, np.float32(1), np.float32(-1))
        shapes = _outline(margin, tolerance=_STAIRCASE_PX * _UPSCALE)
        polygons.extend(_polygon(int(class_id), shape, large.shape, None) for shape in shapes)
    return Segmentation(_largest_first(polygons), None)


def _outline(margin: Floats, *, tolerance: float = TOLERANCE_PX) -> Iterator[shapely.Polygon]:
    """Simple polygons around the places where *margin* is above zero, in pixels; holes are filled."""
    top, left, window = _around_positive(margin)
    framed = np.pad(window, 1, constant_values=min(-1e-3, float(window.min())))  # so that every contour is closed
    contours = contourpy.contour_generator(z=framed, fill_type="OuterOffset").filled(0, np.inf)
    for points, offsets in zip(*contours, strict=True):
        ring = np.add(points[: offsets[1]], (left - 0.5, top - 0.5))  # the frame is off by one, a centre by a half
        if len(ring) < 4:
            continue
        shape = shapely.Polygon(np.clip(ring, 0, (margin.shape[1], margin.shape[0]))).simplify(tolerance)
        yield from _simple_parts(shape, MINIMUM_AREA * margin.size)


def _around_positive(margin: Floats) -> tuple[int, int, Floats]:
    """The part of *margin* that has all places above zero and a pixel around them, and its top and left.

    Most regions are small, and the contour finder takes eight bytes for each pixel.
    """
    positive = margin > 0
    rows, columns = np.flatnonzero(positive.any(axis=1)), np.flatnonzero(positive.any(axis=0))
    if not len(rows):
        return 0, 0, margin[:1, :1]
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    return int(top), int(left), margin[top : rows[-1] + 2, left : columns[-1] + 2]


def _simple_parts(shape: shapely.Geometry, minimum_area: float) -> Iterator[shapely.Polygon]:
    valid = shape if shapely.is_valid(shape) else shapely.make_valid(shape)
    for part in shapely.get_parts(valid):
        if isinstance(part, shapely.Polygon) and part.area >= minimum_area:
            yield shapely.Polygon(part.exterior)


def _polygon(
    class_id: int, shape: shapely.Polygon, size_hw: tuple[int, ...], score: float | None
) -> tuple[float, Polygon]:
    ring = np.asarray(shape.exterior.coords)[:-1] / (size_hw[1], size_hw[0])
    return shape.area, Polygon(class_id, tuple((float(x), float(y)) for x, y in ring), score)


def _largest_first(polygons: list[tuple[float, Polygon]]) -> tuple[Polygon, ...]:
    """Label Studio draws later regions on top: small parts stay visible and clickable."""
    return tuple(polygon for _, polygon in sorted(polygons, key=lambda pair: -pair[0]))


def _mean_inside(probability: Floats, shape: shapely.Polygon) -> float:
    """Mean over the pixels in *shape*, its border included: Pillow draws it, which is exact enough for a mean."""
    left, top, right, bottom = (int(bound) for bound in shape.bounds)
    window = probability[top : bottom + 1, left : right + 1]
    inside = Image.new("1", (window.shape[1], window.shape[0]))
    ImageDraw.Draw(inside).polygon([(x - left - 0.5, y - top - 0.5) for x, y in shape.exterior.coords], fill=1)
    chosen = window[np.asarray(inside)]
    return float(chosen.mean()) if chosen.size else 0.0


def _image_score(chosen: Floats, classes: NDArray[np.uint8]) -> float:
    """Mean probability of the chosen class over the foreground; over the whole image where nothing was found."""
    foreground = classes > 0
    return float(np.clip(chosen[foreground].mean() if foreground.any() else chosen.mean(), 0.0, 1.0))
