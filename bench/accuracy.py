"""How well polygons agree with the regions of the mask that they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from pipeline.preprocess import polygons_to_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bench.outlining import Mask, Outline

T = TypeVar("T", bound=np.generic)
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


@dataclass(frozen=True, slots=True)
class _Box:
    """A part of the mask, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def around(self, others: Iterable[_Box]) -> _Box:
        """The least box that has this one and the others."""
        boxes = (self, *others)
        return _Box(
            min(box.left for box in boxes),
            min(box.top for box in boxes),
            max(box.right for box in boxes),
            max(box.bottom for box in boxes),
        )

    def of(self, plane: NDArray[T]) -> NDArray[T]:
        """This part of a plane that is as fine as the mask."""
        return plane[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One polygon on the finer grid, in its own box."""

    box: _Box
    inside: NDArray[np.bool_]
    points: int


def fits(mask: Mask, outlines: Sequence[Outline], *, minimum_area: float) -> list[Fit]:
    """One Fit for each 8-connected region of at least *minimum_area* pixels.

    A polygon belongs to the region of its class that it covers most of; a region may have several, or none.
    """
    found = []
    for class_id in np.unique(mask[(mask > 0) & (mask < 255)]):
        _, labels, stats, _ = cv2.connectedComponentsWithStats((mask == class_id).astype(np.uint8), connectivity=8)
        drawn = _drawn(labels, [each for each in outlines if each.class_id == class_id])
        for label, (left, top, width, height, area) in enumerate(stats.tolist()):
            if label and area >= minimum_area:
                mine = drawn.get(label, [])
                box = _Box(left, top, left + width, top + height).around(each.box for each in mine)
                found.append(_fit(box.of(mask), box.of(labels) == label, box, mine))
    return found


def _drawn(labels: NDArray[np.int32], outlines: Sequence[Outline]) -> dict[int, list[_Drawn]]:
    """The polygons of each region."""
    found: dict[int, list[_Drawn]] = {}
    for outline in outlines:
        drawn = _draw(outline, labels.shape)
        counts = np.bincount(_finer(drawn.box.of(labels))[drawn.inside], minlength=2)
        label = int(counts[1:].argmax()) + 1
        if counts[label]:
            found.setdefault(label, []).append(drawn)
    return found


def _draw(outline: Outline, shape: tuple[int, ...]) -> _Drawn:
    limits = (shape[1], shape[0])
    low = np.clip(np.floor(outline.points.min(axis=0)), 0, np.array(limits) - 1).astype(int)
    high = np.clip(np.ceil(outline.points.max(axis=0)), low + 1, limits).astype(int)
    width, height = (high - low).tolist()
    percent = (outline.points - low) * (100 / width, 100 / height)
    inside = polygons_to_mask([(1, percent)], (width * FINER, height * FINER)) > 0
    return _Drawn(_Box(*low.tolist(), *high.tolist()), inside, len(outline.points))


def _fit(mask: Mask, region: NDArray[np.bool_], box: _Box, drawn: Sequence[_Drawn]) -> Fit:
    inside = np.zeros((region.shape[0] * FINER, region.shape[1] * FINER), bool)
    for each in drawn:
        top, left = (each.box.top - box.top) * FINER, (each.box.left - box.left) * FINER
        inside[top : top + each.inside.shape[0], left : left + each.inside.shape[1]] |= each.inside
    filled = _filled(region)
    covered = _finer(filled & ~region & (mask > 0))
    return Fit(
        filled=_iou(_finer(filled), inside),
        as_it_is=_iou(_finer(region), inside),
        drawn=_iou(_finer(region), inside & ~covered),
        points=sum(each.points for each in drawn),
    )


def _finer(plane: NDArray[T]) -> NDArray[T]:
    return plane.repeat(FINER, axis=0).repeat(FINER, axis=1)


def _filled(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    plane = region.astype(np.uint8)
    contours, _ = cv2.findContours(plane, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(plane, contours, -1, color=1, thickness=cv2.FILLED)
    return plane > 0


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(first & second) / np.count_nonzero(first | second))
