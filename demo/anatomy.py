"""The outlines of one bird in its own frame: it faces right, the body is about one unit long, y runs down."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from shapely import Point, Polygon, union_all

from demo.shapes import Points, bezier, ellipse, points, rotate, smooth

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


@dataclass(frozen=True, slots=True)
class Wing:
    """A wing's outline, the lines between its feathers, and the edge of the small feathers on its front."""

    outline: Points
    feather_lines: tuple[Points, ...]
    covert_line: Points


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All that is drawn of a bird. `tail` belongs to the part Body."""

    flying: bool
    body: Points
    tail: Points
    tail_lines: tuple[Points, ...]
    belly: Points
    head: Points
    cap: Points
    beak: Points
    beak_line: Points
    eye: tuple[float, float]
    eye_radius: float
    near_wing: Wing
    far_wing: Wing | None
    legs: tuple[Points, ...]

    def outlines(self) -> tuple[Points, ...]:
        """The outlines that take room in the picture."""
        wings = (self.near_wing,) if self.far_wing is None else (self.near_wing, self.far_wing)
        return (self.body, self.tail, self.head, self.beak, *(wing.outline for wing in wings))

    @property
    def feet(self) -> Points:
        """Where the legs end; of a flying bird, the lowest point of the body."""
        if self.legs:
            return np.stack([leg[-1] for leg in self.legs])
        return self.body[[int(self.body[:, 1].argmax())]]


def grow_bird(rng: Random) -> Anatomy:
    """A random bird: perched (two of three) or flying, with its own build."""
    flying = rng.random() < 0.36
    tilt = rng.uniform(-14, 12) if flying else rng.uniform(-58, -14)
    plump = rng.uniform(0.8, 1.22)
    body = rotate(_body(rng, plump), tilt)
    tail, tail_lines = _tail(rng)
    tail_tilt = tilt + rng.uniform(-10, 10)
    head_centre, head_radius = _head_place(rng, tilt, flying=flying)
    look = rng.uniform(-14, 14)
    body = _necked(body, head_centre, head_radius)
    head, cap = _head(rng, head_centre, head_radius, look)
    beak, beak_line = _beak(rng, head_centre, head_radius, look)
    near, far = _open_wings(rng, tilt) if flying else (_folded_wing(rng, tilt, plump), None)
    eye = rotate(
        points((head_centre[0] + head_radius * 0.42, head_centre[1] - head_radius * 0.2)), look, about=head_centre
    )
    return Anatomy(
        flying=flying,
        body=body,
        tail=rotate(tail, tail_tilt, about=(0.0, 0.0)),
        tail_lines=tuple(rotate(line, tail_tilt) for line in tail_lines),
        belly=rotate(
            smooth(points((0.45, 0.02), (0.42, 0.42), (-0.05, 0.5), (-0.42, 0.24), (0.0, 0.14 * plump))), tilt
        ),
        head=head,
        cap=cap,
        beak=beak,
        beak_line=beak_line,
        eye=(float(eye[0, 0]), float(eye[0, 1])),
        eye_radius=head_radius * rng.uniform(0.15, 0.23),
        near_wing=near,
        far_wing=far,
        legs=() if flying else _legs(rng, body),
    )


def _body(rng: Random, plump: float) -> Points:
    breast, back = rng.uniform(0.2, 0.27) * plump, rng.uniform(-0.28, -0.22) * plump
    return smooth(
        points(
            (0.5, -0.06),
            (0.45, breast * 0.75),
            (0.15, breast + 0.05),
            (-0.2, breast * 0.85),
            (-0.5, 0.06),
            (-0.52, -0.06),
            (-0.25, back * 0.75),
            (0.1, back),
            (0.38, back * 0.85),
        )
    )


def _necked(body: Points, head_centre: tuple[float, float], radius: float) -> Points:
    """The body grown up to the head, so that the head does not sit on it like a ball."""
    trunk = Polygon(body)
    skull = Point(head_centre).buffer(radius * 0.78)
    near = trunk.intersection(Point(head_centre).buffer(radius * 2.3))
    grown = union_all([trunk, union_all([skull, near]).convex_hull]).buffer(0.05).buffer(-0.05)
    return np.asarray(grown.exterior.coords[:-1], dtype=np.float64)


def _tail(rng: Random) -> tuple[Points, tuple[Points, ...]]:
    length, width = rng.uniform(0.3, 0.75), rng.uniform(0.07, 0.2)
    fork = rng.choice((-0.1, 0.0, 0.0, 0.12)) * length / 0.5
    end = -0.45 - length
    rear = [(end + fork * (1 - abs(t)), width * t) for t in (1, 0.66, 0.33, 0, -0.33, -0.66, -1)]
    outline = points((-0.2, 0.1), *rear, (-0.2, -0.12))
    lines = tuple(bezier(points((-0.35, 0.0)), points((-0.6, y * 0.5)), points((x, y)), count=8) for x, y in rear[1:-1])
    return outline, lines


def _head_place(rng: Random, tilt: float, *, flying: bool) -> tuple[tuple[float, float], float]:
    neck = rng.uniform(0.02, 0.14)
    front = rotate(points((0.5 + neck, -0.1 if flying else -0.04)), tilt)[0]
    return (float(front[0]), float(front[1])), rng.uniform(0.2, 0.26)


def _head(rng: Random, centre: tuple[float, float], radius: float, look: float) -> tuple[Points, Points]:
    """The head's outline, sometimes crested, and the line of its cap."""
    skull = ellipse(centre, radius * rng.uniform(1.0, 1.12), radius * rng.uniform(0.94, 1.05), count=48)
    if rng.random() < 0.3:
        skull = _crested(skull, centre, radius * rng.uniform(0.4, 0.8))
    x, y = centre
    cap = points(
        (x - 1.6 * radius, y + 0.3 * radius),
        (x - 0.4 * radius, y - 0.25 * radius),
        (x + 1.3 * radius, y - 0.42 * radius),
        (x + radius, y - 2.4 * radius),
        (x - 2 * radius, y - 2.4 * radius),
    )
    return rotate(skull, look, about=centre), rotate(cap, look, about=centre)


def _crested(skull: Points, centre: tuple[float, float], height: float) -> Points:
    """Raise a tuft that leans backwards on the upper rear of the skull."""
    outward = skull - centre
    angle = np.degrees(np.arctan2(outward[:, 1], outward[:, 0]))
    lift = np.clip(1 - np.abs(angle + 118) / 34, 0, 1) ** 1.3
    return np.asarray(skull + lift[:, None] * height * np.array([-0.8, -0.75]), dtype=np.float64)


def _cone(length: float, depth: float) -> Points:
    return points(
        (0, -depth),
        (length * 0.5, -depth * 0.72),
        (length, 0.1 * depth),
        (length * 0.55, depth * 0.66),
        (0, depth * 0.8),
    )


def _dagger(length: float, depth: float) -> Points:
    length, depth = length * 1.7, depth * 0.8
    return points(
        (0, -depth), (length * 0.5, -depth * 0.62), (length, 0.0), (length * 0.5, depth * 0.55), (0, depth * 0.85)
    )


def _hook(length: float, depth: float) -> Points:
    return points(
        (0, -depth * 1.25),
        (length * 0.55, -depth * 1.15),
        (length * 0.95, -depth * 0.2),
        (length * 0.92, depth * 1.1),
        (length * 0.66, depth * 0.55),
        (length * 0.4, depth * 0.95),
        (0, depth * 0.95),
    )


def _great_bill(length: float, depth: float) -> Points:
    length, depth = length * 1.6, depth * 1.35
    return points(
        (0, -depth),
        (length * 0.45, -depth * 1.05),
        (length * 0.9, -depth * 0.35),
        (length, depth * 0.55),
        (length * 0.7, depth * 0.72),
        (length * 0.3, depth * 0.85),
        (0, depth * 0.8),
    )


BILLS: tuple[Callable[[float, float], Points], ...] = (_cone, _cone, _dagger, _hook, _great_bill)


def _beak(rng: Random, centre: tuple[float, float], radius: float, look: float) -> tuple[Points, Points]:
    """The beak's outline and the line between its halves."""
    length, depth = rng.uniform(0.24, 0.32), rng.uniform(0.09, 0.12)
    controls = rng.choice(BILLS)(length, depth)
    tip = controls[:, 0].max()
    base = (centre[0] + radius * 0.86, centre[1] + radius * 0.12)
    droop = look + rng.uniform(-6, 12)
    outline = rotate(_rounded(controls) + base, droop, about=centre)
    line = rotate(
        bezier(points((0.0, 0.0)), points((tip * 0.5, -depth * 0.1)), points((tip * 0.9, depth * 0.12)), count=8)
        + base,
        droop,
        about=centre,
    )
    return outline, line


def _rounded(controls: Points) -> Points:
    """A smooth outline that keeps a sharp tip: the sharpest control point is doubled."""
    tip = int(controls[:, 0].argmax())
    return smooth(np.insert(controls, tip, controls[tip] - (0.004, 0.004), axis=0), per_segment=8)


def _folded_wing(rng: Random, tilt: float, plump: float) -> Wing:
    shoulder, tip = points((0.33, -0.06 * plump)), points((-0.72, rng.uniform(-0.08, 0.06)))
    depth = rng.uniform(0.15, 0.2) * plump
    lower = bezier(shoulder, points((0.1, depth * 2.0)), tip, count=14)
    upper = bezier(tip, points((-0.1, -depth * 1.25)), shoulder, count=10)
    outline = smooth(np.concatenate([lower[:-1], upper[:-1]])[::2], per_segment=6)
    starts = bezier(points((0.2, 0.0)), points((0.0, depth * 0.4)), points((-0.3, 0.0)), count=8)
    lines = tuple(
        bezier(s[None], (s + e)[None] / 2 + (0.0, 0.02), e[None], count=8)
        for s, e in zip(starts, lower[5:13], strict=True)
    )
    covert = bezier(points((0.26, depth * 0.75)), points((0.0, depth * 0.5)), points((-0.22, -depth * 0.75)), count=12)
    swing = tilt + rng.uniform(-4, 9)
    return Wing(rotate(outline, swing), tuple(rotate(line, swing) for line in lines), rotate(covert, swing))


def _open_wings(rng: Random, tilt: float) -> tuple[Wing, Wing]:
    """The near and the far wing of a flying bird, both raised or both lowered."""
    raised = rng.random() < 0.72
    span, sweep = rng.uniform(0.72, 0.98), rng.uniform(-28, 12)
    near = _open_wing(rng, span=span)
    far = _open_wing(rng, span=span * rng.uniform(0.85, 1.0))
    flip = (1.0, 1.0) if raised else (1.0, -1.0)
    turn = sweep if raised else -sweep
    far_turn = turn + (rng.uniform(24, 48) if raised else rng.uniform(-48, -24))
    return _moved(near, flip, turn + tilt, (0.0, 0.0)), _moved(far, flip, far_turn + tilt, (0.08, 0.0))


def _open_wing(rng: Random, *, span: float) -> Wing:
    """A raised wing: a curved front edge, then one rounded feather tip after another back to the body."""
    tip, root = points((-0.3, -0.1 - span)), points((-0.26, 0.0))
    front = bezier(points((0.27, 0.02)), points((0.42, -0.75 * span)), tip, count=12)
    feathers = rng.randint(7, 9)
    trailing = bezier(tip, points((-0.55, -0.3 * span)), root, count=feathers + 1)
    outline, lines = [front], []
    for before, after in pairwise(trailing):
        bulge = (before + after) / 2 + np.array([-0.07, 0.035])
        outline.append(bezier(before[None], bulge[None] + (-0.03, 0.0), after[None], count=7)[1:])
        lines.append(
            bezier(after[None], (after * 0.6)[None] + (0.08, -0.1 * span), points((0.2, -0.28 * span)), count=8)
        )
    covert = bezier(points((-0.05, 0.0)), points((-0.06, -0.45 * span)), points((-0.08, -0.75 * span)), count=12)
    return Wing(np.concatenate(outline), tuple(lines[:-1]), covert)


def _moved(wing: Wing, flip: tuple[float, float], degrees: float, shift: tuple[float, float]) -> Wing:
    def move(outline: Points) -> Points:
        return np.asarray(rotate(outline * flip, degrees, about=(0.05, 0.0)) + shift, dtype=np.float64)

    return Wing(move(wing.outline), tuple(move(line) for line in wing.feather_lines), move(wing.covert_line))


def _legs(rng: Random, body: Points) -> tuple[Points, ...]:
    lowest = float(body[:, 1].max())
    centre = float(body[:, 0].mean()) + rng.uniform(-0.02, 0.1)
    length = rng.uniform(0.1, 0.2)
    return tuple(
        points((x, lowest - 0.16), (x + 0.02, lowest + length * 0.4), (x + 0.05, lowest + length))
        for x in (centre - 0.06, centre + 0.09)
    )
