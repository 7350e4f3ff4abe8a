"""Holes in regions, which Label Studio's polygons cannot have. Pure.

A hole that other classes fill needs no care: their polygons lie on top of the larger one, and in training, too, the
smaller is on top. One through which the background shows is opened: a slit of a quarter of a pixel leads from it to
the outside, so that the region stays one simple polygon and its area is right.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from backend.outlines import Points

_SLIT = 0.25  # pixels; on the lattice of pixel corners it passes between the pixels' centres


def opened(shell: Points, holes: Sequence[Points]) -> Iterator[Points]:
    """The shell's vertices, or where it has *holes* those of simple polygons without any that cover the same places."""
    if not holes:
        yield shell
        return
    region: BaseGeometry = shapely.Polygon(shell)
    for hole in holes:
        gap = shapely.Polygon(hole)
        region = region.difference(gap).difference(_slit(gap, region))
    yield from _rings(region)


def _slit(hole: shapely.Polygon, region: BaseGeometry) -> BaseGeometry:
    """From the middle of the hole straight up, down, left or right, whichever is the shortest way out of the region."""
    left, top, right, bottom = region.bounds
    x, y = shapely.point_on_surface(hole).coords[0]
    if shapely.contains_xy(hole, round(x), round(y)):
        x, y = round(x), round(y)
    ways = [shapely.LineString([(x, y), end]) for end in ((x, top - 1), (x, bottom + 1), (left - 1, y), (right + 1, y))]
    best = min(ways, key=lambda way: float(way.intersection(region).length))
    return best.buffer(_SLIT / 2, cap_style="flat")


def _rings(region: BaseGeometry) -> Iterator[Points]:
    """The outer rings of a geometry's polygons; one that still has a hole is filled."""
    for part in shapely.get_parts(region):
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            yield np.asarray(part.exterior.coords)[:-1]
