"""Labeling interface and regions: what Label Studio stores <-> polygons with class ids."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import LabelConfigError
from backend.masks import Polygon
from backend.regions import IGNORE, LabelConfig, parse_label_config, polygons_to_regions, read_regions
from tests.fakes import BIRDS, LABELS, recorded, recorded_names, region

CONFIG = parse_label_config(BIRDS)
SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
NUMBERS = st.integers() | st.floats() | st.integers(10**400, 10**401) | st.text(max_size=2) | st.none() | st.booleans()
JSON = st.recursive(
    NUMBERS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
REGIONS = st.fixed_dictionaries(
    {
        "type": st.just("polygonlabels") | JSON,
        "from_name": st.just("label") | JSON,
        "value": st.fixed_dictionaries(
            {
                "points": st.lists(st.lists(NUMBERS, min_size=2, max_size=2), max_size=6) | JSON,
                "polygonlabels": st.lists(st.sampled_from(LABELS), max_size=2) | JSON,
            }
        )
        | JSON,
    }
)


def config(labels: str = '<Label value="Beak"/>', *, image: str = '<Image name="i" value="$image"/>') -> str:
    return f'<View>{image}<PolygonLabels name="l" toName="i">{labels}</PolygonLabels></View>'


@pytest.mark.parametrize("name", recorded_names("setup_*"))
def test_the_recorded_interface_is_read(name: str):
    found = parse_label_config(recorded(name)["schema"])

    assert found == LabelConfig("label", "image", "image", LABELS)


def test_class_ids_follow_the_interfaces_order_after_the_background():
    assert [CONFIG.class_id(label) for label in LABELS] == [1, 2, 3, 4]
    assert CONFIG.class_id("Tail") is None


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        pytest.param("", "not readable XML", id="empty"),
        pytest.param("<View>", "not readable XML", id="not closed"),
        pytest.param('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', "not readable XML", id="entities"),
        pytest.param("<View>\ud800</View>", "not readable XML", id="half a character"),
        pytest.param('<View><Image name="i" value="$image"/></View>', "found 0", id="no PolygonLabels"),
        pytest.param(f"<View>{config()}{config()}</View>", "found 2", id="two PolygonLabels"),
        pytest.param(config(image=""), 'wanted <Image name="i"', id="no image"),
        pytest.param(config(image='<Image name="other" value="$x"/>'), 'wanted <Image name="i"', id="another image"),
        pytest.param(config(image='<Image name="i" valueList="$x"/>'), "value=", id="a list of images"),
        pytest.param(config(labels=""), "at least one <Label", id="no labels"),
    ],
)
def test_an_interface_that_cannot_be_used_says_why(xml: str, problem: str):
    with pytest.raises(LabelConfigError, match=problem):
        parse_label_config(xml)


def test_a_label_is_what_its_regions_carry():
    found = parse_label_config(config('<Label value="Beak" alias="b"/><Label value="Head"/><Label value="Head"/>'))

    assert found.labels == ("b", "Head")


@pytest.mark.parametrize(
    ("model_label", "label"),
    [
        pytest.param("bill", "Beak", id="by predicted_values"),
        pytest.param("nose", "Beak", id="by the second of them"),
        pytest.param("Wing", "Wing", id="exact"),
        pytest.param("WING", "Wing", id="whatever the case"),
        pytest.param("Tail", None, id="no longer in the interface"),
    ],
)
def test_a_models_label_is_mapped_to_the_interfaces(model_label: str, label: str | None):
    found = parse_label_config(config('<Label value="Beak" predicted_values="bill, nose"/><Label value="Wing"/>'))

    assert found.label_for(model_label) == label


@pytest.mark.parametrize("name", recorded_names("webhook_ANNOTATION_*"))
def test_every_recorded_annotation_is_read_without_loss(name: str):
    result = recorded(name)["annotation"]["result"]

    polygons, dropped = read_regions(result, CONFIG)

    assert (len(polygons), dropped) == (len(result), [])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        pytest.param(region(type="brushlabels"), "not a polygon", id="a brush"),
        pytest.param(5, "not a polygon", id="not an object"),
        pytest.param(region(from_name="other"), "drawn with another tool", id="another control"),
        pytest.param(region(value=None), "three points", id="no value"),
        pytest.param(region(points=[[1, 1], [2, 2]]), "three points", id="two points"),
        pytest.param(region(points=[[1, 1], [1, 1], [2, 2], [1, 1]]), "three points", id="two distinct points"),
        pytest.param(region(points=[[1, 1], [2, 2], ["3", 4]]), "three points", id="text for a number"),
        pytest.param(region(points=[[1, 1], [2, 2], [math.nan, 4]]), "three points", id="not a number"),
        pytest.param(region(points=[[1, 1], [2, 2], [10**400, 4]]), "three points", id="a number beyond all floats"),
        pytest.param(region(points=[[1, 1], [2, 2], [3]]), "three points", id="half a point"),
        pytest.param(region(points="none"), "three points", id="no list of points"),
    ],
)
def test_a_region_that_cannot_be_used_is_dropped_with_its_reason(wrong: object, reason: str):
    polygons, dropped = read_regions([region(), wrong], CONFIG)

    assert len(polygons) == 1
    assert len(dropped) == 1
    assert reason in dropped[0]


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        pytest.param(region("Tail"), "label 'Tail' is not in the labeling interface", id="a label that was removed"),
        pytest.param(region(value={"points": [[1, 1], [2, 2], [1, 3]]}), "no label", id="no label"),
    ],
)
def test_what_a_polygon_without_a_known_label_covers_is_ignored_not_background(unknown: object, reason: str):
    polygons, reasons = read_regions([unknown], CONFIG)

    assert [each.class_id for each in polygons] == [IGNORE]
    assert reason in reasons[0]


def test_points_outside_are_moved_to_the_images_edge():
    polygons, _ = read_regions([region(points=[[-5, 10], [130, 10.5], [50, 100]])], CONFIG)

    assert polygons[0].points == ((0.0, 10.0), (100.0, 10.5), (50.0, 100.0))


def test_the_first_point_repeated_at_the_end_is_left_out():
    polygons, _ = read_regions([region(points=[[1, 1], [9, 1], [5, 9], [1, 1]])], CONFIG)

    assert len(polygons[0].points) == 3


@given(st.lists(REGIONS | JSON, max_size=4) | JSON)
def test_reading_regions_never_raises_and_gives_usable_polygons(results: Any):
    polygons, _ = read_regions(results, CONFIG)

    for polygon in polygons:
        assert 1 <= polygon.class_id <= len(LABELS)
        assert len(polygon.points) >= 3
        assert all(0 <= number <= 100 for point in polygon.points for number in point)


def predicted(*polygons: Polygon, **options: Any) -> list[dict[str, Any]]:
    options = {"config": CONFIG, "model_labels": LABELS, "size_wh": (640, 480), **options}
    return polygons_to_regions(polygons, **options)


def test_a_predicted_region_is_what_label_studio_draws():
    assert predicted(Polygon(2, SQUARE, 0.87654)) == [
        {
            "id": "model-0",
            "from_name": "label",
            "to_name": "image",
            "type": "polygonlabels",
            "origin": "prediction",
            "original_width": 640,
            "original_height": 480,
            "image_rotation": 0,
            "score": 0.8765,
            "value": {
                "points": [[25.0, 25.0], [75.0, 25.0], [75.0, 75.0], [25.0, 75.0]],
                "closed": True,
                "polygonlabels": ["Head"],
            },
        }
    ]


def test_a_predicted_region_has_the_fields_of_one_that_was_accepted():
    accepted = recorded("response_predict_accepted")["results"][0]["result"][0]

    assert accepted.keys() <= predicted(Polygon(1, SQUARE, 0.5))[0].keys()


def test_region_ids_are_unique_in_a_result():
    ids = [each["id"] for each in predicted(*[Polygon(1, SQUARE, 0.5)] * 5)]

    assert len(set(ids)) == 5


def test_a_class_that_the_model_does_not_name_is_left_out():
    assert predicted(Polygon(5, SQUARE, 0.9)) == []


def test_a_label_that_the_interface_does_not_have_is_left_out():
    regions = predicted(Polygon(1, SQUARE, 0.9), Polygon(2, SQUARE, 0.9), model_labels=("Tail", "wing"))

    assert [each["value"]["polygonlabels"] for each in regions] == [["Wing"]]


def test_regions_below_the_threshold_are_left_out_and_those_without_a_score_stay():
    regions = predicted(Polygon(1, SQUARE, 0.4), Polygon(2, SQUARE, 0.6), Polygon(3, SQUARE, None), threshold=0.5)

    assert [each.get("score") for each in regions] == [0.6, None]
    assert "score" not in regions[1]


def test_what_was_predicted_is_read_back_as_drawn():
    regions = json.loads(json.dumps(predicted(Polygon(3, SQUARE, 0.9))))

    polygons, dropped = read_regions(regions, CONFIG)

    assert (polygons[0].class_id, dropped) == (3, [])
    assert polygons[0].points == tuple((100 * x, 100 * y) for x, y in SQUARE)
