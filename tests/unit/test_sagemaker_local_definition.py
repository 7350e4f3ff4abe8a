"""Pipeline definitions: what is accepted, what is refused and how that is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagemaker_local.arguments import check_arguments
from sagemaker_local.definition import RetryPolicy, parse_definition
from sagemaker_local.errors import JobError
from sagemaker_local.parameters import DefinitionError, Parameter, parameter_value
from sagemaker_local.protocol import Protocol
from sagemaker_local.steps import Retries

Json = Any

ROLE = "arn:aws:iam::123456789012:role/pipeline"


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return Protocol()


def fail(name: str = "No", **step: Json) -> dict[str, Json]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": "no"}, **step}


def train(**arguments: Json) -> dict[str, Json]:
    given = {
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://b/m"},
        "StoppingCondition": {"MaxRuntimeInSeconds": {"Get": "Parameters.Seconds"}},
    }
    return {"Name": "Train", "Type": "Training", "Arguments": {**given, **arguments}}


def text(*steps: Json, **raw: Json) -> str:
    seconds = {"Name": "Seconds", "Type": "Integer", "DefaultValue": 60}
    return json.dumps({"Version": "2020-12-01", "Parameters": [seconds], "Steps": list(steps), **raw})


def message_of(name: str) -> dict[str, Json]:
    return {"Get": name}


def test_a_step_waits_for_what_it_depends_on_and_what_it_refers_to() -> None:
    user = fail("User", DependsOn=["A"])
    user["Arguments"]["ErrorMessage"] = message_of("Steps.B.ModelName")

    definition = parse_definition(text(fail("A"), fail("B"), user))

    assert definition.steps["User"].after == ("A", "B")


def test_steps_of_a_branch_wait_for_their_condition_and_its_outcome() -> None:
    inner = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
    nested = {"Name": "In", "Type": "Condition", "Arguments": {"Conditions": [inner], "IfSteps": [fail("Deep")]}}
    outer = {"Conditions": [inner], "IfSteps": [fail("Yes")], "ElseSteps": [nested]}

    steps = parse_definition(text({"Name": "Out", "Type": "Condition", "Arguments": outer})).steps

    assert {name: step.branch for name, step in steps.items()} == {
        "Out": None,
        "Yes": ("Out", True),
        "In": ("Out", False),
        "Deep": ("In", True),
    }
    assert steps["Deep"].after == ("In",)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        pytest.param("{nope", "not JSON", id="no JSON"),
        pytest.param("[]", "must be an object", id="no object"),
        pytest.param(text(fail(), Version="2019"), "2020-12-01", id="version"),
        pytest.param(text(), "at least one step", id="no steps"),
        pytest.param(text(fail(), fail()), "twice: No", id="same name"),
        pytest.param(text({"Name": "T", "Type": "Tuning"}), "'Tuning'", id="unknown step type"),
        pytest.param(text({"Type": "Fail"}), "needs a 'Name'", id="no name"),
        pytest.param(text(fail(DependsOn=["Ghost"])), "Ghost", id="unknown dependency"),
        pytest.param(text(fail(DependsOn=[{"Step": "A", "Trigger": "Any"}]), fail("A")), "'Any'", id="trigger"),
        pytest.param(text(fail("A", DependsOn=["B"]), fail("B", DependsOn=["A"])), "one another", id="circle"),
        pytest.param(text(fail(Arguments={})), "'ErrorMessage'", id="Fail without message"),
        pytest.param(
            text(fail(Arguments={"ErrorMessage": message_of("Parameters.X")})), "no such parameter", id="parameter"
        ),
        pytest.param(
            text(fail(Arguments={"ErrorMessage": message_of("Execution.X")})), "no such execution", id="variable"
        ),
        pytest.param(text(fail(Arguments={"ErrorMessage": {"Std:Sum": {}}})), "'Std:Sum'", id="function"),
        pytest.param(
            text(fail("A"), fail(Arguments={"ErrorMessage": message_of("Steps.A.PropertyFiles.F")})),
            "no property file 'F'",
            id="property file",
        ),
        pytest.param(text(fail(RetryPolicies=[{"ExceptionType": ["Step.MAGIC"]}])), "Step.MAGIC", id="retry kind"),
        pytest.param(text(fail(), Parameters=[{"Name": "A", "Type": "Date"}]), "'Date'", id="parameter type"),
        pytest.param(
            text(fail(), Parameters=[{"Name": "A", "Type": "Integer", "DefaultValue": "x"}]),
            "not of type",
            id="default",
        ),
        pytest.param(
            text(fail(), Parameters=[{"Name": "A", "Type": "String", "DefaultValue": "x", "EnumValues": ["y"]}]),
            "EnumValues",
            id="default not allowed",
        ),
    ],
)
def test_an_invalid_definition_is_refused_with_the_place(definition: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        parse_definition(definition)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"RoleArn": None}, "RoleArn", id="required member missing"),
        pytest.param({"Colour": 1}, "Colour", id="unknown member"),
        pytest.param({"HyperParameters": {"a": 5}}, "HyperParameters.a", id="number for a text"),
        pytest.param(
            {"HyperParameters": {"a": message_of("Parameters.Seconds")}},
            r"Cannot assign property reference \[Parameters.Seconds\] to argument of type \[String\]",
            id="Integer parameter for a text",
        ),
        pytest.param({"AlgorithmSpecification": {"TrainingInputMode": "Disk"}}, "enum value set", id="enumeration"),
        pytest.param({"OutputDataConfig": {"S3OutputPath": "b/m"}}, "regular expression", id="pattern"),
    ],
)
def test_arguments_must_fit_the_request_that_the_step_makes(
    protocol: Protocol, arguments: dict[str, Json], message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        check_arguments(parse_definition(text(train(**arguments))), protocol)


def test_expressions_stand_for_values_that_fit(protocol: Protocol) -> None:
    joined = {"Std:Join": {"On": "", "Values": [message_of("Parameters.Seconds")]}}

    check_arguments(parse_definition(text(train(HyperParameters={"a": joined}, RoleArn=joined))), protocol)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        pytest.param("String", "5", "5", id="text"),
        pytest.param("Integer", "5", 5, id="integer"),
        pytest.param("Float", "0.5", 0.5, id="float"),
        pytest.param("Boolean", "true", True, id="boolean"),
    ],
)
def test_a_parameter_value_has_its_type(kind: str, given: str, value: Json) -> None:
    assert parameter_value(Parameter(name="P", type=kind), given) == value


def test_retries_wait_longer_each_time_and_end() -> None:
    policy = {"ExceptionType": "SageMaker.JOB_INTERNAL_ERROR", "IntervalSeconds": 3, "BackoffRate": 2, "MaxAttempts": 2}
    step = parse_definition(text(fail(RetryPolicies=[policy]))).steps["No"]
    retries = Retries(step)
    error = JobError("gone", kind="SageMaker.JOB_INTERNAL_ERROR")

    assert step.retry_policies == (RetryPolicy(("SageMaker.JOB_INTERNAL_ERROR",), 3.0, 2.0, 2),)
    assert [retries.delay_s(error) for _ in range(3)] == [3.0, 6.0, None]
    assert retries.used == 2


def test_a_failure_of_the_program_itself_is_not_retried() -> None:
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "Step.SERVICE_FAULT"]}

    retries = Retries(parse_definition(text(fail(RetryPolicies=[policy]))).steps["No"])

    assert retries.delay_s(JobError("AlgorithmError: x, exit code: 1")) is None
