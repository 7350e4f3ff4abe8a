"""Mask -> polygons, by the backend and by the peers as their users call them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
import supervision

from backend.masks import mask_to_polygons
from backend.simplification import DEFAULT_FIDELITY, Fidelity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]

OPENCV_PX = 1.5
SUPERVISION_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Outline:
    """One polygon: its class id, and its points in pixels of the mask, whose left upper corner is the origin."""

    class_id: int
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Method:
    """A way from masks to polygons at one *setting*, which is what it simplifies by."""

    name: str
    setting: str
    outline: Callable[[Mask], list[Outline]]


def ours(mask: Mask, *, fidelity: Fidelity = DEFAULT_FIDELITY) -> list[Outline]:
    """The backend's polygons."""
    height, width = mask.shape
    found = mask_to_polygons(mask, fidelity).polygons
    return [Outline(each.class_id, np.array(each.points) * (width, height)) for each in found]


def opencv(mask: Mask, *, tolerance: float, to_centres: bool = False) -> list[Outline]:
    """OpenCV's outer contours, which run through the centres of a region's outermost pixels, and Douglas-Peucker.

    Its coordinates count pixels; *to_centres* adds the half that is missing to where their centres are.
    """
    found = []
    for class_id, plane in _planes(mask):
        contours, _ = cv2.findContours(plane, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            points = cv2.approxPolyDP(contour, tolerance, closed=True)[:, 0]
            if len(points) >= 3:
                found.append(Outline(class_id, points + 0.5 * to_centres))
    return found


def by_supervision(mask: Mask, *, share: float) -> list[Outline]:
    """What supervision makes of it: *share* of the points are taken away."""
    return [
        Outline(class_id, supervision.approximate_polygon(polygon, percentage=share).astype(np.float64))
        for class_id, plane in _planes(mask)
        for polygon in supervision.mask_to_polygons(plane.astype(bool))
    ]


def _planes(mask: Mask) -> Iterator[tuple[int, Mask]]:
    for class_id in np.unique(mask[(mask > 0) & (mask < 255)]):
        yield int(class_id), (mask == class_id).astype(np.uint8)


OURS = Method("ours", "default", ours)
PEERS = (
    Method("opencv", f"{OPENCV_PX} px", partial(opencv, tolerance=OPENCV_PX)),
    Method("supervision", f"{SUPERVISION_SHARE:.0%} fewer", partial(by_supervision, share=SUPERVISION_SHARE)),
)
FIDELITIES = (
    *(Fidelity(maximum_points=points) for points in (6, 8, 10, 12, 16, 24)),
    *(Fidelity(minimum_iou=iou) for iou in (0.95, 0.98, 0.985, 0.99, 0.995)),
)
CURVE = (
    *(
        Method("ours", f"IoU {each.minimum_iou}, {each.maximum_points} points", partial(ours, fidelity=each))
        for each in FIDELITIES
    ),
    *(Method("opencv", f"{px} px", partial(opencv, tolerance=px)) for px in (0.75, 1.0, 1.5, 2.0, 3.0, 4.0)),
    *(
        Method("opencv, half a pixel further", f"{px} px", partial(opencv, tolerance=px, to_centres=True))
        for px in (0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    ),
    *(
        Method("supervision", f"{share:.0%} fewer", partial(by_supervision, share=share))
        for share in (0.25, 0.5, 0.75, 0.85, 0.9, 0.95)
    ),
)
