"""Plane geometry for drawing: smooth outlines and their placement. Points are (n, 2) float arrays, y runs down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]


def points(*pairs: tuple[float, float]) -> Points:
    """The pairs as an array."""
    return np.array(pairs, dtype=np.float64)


def smooth(controls: Points, *, per_segment: int = 10) -> Points:
    """A closed Catmull-Rom curve through the control points."""
    before, after, beyond = np.roll(controls, 1, 0), np.roll(controls, -1, 0), np.roll(controls, -2, 0)
    t = np.linspace(0, 1, per_segment, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, controls, after, beyond))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.asarray(curve.reshape(-1, 2), dtype=np.float64)


def bezier(start: Points, bend: Points, end: Points, *, count: int) -> Points:
    """`count` points of a quadratic curve, both ends included."""
    t = np.linspace(0, 1, count)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end, dtype=np.float64)


def ellipse(centre: tuple[float, float], radius_x: float, radius_y: float, *, count: int = 60) -> Points:
    """`count` points of an ellipse along the axes."""
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return np.stack([centre[0] + radius_x * np.cos(angles), centre[1] + radius_y * np.sin(angles)], axis=1)


def rotate(outline: Points, degrees: float, *, about: tuple[float, float] = (0.0, 0.0)) -> Points:
    """Turned clockwise as seen (y runs down)."""
    angle = math.radians(degrees)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.asarray((outline - about) @ matrix + about, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Placement:
    """From the bird's own frame (facing right, about one unit long) to pixels."""

    scale: float
    degrees: float
    mirrored: bool
    offset: tuple[float, float]

    def __call__(self, outline: Points) -> Points:
        """The outline in pixels."""
        turned = rotate(outline, self.degrees)
        if self.mirrored:
            turned = turned * (-1.0, 1.0)
        return np.asarray(turned * self.scale + self.offset, dtype=np.float64)
