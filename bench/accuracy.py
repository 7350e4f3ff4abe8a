"""How well polygons agree with the regions of the mask that they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipeline.preprocess import polygons_to_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.outlining import Outline

FINER = 2
"""Polygons are compared on a grid this much finer than the mask: one that is half a pixel off does not go unseen."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One region against its polygons: intersection over union in three views of its holes, and the points.

    `filled`: holes belong to the region. `as_it_is`: they do not. `drawn`: as a viewer sees it, who draws the smaller
    polygons on top: what belongs to another class does not count, what is background in a hole does not belong to it.
    """

    filled: float
    as_it_is: float
    drawn: float
    points: int


@dataclass(slots=True)
class _Region:
    """A connected region: its class, and its pixels in a frame of its own."""

    class_id: int
    label: int
    area: int


def fits(mask: NDArray[np.uint8], outlines: Sequence[Outline], *, minimum_area: float) -> list[Fit]:
    """One Fit for each 8-connected region of at least *minimum_area* pixels.

    A polygon belongs to the region of its class that it covers most of; a region may have several, or none.
    """
    found = []
    for class_id in np.unique(mask[(mask > 0) & (mask < 255)]):
        _, labels, stats, _ = cv2.connectedComponentsWithStats((mask == class_id).astype(np.uint8), connectivity=8)
        finer = labels.repeat(FINER, axis=0).repeat(FINER, axis=1)
        drawn = _drawn(finer, [each for each in outlines if each.class_id == class_id])
        for label in range(1, len(stats)):
            if stats[label, cv2.CC_STAT_AREA] >= minimum_area:
                inside, points = drawn.get(label, (np.zeros(finer.shape, bool), 0))
                found.append(_fit(mask, labels == label, finer == label, inside, points))
    return found


def _drawn(labels: NDArray[np.int32], outlines: Sequence[Outline]) -> dict[int, tuple[NDArray[np.bool_], int]]:
    """What the polygons of each region cover together, and how many points they have."""
    height, width = labels.shape
    to_percent = (100 * FINER / width, 100 * FINER / height)
    drawn: dict[int, tuple[NDArray[np.bool_], int]] = {}
    for outline in outlines:
        inside = polygons_to_mask([(1, outline.points * to_percent)], (width, height)) > 0
        counts = np.bincount(labels[inside], minlength=2)
        label = int(counts[1:].argmax()) + 1
        if counts[label]:
            others, points = drawn.get(label, (np.zeros_like(inside), 0))
            drawn[label] = (others | inside, points + len(outline.points))
    return drawn


def _fit(
    mask: NDArray[np.uint8],
    region: NDArray[np.bool_],
    finer: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    points: int,
) -> Fit:
    filled = _filled(region)
    holes = (filled & ~region).repeat(FINER, axis=0).repeat(FINER, axis=1)
    if not holes.any():
        plain = _iou(finer, inside)
        return Fit(plain, plain, plain, points)
    covered = holes & (mask > 0).repeat(FINER, axis=0).repeat(FINER, axis=1)
    return Fit(_iou(finer | holes, inside), _iou(finer, inside), _iou(finer, inside & ~covered), points)


def _filled(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    plane = region.astype(np.uint8)
    contours, _ = cv2.findContours(plane, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(plane, contours, -1, color=1, thickness=cv2.FILLED)
    return plane > 0


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(first & second) / np.count_nonzero(first | second))
