"""Intersection over union of predicted and known polygons."""

from typing import Any

import pytest

from demo.quality import Agreement

LABELS = ("Beak", "Head")
SIZE_WH = (100, 50)


def region(label: str, left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    """A rectangle in per cent."""
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"value": {"points": points, "polygonlabels": [label]}}


@pytest.mark.parametrize(
    ("predicted", "known", "expected"),
    [
        pytest.param([region("Head", 0, 0, 50, 50)], [region("Head", 0, 0, 50, 50)], {"Head": 1.0}, id="the same"),
        pytest.param([region("Head", 0, 0, 50, 100)], [region("Head", 0, 0, 100, 100)], {"Head": 0.5}, id="half of it"),
        pytest.param([], [region("Head", 0, 0, 50, 50)], {"Head": 0.0}, id="missed"),
        pytest.param([region("Beak", 0, 0, 50, 50)], [], {"Beak": 0.0}, id="invented"),
        pytest.param(
            [region("Beak", 0, 0, 50, 50)], [region("Head", 0, 0, 50, 50)], {"Beak": 0.0, "Head": 0.0}, id="wrong label"
        ),
        pytest.param([region("Tail", 0, 0, 50, 50)], [], {}, id="a label that the project does not have"),
        pytest.param([], [], {}, id="nothing at all"),
    ],
)
def test_each_label_counts_its_own_pixels(
    predicted: list[dict[str, Any]], known: list[dict[str, Any]], expected: dict[str, float]
):
    found = Agreement(LABELS)
    found.add(predicted, known, SIZE_WH)

    assert found.per_label() == expected


def test_pixels_are_summed_over_images_before_dividing():
    found = Agreement(LABELS)
    found.add([region("Head", 0, 0, 100, 100)], [region("Head", 0, 0, 100, 100)], (30, 10))
    found.add([], [region("Head", 0, 0, 100, 100)], (10, 10))

    assert found.per_label() == {"Head": 0.75}


def test_the_mean_is_over_the_labels_that_were_seen():
    found = Agreement(LABELS)
    found.add([region("Head", 0, 0, 50, 100)], [region("Head", 0, 0, 100, 100)], SIZE_WH)

    assert found.mean() == 0.5
    assert Agreement(LABELS).mean() == 0.0
