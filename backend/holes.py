"""Holes in regions, which Label Studio's polygons cannot have. Pure.

A hole that other classes fill needs no care: their polygons lie on top of the larger one, and in training, too, the
smaller is on top. One through which the background shows is opened: a slit of a quarter of a pixel leads from it to
the outside, so that the region stays one simple polygon and its area is right. That is for the largest holes of a
region, MOST of them; a sieve with more is nothing that a person would correct, and its smaller holes are covered.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from backend.outlines import LATTICE, Points, signed_area

MOST = 64
_SLIT = 0.25  # pixels; it runs so far from the pixels' corners, too, and thus beside their centres


def opened(shell: Points, holes: Sequence[Points]) -> Iterator[Points]:
    """The shell's vertices, or where it has *holes* those of simple polygons without any that cover the same places."""
    if not holes:
        yield shell
        return
    region: BaseGeometry = shapely.Polygon(shell)
    for hole in sorted(holes, key=lambda each: -abs(signed_area(each)))[:MOST]:
        gap = shapely.Polygon(hole)
        region = region.difference(gap).difference(_slit(gap, region))
    # On a lattice what nearly touches either does or does not, and stays so whatever the numbers are divided by.
    for part in shapely.get_parts(shapely.set_precision(region, LATTICE)):
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            yield np.asarray(part.exterior.coords)[:-1]


def _slit(hole: shapely.Polygon, region: BaseGeometry) -> BaseGeometry:
    """From the middle of the hole straight up, down, left or right, whichever is the shortest way out of the region."""
    left, top, right, bottom = region.bounds
    x, y = shapely.point_on_surface(hole).coords[0]
    beside_x, beside_y = math.floor(x) + _SLIT, math.floor(y) + _SLIT
    ways = [
        shapely.LineString([(from_x, from_y), end])
        for from_x, from_y, end in (
            *((beside_x, y, (beside_x, out)) for out in (top - 1, bottom + 1)),
            *((x, beside_y, (out, beside_y)) for out in (left - 1, right + 1)),
        )
    ]
    best = min(ways, key=lambda way: float(way.intersection(region).length))
    return best.buffer(_SLIT / 2, cap_style="flat")
