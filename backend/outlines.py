"""Where regions end: closed rings around the regions of each class, and around the holes in them. Pure.

Coordinates are pixels of the model's output, x before y; the centre of the first pixel is (0.5, 0.5).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import contourpy
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
IGNORE = 255  # as pipeline/preprocess.py draws what is not to be learned
LATTICE = 1 / 64
"""Vertices lie on multiples of it, in pixels: no rounding further on makes a simple polygon cross itself."""
_EAST, _SOUTH, _WEST, _NORTH = range(4)
_STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
# Where two classes are equally probable at a pixel's centre, its class is still one of them: by this much.
_TIE = 1e-3


@dataclass(frozen=True, slots=True)
class Ring:
    """The edge of a region, clockwise as seen, or of a hole in one, the other way round.

    *points*, shape (n + 1, 2), is closed: the last is the first. For a class mask they are the middles of the pixels'
    edges, around the very centres that belong to the region, and *corners* (m, 2) are the corners of its pixels.
    *area* is in pixels, negative for a hole.
    """

    class_id: int
    points: Points
    area: float
    corners: Points | None = None


def signed_area(points: Points) -> float:
    """The area within a ring, closed or not; negative if it runs anticlockwise as seen (y points down)."""
    x, y = (points - points[0]).T
    return float(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])) / 2  # the first point is now 0: no need to close it


def trace_mask(mask: NDArray[np.uint8], *, minimum_area: float) -> list[Ring]:
    """The rings of a mask (height, width) of class ids, those that hold *minimum_area*; 0 and 255 are background.

    Pixels that touch at a corner alone belong to one region.
    """
    width = mask.shape[1] + 1  # of the lattice of pixel corners, which are numbered by rows
    starts, directions, ids = _edges(mask, width)
    if not len(starts):
        return []
    order, firsts = _walk(_successors(starts, directions, ids, width))
    starts, directions, ids = starts[order], directions[order], ids[order]
    corners = np.column_stack((starts % width, starts // width)).astype(np.float64)
    steps = _STEPS[directions]
    areas = np.add.reduceat(corners[:, 0] * steps[:, 1], firsts)  # Green's theorem
    middles, ends = corners + steps / 2, np.append(firsts[1:], len(order))
    rings = []
    for each in np.flatnonzero(np.abs(areas) >= minimum_area):
        part = slice(firsts[each], ends[each])
        turns = np.diff(directions[part], prepend=directions[part][-1]) != 0
        points = _from_far_end(middles[part])
        rings.append(Ring(int(ids[part.start]), points, float(areas[each]), corners=corners[part][turns]))
    return rings


def _edges(mask: NDArray[np.uint8], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Every edge between pixels of different classes, once for each class, with that class on its right.

    Returns where it starts (the number of a corner), its direction, and the class.
    """
    framed = np.pad(mask, 1)
    above, below = framed[:-1, 1:], framed[1:, 1:]  # the last column is frame alone
    left, right = framed[1:-1, :-1], framed[1:-1, 1:]
    flat, upright = np.flatnonzero(above != below), np.flatnonzero(left != right)
    starts = np.concatenate((flat, upright, flat + 1, upright + width))
    ids = np.concatenate((below.ravel()[flat], left.ravel()[upright], above.ravel()[flat], right.ravel()[upright]))
    directions = np.repeat((_EAST, _SOUTH, _WEST, _NORTH), (len(flat), len(upright), len(flat), len(upright)))
    wanted = (ids > 0) & (ids < IGNORE)
    return starts[wanted], directions[wanted], ids[wanted]


def _successors(
    starts: NDArray[np.int64], directions: NDArray[np.int64], ids: NDArray[np.uint8], width: int
) -> NDArray[np.int64]:
    """The edge with which each edge's ring goes on: the one of its class that starts where it ends.

    Where pixels touch at a corner there are two, and the left turn is taken, which keeps them in one ring.
    """
    ends = starts + _STEPS[directions] @ (1, width)
    keys = starts * 256 + ids
    order = np.argsort(keys, kind="stable")
    found = np.searchsorted(keys[order], ends * 256 + ids)
    one, other = order[found], order[np.minimum(found + 1, len(order) - 1)]
    left_turn = directions[other] == (directions - 1) % 4
    return np.where((keys[other] == keys[one]) & left_turn, other, one)


def _walk(successors: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All rings' edges one after the other, and where among them each ring begins."""
    following: list[int] = successors.tolist()
    waiting = bytearray(b"\1") * len(following)
    order: list[int] = []
    firsts: list[int] = []
    edge = 0
    while (edge := waiting.find(1, edge)) >= 0:
        firsts.append(len(order))
        step = edge
        while waiting[step]:
            waiting[step] = 0
            order.append(step)
            step = following[step]
    return np.array(order, dtype=np.int64), np.array(firsts, dtype=np.int64)


def trace_probabilities(
    probabilities: NDArray[np.float32], classes: NDArray[np.uint8], *, minimum_area: float
) -> Iterator[Ring]:
    """The rings of each class but the background: where it and the next probable class are equally probable.

    Args:
        probabilities: shape (classes, height, width).
        classes: the most probable class of each pixel, shape (height, width).
        minimum_area: of the rings, in pixels.
    """
    for class_id in range(1, len(probabilities)):
        inside = classes == class_id
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            continue
        top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
        window = (slice(top, int(rows[-1]) + 2), slice(left, int(columns[-1]) + 2))
        margin = _margin(probabilities[:, *window], class_id, inside[window])
        for points in _contours(margin):
            moved = np.clip(np.add(points, (left - 0.5, top - 0.5)), 0, (classes.shape[1], classes.shape[0]))
            if abs(area := signed_area(moved)) >= minimum_area:
                yield Ring(class_id, _from_far_end(moved[:-1]), area)


def _margin(probabilities: NDArray[np.float32], class_id: int, inside: NDArray[np.bool_]) -> Points:
    """How much more probable a class is than every other, above zero just where *inside*; framed by a pixel.

    The frame mirrors what lies beside it, so that a region that the image cuts off ends at the image's edge.
    """
    first, *rest = (each for other, each in enumerate(probabilities) if other != class_id)
    others = first.copy()
    for each in rest:
        np.maximum(others, each, out=others)
    margin = probabilities[class_id] - others
    ties = np.abs(margin) < _TIE
    margin[ties] = np.where(inside[ties], _TIE, -_TIE)
    framed = np.empty((margin.shape[0] + 2, margin.shape[1] + 2))
    framed[1:-1, 1:-1] = margin
    framed[0, 1:-1], framed[-1, 1:-1] = -np.abs(margin[0]), -np.abs(margin[-1])
    framed[:, 0], framed[:, -1] = -np.abs(framed[:, 1]), -np.abs(framed[:, -2])
    return framed


def _contours(margin: Points) -> Iterator[Points]:
    """Closed rings around what is above zero, and around the holes in it."""
    filled: Any = contourpy.contour_generator(z=margin, fill_type="OuterOffset").filled(0, np.inf)
    for points, offsets in zip(*filled, strict=True):
        for first, end in pairwise(offsets):
            yield points[first:end]


def _from_far_end(points: Points) -> Points:
    """The ring closed, and begun at the point farthest from its middle: that is a corner, if there are any."""
    away = points - points.mean(axis=0)
    first = int(np.einsum("ij,ij->i", away, away).argmax())
    return np.concatenate((points[first:], points[: first + 1]))
