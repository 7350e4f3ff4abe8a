"""Training on spot instances is put into the definition in the form that SageMaker takes, and found in no other."""

import copy
import json
from typing import Any

import pytest

from pipeline.checker import check_definition
from pipeline.choice import PipelineChoice
from pipeline.publish import Target, artifacts
from pipeline.rendering import committed_definition
from pipeline.spot import spot_note, with_spot, without_spot
from tests.unit.test_pipeline_checker import step

IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/segmenter:1"


def published(**wanted: Any) -> dict[str, Any]:
    role, choice = "arn:aws:iam::123456789012:role/jobs", PipelineChoice(**wanted)
    target = Target(bucket="birds", role_arn=role, region="eu-west-1", choice=choice)
    loaded: dict[str, Any] = json.loads(artifacts(target, committed_definition()).definition)
    return loaded


def train(definition: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = step(definition, "Train")["Arguments"]
    return arguments


@pytest.mark.parametrize("wanted", [{}, {"algorithm": "segmenter", "image": IMAGE}])
def test_nobody_trains_on_spot_instances_who_did_not_ask_for_it(wanted: dict[str, str]):
    arguments = train(published(**wanted))
    assert "EnableManagedSpotTraining" not in arguments
    assert "MaxWaitTimeInSeconds" not in arguments["StoppingCondition"]


@pytest.mark.parametrize("wanted", [{}, {"algorithm": "segmenter", "image": IMAGE}])
def test_spot_instances_are_asked_for_in_the_way_that_sagemaker_takes(wanted: dict[str, str]):
    definition = published(spot=True, **wanted)

    assert check_definition(definition) == []
    assert train(definition)["EnableManagedSpotTraining"] is True
    assert train(definition)["StoppingCondition"] == {"MaxRuntimeInSeconds": 21600, "MaxWaitTimeInSeconds": 25200}


def test_the_longest_training_is_the_one_that_was_set():
    definition = published(spot=True, overrides={"MaxRuntimeInSeconds": "1800"})
    assert train(definition)["StoppingCondition"] == {"MaxRuntimeInSeconds": 1800, "MaxWaitTimeInSeconds": 5400}


def test_an_execution_cannot_make_the_training_longer_than_the_wait():
    limit = train(published(spot=True))["StoppingCondition"]
    assert all(isinstance(seconds, int) for seconds in limit.values())


def test_the_built_in_algorithm_goes_on_from_checkpoints_that_are_the_runs_own_and_expire():
    values = train(published(spot=True))["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"]
    root, *folders = values
    assert root == {"Get": "Parameters.ArtifactsS3Uri"}
    assert folders == ["scratch", {"Get": "Execution.PipelineExecutionId"}, "checkpoints", ""]


def test_the_segmenter_has_no_place_for_checkpoints_since_it_writes_none():
    assert "CheckpointConfig" not in train(published(spot=True, algorithm="segmenter", image=IMAGE))


@pytest.mark.parametrize(("algorithm", "told"), [("builtin", "last checkpoint"), ("segmenter", "begins anew")])
def test_it_is_told_what_becomes_of_an_interrupted_training(algorithm: str, told: str):
    note = spot_note(committed_definition(), algorithm)
    assert told in note
    assert "25200 s at most" in note


@pytest.mark.parametrize("algorithm", ["builtin", "segmenter"])
def test_without_spot_instances_it_is_the_committed_definition_again(algorithm: str):
    assert without_spot(with_spot(committed_definition(), algorithm)) == committed_definition()


def test_what_was_never_on_spot_instances_stays_as_it_is():
    assert without_spot(committed_definition()) == committed_definition()


@pytest.mark.parametrize(
    ("arguments", "limit", "fault"),
    [
        pytest.param({}, {"MaxWaitTimeInSeconds": 90_000}, "wants EnableManagedSpotTraining to be true", id="no spot"),
        pytest.param({"EnableManagedSpotTraining": True}, {}, "wants MaxWaitTimeInSeconds", id="no wait"),
        pytest.param(
            {"EnableManagedSpotTraining": True},
            {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 3600},
            r"MaxWaitTimeInSeconds (3600) must be MaxRuntimeInSeconds (7200) or more",
            id="too short",
        ),
        pytest.param(
            {"EnableManagedSpotTraining": True}, {"MaxWaitTimeInSeconds": 90_000}, "must be numbers", id="a parameter"
        ),
    ],
)
def test_what_sagemaker_would_refuse_is_a_fault(arguments: dict[str, Any], limit: dict[str, Any], fault: str):
    definition = copy.deepcopy(committed_definition())
    train(definition).update(arguments)
    train(definition)["StoppingCondition"].update(limit)
    assert any(fault in each for each in check_definition(definition)), check_definition(definition)
