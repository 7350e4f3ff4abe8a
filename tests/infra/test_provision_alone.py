"""`provision --no-label-studio`: AWS's part, for a Label Studio that is not there yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from backend.cli import main
from backend.cli_pipeline import pipeline_choice, pipeline_env
from pipeline.choice import PipelineChoice
from tests.infra.desk import Desk, client, options

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("account")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_PIPELINE", "birds")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    pipeline = ("PIPELINE_PARAMETERS", "ALGORITHM", "ALGORITHM_IMAGE", "SPOT_TRAINING", "PROCESSING_IMAGE")
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST", *pipeline):
        monkeypatch.delenv(name, raising=False)


def written(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines())


def train() -> dict[str, object]:
    definition = json.loads(client("sagemaker").describe_pipeline(PipelineName="birds")["PipelineDefinition"])
    found: dict[str, object] = next(step["Arguments"] for step in definition["Steps"] if step["Name"] == "Train")
    return found


def defaults() -> dict[str, object]:
    definition = json.loads(client("sagemaker").describe_pipeline(PipelineName="birds")["PipelineDefinition"])
    return {each["Name"]: each.get("DefaultValue") for each in definition["Parameters"]}


def test_all_of_aws_is_made_though_no_label_studio_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / ".env"

    assert main(["provision", "--yes", "--no-label-studio", "--write-env", str(file)]) == 0

    found = written(file)
    assert found["S3_BUCKET"] == Desk(LABEL_STUDIO_URL="http://label-studio:8080").make()[1].s3_bucket
    assert found["SAGEMAKER_ROLE_ARN"].startswith("arn:aws:iam::")
    said = capsys.readouterr().out
    assert "Label Studio was left out" in said
    assert "0" * 40 not in said


def test_what_was_chosen_for_the_pipeline_is_chosen_again_by_who_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / ".env"
    chosen = ["--spot", "--set", "Epochs=40", "--set", "TrainingInstanceType=ml.g5.xlarge"]
    assert main(["provision", "--yes", "--no-label-studio", "--write-env", str(file), *chosen]) == 0
    before = (defaults(), train())
    for name, value in written(file).items():
        monkeypatch.setenv(name, value)

    assert main(["provision", "--yes", "--no-label-studio"]) == 0

    assert before[0]["Epochs"] == "40"
    assert before[1]["EnableManagedSpotTraining"] is True
    assert (defaults(), train()) == before


def test_the_variables_that_are_written_tell_all_of_a_choice(monkeypatch: pytest.MonkeyPatch):
    chosen = PipelineChoice(
        algorithm="segmenter", image="ours:1", spot=True, processing_image="other:1", overrides={"Epochs": "40"}
    )
    for name, value in pipeline_env(chosen).items():
        monkeypatch.setenv(name, value)

    assert pipeline_choice(options()) == chosen
    assert pipeline_choice(options("--processing-image", "")).processing_image == ""


def test_a_processing_image_that_a_variable_leaves_empty_stays_as_it_was_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROCESSING_IMAGE", "")
    before = PipelineChoice(processing_image="other:1")
    assert pipeline_choice(options(), before) == before


def test_an_option_is_preferred_to_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIPELINE_PARAMETERS", "Epochs=40,CropSize=300")
    monkeypatch.setenv("SPOT_TRAINING", "true")

    assert main(["provision", "--yes", "--no-label-studio", "--no-spot", "--set", "Epochs=50"]) == 0

    assert (defaults()["Epochs"], defaults()["CropSize"]) == ("50", "300")
    assert "EnableManagedSpotTraining" not in train()


def test_a_variable_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PIPELINE_PARAMETERS", "Epochs:40")

    assert main(["provision", "--yes", "--no-label-studio"]) == 1

    assert capsys.readouterr().err == "PIPELINE_PARAMETERS: wanted Name=Value, got 'Epochs:40'\n"


def test_a_switch_that_is_neither_on_nor_off_does_not_undo_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert main(["provision", "--yes", "--no-label-studio", "--spot"]) == 0
    monkeypatch.setenv("SPOT_TRAINING", "ture")
    assert main(["provision", "--yes", "--no-label-studio"]) == 1
    assert capsys.readouterr().err == "SPOT_TRAINING: wanted true or false, got 'ture'\n"
    assert train()["EnableManagedSpotTraining"] is True

    monkeypatch.setenv("SPOT_TRAINING", " Off ")
    assert main(["provision", "--yes", "--no-label-studio"]) == 0
    assert "EnableManagedSpotTraining" not in train()


@pytest.mark.parametrize("other", [["--trigger", "lambda"], ["--backend-url", "http://backend.example:9090"]])
def test_what_connects_label_studio_does_not_go_without_it(other: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["provision", "--yes", "--no-label-studio", *other]) == 1

    assert "--no-label-studio leaves that out" in capsys.readouterr().err


def test_an_address_of_label_studio_that_is_empty_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LABEL_STUDIO_URL", " ")
    assert main(["provision", "--yes", "--no-label-studio"]) == 0


def test_an_address_of_label_studio_in_its_other_spelling_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://studio.example")
    file = tmp_path / ".env"
    assert main(["provision", "--yes", "--no-label-studio", "--write-env", str(file)]) == 0
    assert written(file)["LABEL_STUDIO_URL"] == "http://studio.example"


def test_label_studio_is_not_left_out_unless_asked():
    assert options().label_studio
