"""The next training begins with the live model, and with those of its classes that are still wanted."""

import json
from collections.abc import Sequence

import pytest

from backend.regions import LabelConfig
from backend.warm_start import LiveModel, earlier_classes, warm_start_files

CONFIG = LabelConfig("label", "image", "image", ("Beak", "Head", "Wing"))
FOLDER = "ls/projects/3/datasets/d"
MODEL = "s3://birds/ls/models/e/job/output/model.tar.gz"


def written(live: LiveModel | None) -> tuple[list[object], dict[str, object]]:
    files = warm_start_files(CONFIG, live, bucket="birds", folder=FOLDER)
    return json.loads(files["model.manifest"]), json.loads(files["earlier.json"])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        pytest.param(["Beak", "Head", "Wing"], (0, 1, 2, 3), id="the same"),
        pytest.param(["Wing", "Beak", "Head"], (0, 2, 3, 1), id="in another order"),
        pytest.param(["Beak", "Wing", "Tail"], (0, 1, None, 2), id="one new, one gone"),
        pytest.param(["beak", "HEAD", "wing"], (0, 1, 2, 3), id="in another case"),
        pytest.param(["beak", "Beak"], (0, 2, None, None), id="the exact name before another case"),
        pytest.param([], (0, None, None, None), id="none"),
    ],
)
def test_a_class_is_the_earlier_one_of_its_label(labels: Sequence[str], classes: tuple[int | None, ...]):
    assert earlier_classes(CONFIG, labels) == classes


def test_a_renamed_label_is_found_by_its_predicted_values():
    renamed = LabelConfig("label", "image", "image", ("Bill", "Head"), (("Beak", "Bill"),))
    assert earlier_classes(renamed, ["Beak", "Head"]) == (0, 1, 2)


def test_the_channel_holds_the_live_model_and_its_classes():
    manifest, earlier = written(LiveModel(MODEL, ("Beak", "Tail")))

    assert manifest == [
        {"prefix": "s3://birds/"},
        f"{FOLDER}/earlier.json",
        "ls/models/e/job/output/model.tar.gz",
    ]
    assert earlier == {"classes": [0, 1, None, None]}


@pytest.mark.parametrize(
    "live",
    [pytest.param(None, id="none yet"), pytest.param(LiveModel("s3://other/model.tar.gz", ("Beak",)), id="away")],
)
def test_without_a_model_the_channel_still_holds_an_object(live: LiveModel | None):
    assert written(live) == ([{"prefix": "s3://birds/"}, f"{FOLDER}/earlier.json"], {"classes": []})
