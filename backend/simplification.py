"""Rings of hundreds of points -> a few vertices that keep to a stated fidelity. Pure.

Douglas-Peucker (D. Douglas, T. Peucker, doi:10.3138/FM57-6770-U75U-7727) finds where a ring turns. Between two turns a
straight line is fitted to all of its points by least squares, and the vertices are where neighbouring lines meet: a
line through the stairs of a slanted edge, and the corner of a square, though no point of the ring lies there.

All rings of an image are worked on at once, as one array of points: what is to be done for a ring is little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from backend.outlines import LATTICE, Points, Ring

Indices = NDArray[np.int64]
Complex = NDArray[np.complex128]
# How far, in pixels, Douglas-Peucker may leave a ring: tried from left to right until the outline is close enough. The
# first keeps neighbours within about a pixel of each other; at the last nothing is lost.
_TOLERANCES = (1.2, 0.8, 0.5, 0.25, 0.0)
_COARSER = 1.5  # from step to step, where an outline has more points than it may
_COARSEST = 1e4
_REACH = 1.5  # how far, in pixels, a vertex may lie from the turn that it stands for
_PARALLEL = 0.1  # the sine of the angle below which lines do not meet anywhere that is meant


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How close outlines keep to what they outline, and how many points they may have for that.

    *minimum_iou* is the least intersection over union of an outline with its ring; of all outlines tried, the one with
    the fewest points that reaches it is taken. *maximum_points* is kept whatever that costs.
    """

    minimum_iou: float = 0.98
    maximum_points: int = 200


DEFAULT_FIDELITY = Fidelity()


def simplify(rings: Sequence[Ring], fidelity: Fidelity = DEFAULT_FIDELITY) -> list[Points]:
    """The vertices (n, 2) of a simple polygon for each ring, in its direction; the first is not repeated at the end."""
    found: list[Points | None] = [None] * len(rings)
    waiting = list(range(len(rings)))
    for tolerances in (_TOLERANCES[:1], _TOLERANCES[1:]):  # most need no more than the first
        if not waiting:
            break
        tried = _try([rings[each] for each in waiting for _ in tolerances], np.tile(tolerances, len(waiting)))
        ended = set()
        for place, each in enumerate(waiting):
            outlines = tried[place * len(tolerances) : (place + 1) * len(tolerances)]
            found[each], enough = _best(found[each], outlines, fidelity)
            ended |= {each} if enough else set()
        waiting = [each for each in waiting if each not in ended]
    return [
        _with_corners(ring, _given(ring, each, fidelity), fidelity) for ring, each in zip(rings, found, strict=True)
    ]


def _best(found: Points | None, outlines: Sequence["_Outline"], fidelity: Fidelity) -> tuple[Points | None, bool]:
    """The first of *outlines*, from coarse to fine, that is close enough, else the last that may be, else *found*.

    Also returns whether there is no need to look further.
    """
    for outline in outlines:
        if not outline.valid:
            continue
        if len(outline.vertices) > fidelity.maximum_points:
            return found, True  # finer ones have more points still
        found = outline.vertices
        if outline.iou >= fidelity.minimum_iou:
            return found, True
    return found, False


def _with_corners(ring: Ring, vertices: Points, fidelity: Fidelity) -> Points:
    """The corners of the pixels themselves where they are no more points than that: a pixel is a square."""
    corners = ring.corners
    if corners is None or len(corners) > min(len(vertices), fidelity.maximum_points):
        return vertices
    return corners if shapely.is_valid(shapely.Polygon(corners)) else vertices


def _given(ring: Ring, vertices: Points | None, fidelity: Fidelity) -> Points:
    """*vertices*, or where there are none the ring with as few points as there may be."""
    if vertices is not None:
        return vertices
    tolerance = _TOLERANCES[0]
    while (tolerance := tolerance * _COARSER) < _COARSEST:
        (outline,) = _try([ring], np.array([tolerance]))
        if outline.valid and len(outline.vertices) <= fidelity.maximum_points:
            return outline.vertices
    (left, top), (right, bottom) = ring.points.min(axis=0), ring.points.max(axis=0)
    box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return box if ring.area > 0 else box[::-1]


@dataclass(frozen=True, slots=True)
class _Outline:
    """A ring simplified: *iou* is what it has at least with its ring, *valid* whether it is a simple polygon."""

    vertices: Points
    iou: float
    valid: bool


def _try(rings: Sequence[Ring], tolerances: NDArray[np.float64]) -> list[_Outline]:
    """Each ring simplified with its own tolerance, in pixels."""
    points = np.concatenate([ring.points for ring in rings])
    ring_of = np.repeat(np.arange(len(rings)), [len(ring.points) for ring in rings])
    sides = _sides(points, ring_of, tolerances)
    vertices = _within(_vertices(points, sides), points, sides)
    least = _least_iou(points, vertices, sides)
    counts = np.diff(np.append(sides.firsts, len(vertices)))
    valid = _valid(vertices, counts)
    outlines = np.split(vertices, sides.firsts[1:])
    return [_Outline(*each) for each in zip(outlines, least.tolist(), valid.tolist(), strict=True)]


def _valid(vertices: Points, counts: Indices) -> NDArray[np.bool_]:
    """Which outlines are simple polygons; each has the next *counts* of the vertices."""
    valid = counts >= 3
    if not valid.any():
        return valid
    outline_of = np.repeat(np.arange(len(counts)), counts)
    chosen = valid[outline_of]
    rings = shapely.linearrings(vertices[chosen], indices=(np.cumsum(valid) - 1)[outline_of[chosen]])
    valid[valid] = shapely.is_valid(shapely.polygons(rings))
    return valid


@dataclass(frozen=True, slots=True)
class _Sides:
    """The sides of all outlines, one after the other: where in the points each *begin*s and *end*s (inclusive).

    *firsts* are each ring's first side; *before* and *after* are the neighbours of a side in its ring.
    """

    begin: Indices
    end: Indices
    firsts: Indices
    before: Indices
    after: Indices


def _sides(points: Points, ring_of: Indices, tolerances: NDArray[np.float64]) -> _Sides:
    """By Douglas-Peucker: what lies between two points that it keeps. Their numbers travel as a third coordinate."""
    lines = shapely.linestrings(np.column_stack((points, np.arange(len(points)))), indices=ring_of)
    thin = shapely.simplify(lines, tolerances, preserve_topology=False)
    kept, ring = shapely.get_coordinates(thin, include_z=True, return_index=True)
    number = kept[:, 2].astype(np.int64)
    joined = np.flatnonzero(ring[1:] == ring[:-1])
    counts = np.bincount(ring[joined], minlength=ring_of[-1] + 1)
    firsts = np.cumsum(counts) - counts
    side = np.arange(len(joined))
    before, after = side - 1, side + 1
    before[firsts], after[firsts + counts - 1] = firsts + counts - 1, firsts
    return _Sides(number[joined], number[joined + 1], firsts, before, after)


def _vertices(points: Points, sides: _Sides) -> Points:
    """Where each side's line meets the one before; the middle of both where they are as good as parallel."""
    normal, distance = _lines(points, sides)
    other, its_distance = normal[sides.before], distance[sides.before]
    turn = _complex(points)[sides.begin]
    sine = _cross(other, normal)
    meets = np.abs(sine) > _PARALLEL
    crossing = 1j * (normal * its_distance - other * distance) / np.where(meets, -sine, 1.0)
    meets &= np.abs(crossing - turn) <= _REACH
    between = turn - ((_dot(normal, turn) - distance) * normal + (_dot(other, turn) - its_distance) * other) / 2
    return np.where(meets, crossing, between).view(np.float64).reshape(-1, 2)


def _within(vertices: Points, points: Points, sides: _Sides) -> Points:
    """On the lattice, in the box around their ring: lines that meet beyond the image's edge are cut off there."""
    starts = sides.begin[sides.firsts]
    counts = np.diff(np.append(sides.firsts, len(vertices)))
    lowest, highest = (np.repeat(of.reduceat(points, starts), counts, axis=0) for of in (np.minimum, np.maximum))
    return np.round(np.clip(vertices, lowest, highest) / LATTICE) * LATTICE


def _lines(points: Points, sides: _Sides) -> tuple[Complex, NDArray[np.float64]]:
    """The line of each side by total least squares: unit normal n and distance d, so that n . p = d.

    A side's first and last point are left out where it has enough others: a turn cuts its corner.
    """
    x, y = points.T
    sums = np.zeros((len(points) + 1, 5))
    np.cumsum(np.column_stack((x, y, x * x, x * y, y * y)), axis=0, out=sums[1:])
    trim = np.clip((sides.end - sides.begin - 2) // 2, 0, 1)
    begin, end = sides.begin + trim, sides.end + 1 - trim
    mean = (sums[end] - sums[begin]) / (end - begin)[:, None]
    variance_x = mean[:, 2] - mean[:, 0] ** 2
    variance_y = mean[:, 4] - mean[:, 1] ** 2
    covariance = mean[:, 3] - mean[:, 0] * mean[:, 1]
    angle = np.arctan2(2 * covariance, variance_x - variance_y) / 2
    normal = 1j * np.exp(1j * angle)
    return normal, _dot(normal, mean[:, 0] + 1j * mean[:, 1])


def _least_iou(points: Points, vertices: Points, sides: _Sides) -> NDArray[np.float64]:
    """For each ring a lower bound of the intersection over union of ring and outline.

    While every point of the ring moves straight to a point of its side, the ring sweeps over all places that are in one
    of the two and not in the other: their area S is at most the area swept. With the areas A and B of both,
    intersection over union is (A + B - S) / (A + B + S).
    """
    ring, corner = _complex(points), _complex(vertices)
    lengths = sides.end - sides.begin
    before = np.cumsum(lengths) - lengths  # how many points come before each side, the last of each ring not counted
    here = np.arange(before[-1] + lengths[-1]) + np.repeat(sides.begin - before, lengths)
    along = corner[sides.after] - corner
    squares = np.maximum(_dot(along, along), 1e-12)
    start, way, square = (np.repeat(each, lengths) for each in (corner, along, squares))
    reach = np.clip(_dot(ring[here] - start, way) / square, 0, 1)
    reach[before] = 0
    target = np.empty_like(ring)
    target[here] = start + reach * way
    target[sides.end[sides.before[sides.firsts]]] = corner[sides.firsts]

    p, p_next, q, q_next = ring[here], ring[here + 1], target[here], target[here + 1]
    swept = np.abs(_cross(p_next - p, q - p)) + np.abs(_cross(q_next - p_next, q - p_next))
    twice_s = np.add.reduceat(swept, before[sides.firsts])
    twice_a = np.abs(np.add.reduceat(_cross(p, p_next), before[sides.firsts]))
    twice_b = np.abs(np.add.reduceat(_cross(corner, corner[sides.after]), sides.firsts))
    least: NDArray[np.float64] = (twice_a + twice_b - twice_s) / (twice_a + twice_b + twice_s)
    return least


def _complex(points: Points) -> Complex:
    """Points as x + iy: geometry in the plane is arithmetic then."""
    return np.ascontiguousarray(points).view(np.complex128)[:, 0]


def _dot(one: Complex, other: Complex) -> NDArray[np.float64]:
    product: NDArray[np.float64] = one.real * other.real + one.imag * other.imag
    return product


def _cross(one: Complex, other: Complex) -> NDArray[np.float64]:
    product: NDArray[np.float64] = one.real * other.imag - one.imag * other.real
    return product
