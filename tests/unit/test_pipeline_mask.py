"""Polygon -> mask: a pixel belongs to a polygon if its centre does, the smaller polygon is on top."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, contains_xy
from shapely.affinity import scale

from pipeline.preprocess import polygons_to_mask

Pairs = list[tuple[float, float]]


@st.composite
def stars(draw: st.DrawFn) -> Pairs:
    """A simple polygon: corners at rising angles about a centre, inside 0..100."""
    count = draw(st.integers(3, 24))
    angles = np.sort(draw(st.lists(st.floats(0, 6.283), min_size=count, max_size=count, unique=True)))
    radii = np.array(draw(st.lists(st.floats(4, 48), min_size=count, max_size=count)))
    return [(50 + r * np.cos(a), 50 + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]


def to_pixels(points: Pairs, size_wh: tuple[int, int]) -> Polygon:
    polygon: Polygon = scale(Polygon(points), size_wh[0] / 100, size_wh[1] / 100, origin=(0, 0))
    return polygon


def square(low: float, high: float) -> Pairs:
    return [(low, low), (high, low), (high, high), (low, high)]


def test_a_square_from_10_to_20_pixels_has_100_pixels():
    assert np.count_nonzero(polygons_to_mask([(1, square(10, 20))], (100, 100))) == 100


@given(stars(), st.tuples(st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=150, deadline=None)
def test_a_pixel_is_set_exactly_if_its_centre_is_inside(points: Pairs, size_wh: tuple[int, int]):
    polygon = to_pixels(points, size_wh)
    if not polygon.is_valid:
        return
    mask = polygons_to_mask([(1, points)], size_wh)
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]] + 0.5
    unclear = contains_xy(polygon.boundary.buffer(1e-6), x, y)
    assert np.array_equal((mask == 1) | unclear, contains_xy(polygon, x, y) | unclear)


@given(stars())
@settings(max_examples=100, deadline=None)
def test_the_area_is_the_polygons_area(points: Pairs):
    polygon = to_pixels(points, (640, 480))
    if not polygon.is_valid:
        return
    area = np.count_nonzero(polygons_to_mask([(3, points)], (640, 480)))
    assert area == pytest.approx(polygon.area, abs=0.5 * polygon.length + 2)


@given(stars(), stars())
@settings(max_examples=50, deadline=None)
def test_the_order_of_polygons_does_not_matter(first: Pairs, second: Pairs):
    polygons = [(1, first), (2, second)]
    if Polygon(first).area == Polygon(second).area:
        return
    size_wh = (64, 48)
    assert np.array_equal(polygons_to_mask(polygons, size_wh), polygons_to_mask(polygons[::-1], size_wh))


@given(stars())
@settings(max_examples=50, deadline=None)
def test_the_direction_and_the_first_point_do_not_matter(points: Pairs):
    polygons = [polygons_to_mask([(1, each)], (64, 48)) for each in (points, points[::-1], points[2:] + points[:2])]
    # The same edge the other way round may round to the other side of a centre that lies on it.
    assert max(np.count_nonzero(polygons[0] != other) for other in polygons) <= 1


def test_neighbours_share_no_pixel_and_leave_none_out():
    left, right = [(0, 0), (33.3, 0), (61.7, 100), (0, 100)], [(33.3, 0), (100, 0), (100, 100), (61.7, 100)]
    alone = [polygons_to_mask([(1, each)], (97, 61)) for each in (left, right)]
    assert np.all(alone[0] + alone[1] == 1)


def test_the_smaller_polygon_is_on_top():
    mask = polygons_to_mask([(2, square(40, 60)), (1, square(10, 90))], (100, 100))
    assert (mask[50, 50], mask[20, 20], mask[5, 5]) == (2, 1, 0)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([], id="no-points"),
        pytest.param([(1, 1), (50, 50)], id="two-points"),
        pytest.param([(1, 1), (50, 50), (99, 99)], id="in-a-line"),
        pytest.param([(5, 5), (5, 5), (5, 5)], id="one-place"),
        pytest.param([(110, 110), (150, 110), (150, 150)], id="outside"),
        pytest.param([(10, 10), (float("nan"), 10), (50, 50)], id="not-a-number"),
    ],
)
def test_what_has_no_area_is_left_out(points: Pairs):
    assert not polygons_to_mask([(1, points)], (50, 50)).any()


def test_points_outside_move_to_the_edge():
    assert polygons_to_mask([(1, [(-50, -50), (150, -50), (150, 150), (-50, 150)])], (30, 20)).all()


def test_no_polygons_make_a_background():
    mask = polygons_to_mask([], (7, 5))
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, np.zeros((5, 7)))


def test_a_line_that_winds_around_twice_leaves_no_hole():
    twice = square(20, 80) + square(30, 70)
    assert polygons_to_mask([(1, twice)], (100, 100))[50, 50] == 1
