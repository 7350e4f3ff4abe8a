"""`python -m demo play`: a visitor beside services that somebody else started."""

import subprocess
import sys
from pathlib import Path

import pytest

from demo.command import main, parse
from demo.errors import DemoError
from demo.play import Place, require_bird_labels

SETTINGS = {
    "LABEL_STUDIO_URL": "http://label-studio:8080/",
    "LABEL_STUDIO_API_KEY": "token",
    "S3_BUCKET": "birds",
    "SAGEMAKER_PIPELINE": "",
    "START_TRAINING_EACH_N_UPDATES": "",
}
# What the image of the backend does not have, or at most by accident.
ABSENT = ("psutil", "pandas", "cv2", "requests", "torch", "cheroot", "sagemaker")
IMPORTS = """
import sys
for name in {absent}:
    sys.modules[name] = None
import demo.__main__, demo.command, demo.play
"""


def test_a_visitor_needs_no_more_than_the_backend():
    code = IMPORTS.format(absent=ABSENT)

    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, check=False)

    assert done.stderr == b""
    assert done.returncode == 0


def test_settings_that_are_empty_have_the_backends_defaults():
    place = Place.of(SETTINGS)

    assert (place.label_studio, place.pipeline, place.train_at) == (
        "http://label-studio:8080",
        "label-studio-segmentation",
        16,
    )


def test_a_visitor_annotates_what_the_backend_waits_for():
    assert Place.of({**SETTINGS, "START_TRAINING_EACH_N_UPDATES": "4"}).train_at == 4


@pytest.mark.parametrize("threshold", ["60", "1000", "many"])
def test_a_threshold_that_leaves_no_bird_to_the_model_is_refused(threshold: str):
    with pytest.raises(DemoError, match="the demo has 60 birds, so wanted fewer"):
        Place.of({**SETTINGS, "START_TRAINING_EACH_N_UPDATES": threshold})


class Interface:
    """A Label Studio whose project has one label."""

    def label_config(self, project: int) -> str:
        return '<View><PolygonLabels name="l" toName="i"><Label value="Wheel"/></PolygonLabels></View>'


def test_a_project_without_the_birds_labels_is_refused_before_anything_is_annotated():
    with pytest.raises(DemoError, match="'Cars' does not have the labels Beak, Head, Wing, Body"):
        require_bird_labels(Interface(), 1, "Cars")


@pytest.mark.parametrize("name", ["LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "S3_BUCKET"])
def test_a_setting_that_is_missing_is_named(name: str):
    with pytest.raises(DemoError, match=f"{name} is not set"):
        Place.of({**SETTINGS, name: ""})


def test_the_command_tells_what_is_missing_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)

    assert main(["play"]) == 1
    assert capsys.readouterr().err == "\nLABEL_STUDIO_URL is not set: `play` needs the settings that the backend has.\n"


def test_the_project_is_the_one_that_a_set_up_makes_by_itself():
    assert parse(["play"]).title == "Bird parts"
