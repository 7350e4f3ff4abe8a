"""Segmentation output -> polygons. Pure: arrays in, arrays out.

Outlines run where two classes are equally probable, which for a class mask is along its pixels' edges; the centre of
pixel ``(row, column)`` lies at ``((column + 0.5) / width, (row + 0.5) / height)``. A hole with background in it is kept
(backend/holes.py); smaller ones than a speck, and those that other classes fill, are covered.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.holes import opened
from backend.outlines import IGNORE, Points, Ring, signed_area, trace_mask, trace_probabilities
from backend.simplification import DEFAULT_FIDELITY, Fidelity, simplify

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
MINIMUM_AREA = 1e-4  # of the image: smaller regions, and smaller holes, are specks
_PRESENT = 5e-4  # of the image: a class of which this much is expected counts half in the image's score


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


def probabilities_to_polygons(probabilities: Floats, fidelity: Fidelity = DEFAULT_FIDELITY) -> Segmentation:
    """Outline every region of every class but the background.

    Args:
        probabilities: shape (classes, height, width), class 0 is the background.
        fidelity: how close outlines keep to the regions.
    """
    classes = _most_probable(probabilities)
    rings = list(trace_probabilities(probabilities, classes, minimum_area=MINIMUM_AREA * classes.size))
    shapes = _shapes(rings, classes, fidelity)
    polygons = _polygons(shapes, classes.shape, lambda each, points: _mean_inside(probabilities[each], points))
    return Segmentation(polygons, _image_score(probabilities, classes))


def _most_probable(probabilities: Floats) -> Mask:
    """The class of each pixel, many times faster than by argmax along the first axis."""
    greatest, classes = probabilities[0].copy(), np.zeros(probabilities.shape[1:], np.uint8)
    for class_id in range(1, len(probabilities)):
        np.copyto(classes, class_id, where=probabilities[class_id] > greatest)
        np.maximum(greatest, probabilities[class_id], out=greatest)
    return classes


def mask_to_polygons(mask: Mask, fidelity: Fidelity = DEFAULT_FIDELITY) -> Segmentation:
    """Outline every region of a mask of class ids, shape (height, width); 0 and 255 (ignore) are background."""
    shapes = _shapes(trace_mask(mask, minimum_area=MINIMUM_AREA * mask.size), mask, fidelity)
    return Segmentation(_polygons(shapes, mask.shape, lambda *_: None), None)


def _shapes(rings: Sequence[Ring], mask: Mask, fidelity: Fidelity) -> Iterator[tuple[int, Points]]:
    """The class and the vertices, in pixels, of the simple polygons that cover the regions within *rings*."""
    least = MINIMUM_AREA * mask.size
    kept = [ring for ring in rings if ring.area > 0 or _background_inside(ring, mask) >= least]
    outlines = list(zip(kept, simplify(kept, fidelity), strict=True))
    holes = [(ring, vertices) for ring, vertices in outlines if ring.area <= 0]
    owned = _by_owner([ring for ring, _ in holes], kept)
    for ring, vertices in outlines:
        if ring.area > 0:
            own = [holes[index][1] for index in owned.get(id(ring), ())]
            yield from ((ring.class_id, each) for each in opened(vertices, own))


def _by_owner(holes: Sequence[Ring], rings: Sequence[Ring]) -> dict[int, list[int]]:
    """By the `id` of a region the numbers of its *holes*: each is in the smallest region of its class around it."""
    regions = [ring for ring in rings if ring.area > 0]
    tree = shapely.STRtree([shapely.Polygon(ring.points) for ring in regions])
    inside = tree.query(shapely.points([hole.points[0] for hole in holes]), predicate="within") if holes else ((), ())
    around: defaultdict[int, list[Ring]] = defaultdict(list)
    for number, region in zip(*inside, strict=True):
        if regions[region].class_id == holes[number].class_id:
            around[int(number)].append(regions[region])
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number, candidates in around.items():
        found[id(min(candidates, key=lambda ring: ring.area))].append(number)
    return found


def _background_inside(ring: Ring, mask: Mask) -> int:
    """How many pixels within *ring* are of no class."""
    window, inside = _pixels_inside(ring.points)
    return int(np.isin(mask[window][inside], (0, IGNORE)).sum())


def _pixels_inside(points: Points) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """A window of the image, and which of its pixels lie in a ring, those on its line included."""
    (left, top), (right, bottom) = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    inside = Image.new("1", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(inside).polygon([tuple(each) for each in (points - (left + 0.5, top + 0.5)).tolist()], fill=1)
    window = (slice(int(top), int(top) + inside.height), slice(int(left), int(left) + inside.width))
    return window, np.asarray(inside)


def _polygons(
    shapes: Iterator[tuple[int, Points]], size_hw: tuple[int, ...], score: Callable[[int, Points], float | None]
) -> tuple[Polygon, ...]:
    """Largest first: Label Studio draws later regions on top, so small parts stay visible and clickable."""
    found = sorted(shapes, key=lambda shape: -abs(signed_area(shape[1])))
    return tuple(
        Polygon(class_id, tuple(map(tuple, (points / size_hw[::-1]).tolist())), score(class_id, points))
        for class_id, points in found
    )


def _mean_inside(probability: Floats, points: Points) -> float:
    window, inside = _pixels_inside(points)
    chosen = probability[window][inside]
    return float(np.clip(chosen.mean(), 0.0, 1.0)) if chosen.size else 0.0


def _image_score(probabilities: Floats, classes: Mask) -> float:
    """The mean over classes of the intersection over union that the model itself expects of its answer.

    If each pixel is of class c with its probability p, the pixels M that were given to c hold about I = sum of p over M
    of it, out of a union of about U = sum of all p + |M| - I, and the class adds I / U. A class counts the
    more, the more of it is expected, so that a label which is not in a picture does not make it doubtful.
    """
    expected, weights = np.zeros(len(probabilities)), np.zeros(len(probabilities))
    for class_id, probability in enumerate(probabilities):
        chosen = classes == class_id
        intersection, total = float(np.vdot(probability, chosen.astype(np.float32))), float(probability.sum())
        union = total + float(np.count_nonzero(chosen)) - intersection
        expected[class_id] = intersection / union if union > 0 else 0.0
        weights[class_id] = total / (total + _PRESENT * classes.size)
    return float(np.clip(np.dot(expected, weights) / max(weights.sum(), 1e-9), 0.0, 1.0))
