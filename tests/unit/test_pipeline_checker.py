"""The check of the pipeline's definition finds what AWS would refuse."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.checker import check_definition
from pipeline.rendering import PATH, committed_definition, rendered_definition

Edit = Callable[[dict[str, Any]], None]


def step(definition: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in definition["Steps"] if each["Name"] == name)


def parameter(definition: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in definition["Parameters"] if each["Name"] == name)


def drop_joined(definition: dict[str, Any]) -> None:
    values = step(definition, "Train")["Arguments"]["HyperParameters"]
    values["num_classes"] = values["num_classes"]["Std:Join"]["Values"][0]


def nest_condition(definition: dict[str, Any]) -> None:
    step(definition, "CheckMIoU")["Arguments"]["IfSteps"] = [definition["Steps"].pop()]


def misname_output(definition: dict[str, Any]) -> None:
    channel = step(definition, "Train")["Arguments"]["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    channel["S3Uri"] = {"Get": "Steps.Preprocess.ProcessingOutputConfig.Outputs['trian'].S3Output.S3Uri"}


def misname_file(definition: dict[str, Any]) -> None:
    step(definition, "Preprocess")["PropertyFiles"][0]["PropertyFileName"] = "Data"


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        pytest.param(
            lambda d: d["Parameters"].append({"Name": "Spare", "Type": "String"}), "Spare is not used", id="unused"
        ),
        pytest.param(lambda d: d["Parameters"].pop(0), "Parameters.RoleArn is no parameter", id="missing parameter"),
        pytest.param(drop_joined, "wanted a string", id="a number where a string is wanted"),
        pytest.param(nest_condition, "a condition within a condition", id="nested condition"),
        pytest.param(misname_output, "has the outputs", id="unknown output"),
        pytest.param(misname_file, "has the property files", id="unknown property file"),
        pytest.param(
            lambda d: step(d, "Train")["Arguments"].pop("OutputDataConfig"), "OutputDataConfig", id="missing field"
        ),
        pytest.param(lambda d: step(d, "Train")["Arguments"].update(Instances=2), "Instances", id="unknown field"),
        pytest.param(lambda d: step(d, "Train")["Arguments"].update(RoleArn="short"), "RoleArn", id="too short a role"),
        pytest.param(
            lambda d: step(d, "Train").update(DependsOn=["Trian"]), "Trian, which is no step", id="dependency"
        ),
        pytest.param(lambda d: step(d, "Train").update(Type="Trainig"), "not known to this check", id="step type"),
        pytest.param(lambda d: d["Steps"].append(d["Steps"][0]), "two steps are called Preprocess", id="same name"),
        pytest.param(
            lambda d: parameter(d, "VolumeSizeInGB").update(Type="String"), "wanted a integer", id="type of parameter"
        ),
        pytest.param(
            lambda d: step(d, "CheckMIoU")["Arguments"]["Conditions"][0].update(LeftValue={"Get": "Execution.Id"}),
            "no execution variable",
            id="execution variable",
        ),
    ],
)
def test_a_fault_is_named(edit: Edit, fault: str):
    definition = copy.deepcopy(committed_definition())
    edit(definition)
    assert any(fault in each for each in check_definition(definition)), check_definition(definition)


def test_the_committed_definition_has_no_fault():
    assert check_definition(committed_definition()) == []


def test_the_committed_definition_is_what_definition_py_renders():
    assert rendered_definition() == PATH.read_text(encoding="utf-8")


def test_the_committed_definition_names_no_account_region_or_bucket():
    text = PATH.read_text(encoding="utf-8")
    assert not any(word in text for word in ("arn:aws", "amazonaws", "us-east-1", "s3://"))


def test_every_prefix_that_a_run_writes_to_is_its_own_and_ends_with_a_slash():
    definition = committed_definition()
    outputs = step(definition, "Preprocess")["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    uris = [each["S3Output"]["S3Uri"] for each in outputs]
    uris.append(step(definition, "Train")["Arguments"]["OutputDataConfig"]["S3OutputPath"])
    for uri in uris:
        values = uri["Std:Join"]["Values"]
        assert {"Get": "Execution.PipelineExecutionId"} in values
        assert values[-1] == ""
