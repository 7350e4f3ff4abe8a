"""Synthetic birds: what the demo and its checks rely on."""

from functools import cache

import pytest
from shapely import Polygon

from demo.birds import LABELS, BirdScene, draw_scene, scene_size, to_regions

SEEDS = range(12)
# Shares of the picture: a part smaller than this could not be learnt from a picture scaled down for training.
LEAST_AREA = {"Beak": 0.002, "Head": 0.008, "Wing": 0.01, "Body": 0.02}


@cache
def scene(seed: int) -> BirdScene:
    return draw_scene(seed, size_wh=scene_size(seed))


@pytest.fixture(params=SEEDS)
def bird(request: pytest.FixtureRequest) -> BirdScene:
    return scene(request.param)


def test_a_seed_always_gives_the_same_scene():
    again = draw_scene(3, size_wh=scene_size(3))
    assert again.polygons == scene(3).polygons
    assert again.image.tobytes() == scene(3).image.tobytes()


def test_seeds_give_different_scenes():
    assert len({scene(seed).polygons for seed in SEEDS}) == len(SEEDS)


def test_the_picture_has_the_wanted_size_and_is_rgb(bird: BirdScene):
    assert bird.image.mode == "RGB"
    assert draw_scene(0, size_wh=(320, 200)).image.size == (320, 200)


def test_sizes_vary_between_seeds_and_stay_with_a_seed():
    assert len({scene_size(seed) for seed in range(50)}) > 3
    assert scene_size(7) == scene_size(7)


def test_every_bird_has_all_four_parts(bird: BirdScene):
    assert {polygon.label for polygon in bird.polygons} == set(LABELS)


def test_polygons_are_simple_and_inside_the_picture(bird: BirdScene):
    for polygon in bird.polygons:
        assert Polygon(polygon.points_percent).is_valid
        assert all(0 <= value <= 100 for point in polygon.points_percent for value in point)


def test_no_part_is_tiny(bird: BirdScene):
    for label in LABELS:
        area = sum(Polygon(p.points_percent).area for p in bird.polygons if p.label == label) / 100**2
        assert area > LEAST_AREA[label], label


def test_outlines_are_drawn_as_a_person_would(bird: BirdScene):
    counts = [len(polygon.points_percent) for polygon in bird.polygons]
    assert min(counts) >= 3
    assert sum(counts) / len(counts) < 60


def test_regions_are_label_studios(bird: BirdScene):
    regions = to_regions(bird)
    assert len({region["id"] for region in regions}) == len(regions) == len(bird.polygons)
    for region, polygon in zip(regions, bird.polygons, strict=True):
        assert (region["type"], region["from_name"], region["to_name"]) == ("polygonlabels", "label", "image")
        assert (region["original_width"], region["original_height"]) == bird.image.size
        assert region["value"]["polygonlabels"] == [polygon.label]
        assert region["value"]["points"] == [list(point) for point in polygon.points_percent]
