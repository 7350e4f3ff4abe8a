"""The loop's progress: what is told, once, and when it counts as done."""

import pytest
from botocore.exceptions import ClientError

from demo.execution import Execution, StepState
from demo.watch import Progress, changes, is_missing, live_version, now

TRAINING = Execution(
    "p1-n16-0", "Executing", (StepState("Preprocess", "Succeeded", 3.2), StepState("Train", "Executing"))
)
TRAINED = Execution(
    "p1-n16-0", "Succeeded", (StepState("Preprocess", "Succeeded", 3.2), StepState("Train", "Succeeded", 45.0)), 0.8123
)
SERVED = Progress(60, 16, TRAINED, 1, "InService", "birds v1", 44)


def test_nothing_is_told_when_nothing_changed():
    assert changes(SERVED, SERVED) == []


def test_a_started_execution_is_told_with_its_steps():
    assert changes(Progress(60, 16), Progress(60, 16, TRAINING)) == [
        "  pipeline    execution p1-n16-0 started",
        "    Preprocess         Succeeded (3 s)",
        "    Train              Executing",
    ]


def test_another_execution_of_the_same_name_is_told_as_another():
    first, second = (Execution("p1-n16-0", "Executing", arn=arn) for arn in ("first", "second"))

    assert changes(Progress(60, 16, first), Progress(60, 16, second)) == ["  pipeline    execution p1-n16-0 started"]


def test_the_end_of_an_execution_is_told_with_its_quality():
    assert changes(Progress(60, 16, TRAINING), Progress(60, 16, TRAINED)) == [
        "    Train              Succeeded (45 s)",
        "  training    validation mIoU 0.812",
        "  pipeline    execution p1-n16-0 Succeeded",
    ]


def test_a_failure_is_told_with_its_reason():
    failed = Execution("p1-n16-2", "Failed", (StepState("Train", "Failed", 2.0, "no memory"),), reason="Train failed")

    assert changes(Progress(60, 16, Execution("p1-n16-2", "Executing")), Progress(60, 16, failed)) == [
        "    Train              Failed (2 s): no memory",
        "  pipeline    execution p1-n16-2 Failed: Train failed",
    ]


@pytest.mark.parametrize(("name", "attempt"), [("p1-n16-0", "1 of 3"), ("p1-n16-1", "2 of 3"), ("p1-n32-3", "1 of 3")])
def test_a_failure_that_is_tried_again_says_so(name: str, attempt: str):
    running, failed = Execution(name, "Executing"), Execution(name, "Failed")

    lines = changes(Progress(60, 16, running), Progress(60, 16, failed))

    assert lines[1:] == [f"  pipeline    attempt {attempt}: it is tried again in a moment"]
    assert "about to try again" in now(Progress(60, 16, failed), threshold=16)


def test_model_endpoint_and_predictions_are_told():
    assert changes(Progress(60, 16, TRAINED), SERVED) == [
        "  model       version 1 registered, approved",
        "  endpoint    InService",
        "  predictions 44/44 stored by birds v1",
    ]


def test_a_better_model_is_told_again():
    better = Progress(60, 32, TRAINED, 2, "InService", "birds v2", 28)

    assert changes(SERVED, better) == [
        "  model       version 2 registered, approved",
        "  predictions 28/28 stored by birds v2",
    ]


@pytest.mark.parametrize(
    ("progress", "served"),
    [
        pytest.param(SERVED, True, id="all there"),
        pytest.param(Progress(60, 16, TRAINED, 1, "Creating", "birds v1", 44), False, id="endpoint not in service"),
        pytest.param(Progress(60, 16, TRAINED, 1, "InService", "birds v1", 43), False, id="one prediction missing"),
        pytest.param(Progress(60, 16, TRAINED, 1, "InService", "", 0), False, id="no prediction at all"),
        pytest.param(Progress(), False, id="nothing"),
    ],
)
def test_it_is_done_when_a_model_serves_and_every_waiting_task_has_its_prediction(progress: Progress, served: bool):
    assert progress.served is served


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        pytest.param(Progress(60, 13), "annotations 13/16", id="waiting for annotations"),
        pytest.param(Progress(60, 16), "about to start an execution", id="threshold reached"),
        pytest.param(Progress(60, 16, TRAINING), "p1-n16-0: Train", id="training"),
        pytest.param(Progress(60, 16, TRAINED, 1), "endpoint not there yet", id="deployment"),
        pytest.param(Progress(60, 16, TRAINED, 1, "InService", "v1", 3), "predictions 3/44", id="predictions"),
        pytest.param(SERVED, "birds v1 serves", id="served"),
    ],
)
def test_the_status_says_what_is_waited_for(progress: Progress, text: str):
    assert text in now(progress, threshold=16)


@pytest.mark.parametrize(
    ("title", "version"),
    [
        pytest.param("segmentation v12", "segmentation v12", id="a model serves"),
        pytest.param("SageMaker", "", id="none yet"),
        pytest.param("", "", id="no backend"),
    ],
)
def test_the_version_that_serves_is_the_backends_title(title: str, version: str):
    assert live_version(title) == version


@pytest.mark.parametrize(
    ("code", "message", "missing"),
    [
        ("ResourceNotFound", "Pipeline is gone", True),
        ("ValidationException", "Could not find endpoint", True),
        ("ValidationException", "ModelPackageGroup x does not exist.", True),
        ("ValidationException", "1 validation error detected", False),
        ("AccessDeniedException", "it does not exist for you", False),
    ],
)
def test_only_absence_counts_as_missing(code: str, message: str, missing: bool):
    error = ClientError({"Error": {"Code": code, "Message": message}}, "Describe")

    assert is_missing(error) is missing
