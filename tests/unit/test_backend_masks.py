"""Masks and probabilities -> polygons."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.masks import MINIMUM_AREA, Polygon, Segmentation, mask_to_polygons, probabilities_to_polygons

SIDE = 32


def probabilities(mask: NDArray[Any], classes: int, *, sure: float = 0.9) -> NDArray[Any]:
    """A model that gives each pixel of *mask* its class with probability *sure*."""
    others = (1 - sure) / (classes - 1)
    return np.where(np.arange(classes)[:, None, None] == mask, sure, others).astype(np.float32)


def rectangle(left: int, top: int, right: int, bottom: int, *, class_id: int = 1) -> NDArray[Any]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top:bottom, left:right] = class_id
    return mask


def area(polygon: Polygon) -> float:
    return float(shapely.Polygon(polygon.points).area)


def assert_sound(segmentation: Segmentation) -> None:
    for polygon in segmentation.polygons:
        assert len(polygon.points) >= 3
        assert all(0 <= number <= 1 for point in polygon.points for number in point)
        assert shapely.Polygon(polygon.points).is_valid
        assert polygon.score is None or 0 <= polygon.score <= 1
    assert segmentation.score is None or 0 <= segmentation.score <= 1


def test_nothing_is_found_in_an_empty_mask():
    assert mask_to_polygons(np.zeros((8, 8), np.uint8)).polygons == ()


def test_what_is_to_be_ignored_is_background():
    assert mask_to_polygons(np.full((8, 8), 255, np.uint8)).polygons == ()


def test_a_mask_without_background_is_the_whole_image():
    (polygon,) = mask_to_polygons(np.full((64, 64), 3, np.uint8)).polygons

    assert polygon.class_id == 3
    assert area(polygon) == pytest.approx(1, abs=0.02)


def test_contours_run_along_the_pixels_edges():
    (polygon,) = mask_to_polygons(rectangle(8, 4, 24, 12)).polygons

    bounds = shapely.Polygon(polygon.points).bounds
    assert bounds == pytest.approx((8 / SIDE, 4 / SIDE, 24 / SIDE, 12 / SIDE), abs=0.5 / SIDE)


def test_each_part_of_a_class_is_a_region_of_its_own():
    mask = rectangle(2, 2, 10, 10) + rectangle(20, 20, 30, 30)

    assert [each.class_id for each in mask_to_polygons(mask).polygons] == [1, 1]


def test_holes_are_filled():
    mask = rectangle(4, 4, 28, 28)
    mask[12:20, 12:20] = 0

    (polygon,) = mask_to_polygons(mask).polygons

    assert area(polygon) == pytest.approx((24 / SIDE) ** 2, rel=0.05)


def test_specks_are_left_out():
    mask = np.zeros((400, 400), np.uint8)
    mask[100:103, 100:103] = 1  # 9 of 160000 pixels

    assert 9 / mask.size < MINIMUM_AREA
    assert mask_to_polygons(mask).polygons == ()


def test_larger_regions_come_first_so_that_small_ones_are_drawn_on_top():
    mask = rectangle(2, 2, 8, 8) + rectangle(10, 10, 30, 30, class_id=2)

    assert [each.class_id for each in mask_to_polygons(mask).polygons] == [2, 1]


def test_a_mask_has_no_scores():
    segmentation = mask_to_polygons(rectangle(4, 4, 20, 20))

    assert segmentation.score is None
    assert segmentation.polygons[0].score is None


def test_a_regions_score_is_how_sure_the_model_is_inside():
    segmentation = probabilities_to_polygons(probabilities(rectangle(4, 4, 20, 20), 3, sure=0.8))

    assert segmentation.polygons[0].score == pytest.approx(0.8, abs=0.01)
    assert segmentation.score == pytest.approx(0.8, abs=0.01)


def test_where_nothing_is_found_the_score_is_how_sure_the_model_is_of_that():
    segmentation = probabilities_to_polygons(probabilities(np.zeros((8, 8), np.uint8), 2, sure=0.7))

    assert segmentation.polygons == ()
    assert segmentation.score == pytest.approx(0.7, abs=0.01)


def test_a_polygon_drawn_as_a_mask_comes_back_as_itself():
    drawn = [(20, 30), (220, 50), (180, 200), (60, 170)]
    canvas = Image.new("L", (256, 256))
    ImageDraw.Draw(canvas).polygon(drawn, fill=1)

    (polygon,) = mask_to_polygons(np.asarray(canvas)).polygons

    found, wanted = shapely.Polygon([(256 * x, 256 * y) for x, y in polygon.points]), shapely.Polygon(drawn)
    assert found.intersection(wanted).area / found.union(wanted).area > 0.97
    assert len(polygon.points) <= 12


@settings(deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255]))
)
def test_any_mask_gives_sound_polygons(mask: NDArray[Any]):
    assert_sound(mask_to_polygons(mask))


@settings(deadline=None)
@given(arrays.arrays(np.float32, (3, 9, 7), elements=st.floats(0, 1, width=32)))
def test_any_probabilities_give_sound_polygons(values: NDArray[Any]):
    assert_sound(probabilities_to_polygons(values))


@settings(deadline=None)
@given(left=st.integers(0, 24), top=st.integers(0, 24), width=st.integers(8, 32), height=st.integers(8, 32))
def test_a_polygons_area_is_that_of_its_region(left: int, top: int, width: int, height: int):
    mask = rectangle(left, top, left + width, top + height)
    wanted = float(mask.mean())

    for segmentation in (mask_to_polygons(mask), probabilities_to_polygons(probabilities(mask, 2))):
        assert area(segmentation.polygons[0]) == pytest.approx(wanted, rel=0.12)
