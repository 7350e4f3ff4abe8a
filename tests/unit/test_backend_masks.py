"""Masks and probabilities -> polygons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.holes import MOST
from backend.masks import MINIMUM_AREA, Polygon, Segmentation, mask_to_polygons, probabilities_to_polygons
from backend.outlines import trace_mask
from backend.simplification import Fidelity, simplify
from pipeline.preprocess import polygons_to_mask

SIDE = 32
MASKS = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255])
)


def probabilities(mask: NDArray[Any], classes: int, *, sure: float = 0.9) -> NDArray[Any]:
    """A model that gives each pixel of *mask* its class with probability *sure*."""
    others = (1 - sure) / (classes - 1)
    return np.where(np.arange(classes)[:, None, None] == mask, sure, others).astype(np.float32)


def rectangle(left: int, top: int, right: int, bottom: int, *, class_id: int = 1) -> NDArray[Any]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top:bottom, left:right] = class_id
    return mask


def enlarged(mask: NDArray[Any], times: int) -> NDArray[Any]:
    return mask.repeat(times, axis=0).repeat(times, axis=1)


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


@pytest.mark.parametrize(
    ("left", "top", "right", "bottom"),
    [
        pytest.param(5, 7, 6, 8, id="one pixel"),
        pytest.param(5, 7, 6, 20, id="a line"),
        pytest.param(8, 4, 24, 12, id="a rectangle"),
        pytest.param(0, 0, SIDE, 3, id="along the edge of the image"),
    ],
)
def test_a_rectangle_of_pixels_comes_back_as_its_four_corners(left: int, top: int, right: int, bottom: int):
    (polygon,) = mask_to_polygons(rectangle(left, top, right, bottom)).polygons

    corners = {(left, top), (right, top), (right, bottom), (left, bottom)}
    assert {(x * SIDE, y * SIDE) for x, y in polygon.points} == corners
    assert len(polygon.points) == 4


def test_pixels_that_touch_at_a_corner_are_one_region():
    (polygon,) = mask_to_polygons(np.eye(8, dtype=np.uint8)).polygons

    assert shapely.Polygon(polygon.points).is_valid


def test_neighbouring_classes_keep_no_gap_or_overlap_beyond_a_pixel():
    rows, columns = np.mgrid[:128, :128]
    mask = np.where(columns > 64 + 20 * np.sin(rows / 15), 2, 1).astype(np.uint8)

    one, two = (
        shapely.Polygon([(128 * x, 128 * y) for x, y in each.points]) for each in mask_to_polygons(mask).polygons
    )

    image = shapely.box(0, 0, 128, 128)
    for strip in (one.intersection(two), image.difference(one.union(two))):
        assert strip.buffer(-0.5).is_empty


def test_each_part_of_a_class_is_a_region_of_its_own():
    mask = rectangle(2, 2, 10, 10) + rectangle(20, 20, 30, 30)

    assert [each.class_id for each in mask_to_polygons(mask).polygons] == [1, 1]


def ring(*, hole: int) -> NDArray[Any]:
    """24 x 24 pixels of class 1, the 8 x 8 in the middle of another."""
    mask = rectangle(4, 4, 28, 28)
    mask[12:20, 12:20] = hole
    return mask


@pytest.mark.parametrize("hole", [0, 255])
def test_a_hole_that_shows_the_background_is_opened_to_the_outside(hole: int):
    (polygon,) = mask_to_polygons(ring(hole=hole)).polygons

    assert shapely.Polygon(polygon.points).is_valid
    assert SIDE**2 * area(polygon) == pytest.approx(24 * 24 - 8 * 8, abs=8 * 0.25 + 0.01)
    assert np.array_equal(drawn_again([polygon]), ring(hole=0))


def test_a_hole_that_another_class_fills_is_covered_by_it():
    outer, inner = mask_to_polygons(ring(hole=2)).polygons

    assert (outer.class_id, inner.class_id) == (1, 2)
    assert SIDE**2 * area(outer) == pytest.approx(24 * 24)
    assert np.array_equal(drawn_again([outer, inner]), ring(hole=2))


def test_a_hole_no_larger_than_a_speck_is_covered():
    mask = np.ones((400, 400), np.uint8)
    mask[100:103, 100:103] = 0

    (polygon,) = mask_to_polygons(mask).polygons

    assert len(polygon.points) == 4


def test_of_a_sieve_the_largest_holes_are_opened_and_the_others_covered():
    mask = np.ones((200, 200), np.uint8)
    for place in range(2, 198, 12):
        for other in range(2, 198, 12):
            mask[place : place + 3, other : other + 3] = 0
    mask[50:58, 50:58] = 0  # the largest, of 17 x 17

    (polygon,) = mask_to_polygons(mask).polygons

    assert shapely.Polygon(polygon.points).is_valid
    assert not drawn_again([polygon], 200, 200)[51:57, 51:57].any()
    assert len(polygon.points) <= 4 + MOST * 8


def test_a_slit_that_meets_a_corner_of_another_hole_leaves_a_simple_polygon():
    mask = np.ones((6, 12), np.uint8)
    mask[:4, 7] = mask[2, 8] = mask[4, 6] = 0

    segmentation = mask_to_polygons(mask)

    assert_sound(segmentation)
    assert np.array_equal(drawn_again(segmentation.polygons, 12, 6), mask)


def test_a_region_with_many_holes_stays_in_one_piece_of_the_right_area():
    mask = np.ones((64, 64), np.uint8)
    for top in range(4, 60, 12):
        for left in range(4, 60, 12):
            mask[top : top + 5, left : left + 5] = 0

    assert np.array_equal(drawn_again(mask_to_polygons(mask).polygons, 64, 64), mask)


def drawn_again(polygons: Sequence[Polygon], width: int = SIDE, height: int = SIDE) -> NDArray[Any]:
    """As training draws them."""
    percent = [(each.class_id, [(100 * x, 100 * y) for x, y in each.points]) for each in polygons]
    return polygons_to_mask(percent, (width, height))


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


def score(values: NDArray[Any]) -> float:
    found = probabilities_to_polygons(values.astype(np.float32)).score
    assert found is not None
    return found


def test_an_images_score_is_the_mean_iou_that_the_model_expects():
    mask = rectangle(0, 0, SIDE, SIDE // 2)

    # Of each half 0.8 are right, and 0.2 of the other half would be its class, too: 0.8 / (0.8 + 0.2 + 0.2).
    assert score(probabilities(mask, 2, sure=0.8)) == pytest.approx(0.8 / 1.2, abs=0.001)
    assert score(probabilities(mask, 2, sure=1.0)) == pytest.approx(1)


def test_the_less_sure_the_model_is_the_lower_is_the_images_score():
    scores = [score(probabilities(rectangle(4, 4, 20, 20), 3, sure=sure)) for sure in (0.99, 0.9, 0.7, 0.5, 0.4)]

    assert scores == sorted(scores, reverse=True)


def test_labels_that_are_not_in_a_picture_do_not_make_it_doubtful():
    mask = rectangle(4, 4, 20, 20)
    few, many = probabilities(mask, 2, sure=0.99), np.zeros((40, SIDE, SIDE))
    many[:2] = few

    assert score(many) == pytest.approx(score(few))


def test_a_part_of_which_the_model_is_not_sure_lowers_the_score_however_small_it_is():
    mask, both = rectangle(2, 2, 30, 30), rectangle(2, 2, 30, 30)
    both[10:13, 10:13] = 2
    sure, doubtful = probabilities(mask, 3, sure=1.0), probabilities(both, 3, sure=1.0)
    doubtful[:, 10:13, 10:13] = np.array([0.0, 0.45, 0.55])[:, None, None]

    assert score(doubtful) < score(sure) - 0.1


def test_where_nothing_is_found_the_score_is_how_sure_the_model_is_of_that():
    nothing = np.zeros((8, 8), np.uint8)

    assert probabilities_to_polygons(probabilities(nothing, 2)).polygons == ()
    assert score(probabilities(nothing, 2, sure=1.0)) == pytest.approx(1)
    assert score(probabilities(nothing, 2, sure=0.7)) < 0.7


def test_a_polygon_drawn_as_a_mask_comes_back_as_itself():
    drawn = [(20, 30), (220, 50), (180, 200), (60, 170)]
    canvas = Image.new("L", (256, 256))
    ImageDraw.Draw(canvas).polygon(drawn, fill=1)

    (polygon,) = mask_to_polygons(np.asarray(canvas)).polygons

    found, wanted = shapely.Polygon([(256 * x, 256 * y) for x, y in polygon.points]), shapely.Polygon(drawn)
    assert found.intersection(wanted).area / found.union(wanted).area > 0.97
    assert len(polygon.points) <= 12


@settings(deadline=None)
@given(MASKS)
def test_any_mask_gives_sound_polygons(mask: NDArray[Any]):
    """``--hypothesis-profile=soak`` tries 200,000."""
    assert_sound(mask_to_polygons(mask))


@settings(deadline=None)
@given(
    mask=MASKS,
    minimum_iou=st.floats(0, 1),
    maximum_points=st.integers(4, 40),
)
def test_no_outline_has_more_points_than_it_may(mask: NDArray[Any], minimum_iou: float, maximum_points: int):
    rings = [ring for ring in trace_mask(mask, minimum_area=0) if ring.area > 0]

    for vertices in simplify(rings, Fidelity(minimum_iou, maximum_points)):
        assert 3 <= len(vertices) <= maximum_points
        assert shapely.Polygon(vertices).is_valid


@settings(deadline=None)
@given(
    mask=arrays.arrays(np.uint8, (9, 9), elements=st.integers(0, 1)).map(lambda blocks: enlarged(blocks, 5)),
    minimum_iou=st.floats(0.5, 1),
)
def test_an_outline_has_the_iou_that_is_asked_for(mask: NDArray[Any], minimum_iou: float):
    rings = trace_mask(mask, minimum_area=0)

    for ring, vertices in zip(rings, simplify(rings, Fidelity(minimum_iou, maximum_points=10_000)), strict=True):
        found, region = shapely.Polygon(vertices), shapely.Polygon(ring.points)
        exact = ring.corners is not None and np.array_equal(vertices, ring.corners)
        assert exact or found.intersection(region).area / found.union(region).area >= minimum_iou - 1e-9


@settings(deadline=None)
@given(arrays.arrays(np.float32, (3, 9, 7), elements=st.floats(0, 1, width=32)))
def test_any_probabilities_give_sound_polygons(values: NDArray[Any]):
    assert_sound(probabilities_to_polygons(values))


@settings(deadline=None)
@given(left=st.integers(0, 24), top=st.integers(0, 24), width=st.integers(8, 32), height=st.integers(8, 32))
def test_a_polygons_area_is_that_of_its_region(left: int, top: int, width: int, height: int):
    mask = rectangle(left, top, left + width, top + height)
    wanted = float(mask.mean())

    (polygon,) = mask_to_polygons(mask).polygons
    assert area(polygon) == pytest.approx(wanted, rel=1e-9)
    (polygon,) = probabilities_to_polygons(probabilities(mask, 2)).polygons
    assert area(polygon) == pytest.approx(wanted, rel=0.02)


def test_a_region_that_the_image_cuts_off_ends_at_the_image_s_edge():
    (polygon,) = probabilities_to_polygons(probabilities(rectangle(0, 4, 20, SIDE), 2)).polygons

    left, _, _, bottom = shapely.Polygon(polygon.points).bounds
    assert (left, bottom) == (0, 1)
