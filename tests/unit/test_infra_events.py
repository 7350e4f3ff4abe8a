"""The rules take the events that SageMaker sends, and no others; people are told of them in words."""

import functools
import json
import re
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests import fakes
from tests.infra import templates
from tests.infra.account import REGION
from tests.infra.resolving import resolved
from tests.infra.templates import resources

EXECUTION, PACKAGE, ENDPOINT = "eventbridge_execution", "eventbridge_model_package", "eventbridge_endpoint"


@functools.cache
def rules(template: str) -> dict[str, Any]:
    """The rules of a template by their names, with the name of the deployment in them."""
    return resources(resolved(templates.load(template)), "AWS::Events::Rule")


def event(name: str, **detail: object) -> dict[str, Any]:
    """A recorded event of a deployment that is called birds, with other details."""
    text = json.dumps(fakes.aws_event(name))
    moved = json.loads(text.replace("label-studio-segmentation", "birds").replace("eu-west-1", REGION))
    return {**moved, "detail": {**moved["detail"], **detail}}


def takes(template: str, rule: str, given: Any) -> bool:
    pattern = rules(template)[rule]["EventPattern"]
    matched: bool = EventPattern.load(json.dumps(pattern)).matches_event(given)
    return matched


def pipeline(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:123456789012:pipeline/{name}"


@pytest.mark.parametrize("template", ["core", "trigger"])
@pytest.mark.parametrize("status", ["Succeeded", "Failed", "CompletedWithFailures", "Stopped"])
def test_an_execution_that_ended_is_taken(template: str, status: str):
    assert takes(template, "ExecutionRule", event(EXECUTION, currentPipelineExecutionStatus=status))


@pytest.mark.parametrize("template", ["core", "trigger"])
@pytest.mark.parametrize(
    "detail",
    [
        {"currentPipelineExecutionStatus": "Executing"},
        {"currentPipelineExecutionStatus": "Stopping"},
        {"pipelineArn": pipeline("churn")},
        {"pipelineArn": pipeline("birds-parts")},
    ],
)
def test_an_execution_that_goes_on_or_is_somebody_elses_is_not(template: str, detail: dict[str, object]):
    assert not takes(template, "ExecutionRule", event(EXECUTION, **detail))


@pytest.mark.parametrize("group", ["birds-p1", "birds-p3", "birds-p90", "birds-p1234"])
def test_a_model_that_waits_for_approval_is_taken_whatever_the_projects_number(group: str):
    waiting = event(PACKAGE, ModelPackageGroupName=group, ModelApprovalStatus="PendingManualApproval")
    assert takes("core", "ApprovalRule", waiting)
    assert takes("trigger", "ModelPackageRule", waiting)


@pytest.mark.parametrize("group", ["birds", "birds-parts-p1", "birds-pigeons", "cars-p1", "p1"])
def test_a_model_of_another_deployment_is_not(group: str):
    waiting = event(PACKAGE, ModelPackageGroupName=group, ModelApprovalStatus="PendingManualApproval")
    assert not takes("core", "ApprovalRule", waiting)
    assert not takes("trigger", "ModelPackageRule", waiting)


def test_people_are_asked_for_approval_only_and_the_function_hears_of_every_decision():
    for status in ("Approved", "Rejected"):
        assert not takes("core", "ApprovalRule", event(PACKAGE, ModelApprovalStatus=status))
        assert takes("trigger", "ModelPackageRule", event(PACKAGE, ModelApprovalStatus=status))


def test_an_endpoint_is_told_of_when_it_fails_and_not_when_it_serves():
    assert takes("core", "EndpointRule", event(ENDPOINT))
    assert takes("core", "EndpointRule", event(ENDPOINT, EndpointStatus="ROLLING_BACK"))
    for status in ("IN_SERVICE", "CREATING", "UPDATING", "DELETING"):
        assert not takes("core", "EndpointRule", event(ENDPOINT, EndpointStatus=status))
    assert not takes("core", "EndpointRule", event(ENDPOINT, EndpointName="birds-parts-p1"))


def test_every_rule_was_looked_at():
    assert set(rules("core")) == {"ExecutionRule", "ApprovalRule", "EndpointRule"}
    assert set(rules("trigger")) == {"ExecutionRule", "ModelPackageRule", "ScheduleRule"}


def message(rule: str, given: dict[str, Any]) -> str:
    """What EventBridge makes of an event: members are put into the text, which must be a JSON string then."""
    transformer = rules("core")[rule]["Targets"][0]["InputTransformer"]
    values = {name: found(path, given) for name, path in transformer["InputPathsMap"].items()}
    told = json.loads(re.sub(r"<(\w+)>", lambda name: str(values[name[1]]), transformer["InputTemplate"]))
    assert isinstance(told, str)
    return told


def found(path: str, given: Any) -> Any:
    for part in path.removeprefix("$.").split("."):
        given = given[part]
    return given


def test_a_message_says_what_happened_to_what():
    execution = f"{pipeline('birds')}/execution/abc123def456"
    package = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/birds-p3/2"
    assert message("ExecutionRule", event(EXECUTION)) == f"Training p3-n16-0: Failed. {execution}"
    assert message("EndpointRule", event(ENDPOINT)) == "Endpoint birds-p3: FAILED"
    asked = message("ApprovalRule", event(PACKAGE))
    assert asked.startswith("Version 2 of birds-p3 is worse than the model that serves")
    assert asked.endswith(f"--model-approval-status Approved --model-package-arn {package}")
