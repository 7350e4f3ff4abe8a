"""Pipeline expressions and conditions."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_local.conditions import check_conditions, holds, holds_all
from sagemaker_local.expressions import ExpressionError, Scope, evaluate, parse_path, references

Json = Any

TRAIN = {
    "TrainingJobName": "job-1",
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
    "FinalMetricDataList": [
        {"MetricName": "validation:loss", "Value": 0.2},
        {"MetricName": "validation:mIOU", "Value": 0.71},
    ],
}
REPORT = {"num_classes": 5, "nested": {"a.b": [10, {"c": True}]}, "labels": ["Beak"]}


def no_step(name: str) -> dict[str, Json]:
    raise ExpressionError(f"step {name!r} has not run")


def scope(**parameters: Json) -> Scope:
    """A scope with one step, Train, and one property file."""
    return Scope(
        parameters=parameters,
        execution={"PipelineExecutionId": "abc"},
        step=lambda name: TRAIN if name == "Train" else no_step(name),
        property_file=lambda step, name: json.dumps(REPORT).encode(),
        s3_object=lambda uri: json.dumps({"uri": uri}).encode(),
    )


def get(reference: str) -> dict[str, str]:
    return {"Get": reference}


def json_get(path: str) -> dict[str, Json]:
    return {"Std:JsonGet": {"PropertyFile": get("Steps.Prepare.PropertyFiles.Dataset"), "Path": path}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        pytest.param(get("Parameters.Epochs"), 3, id="parameter"),
        pytest.param(get("Execution.PipelineExecutionId"), "abc", id="execution"),
        pytest.param(get("Steps.Train.TrainingJobName"), "job-1", id="property"),
        pytest.param(get("Steps.Train.FinalMetricDataList['validation:mIOU'].Value"), 0.71, id="entry by its name"),
        pytest.param(get('Steps.Train.FinalMetricDataList["validation:mIOU"].Value'), 0.71, id="double quotes"),
        pytest.param(get("Steps.Train.FinalMetricDataList[0].Value"), 0.2, id="entry by number"),
        pytest.param(json_get("num_classes"), 5, id="JsonGet"),
        pytest.param(json_get("$.nested['a.b'][1].c"), True, id="JsonGet deep"),
        pytest.param(
            {"Std:JsonGet": {"S3Uri": {"Std:Join": {"On": "/", "Values": ["s3://b", "x"]}}, "Path": "uri"}},
            "s3://b/x",
            id="JsonGet of an object",
        ),
        pytest.param({"Std:Join": {"On": "/", "Values": ["a", get("Parameters.Epochs"), ""]}}, "a/3/", id="Join"),
        pytest.param({"Std:Join": {"On": "", "Values": [json_get("num_classes")]}}, "5", id="number to text"),
        pytest.param({"Std:Join": {"On": ",", "Values": [True, 0.5]}}, "true,0.5", id="Join of scalars"),
        pytest.param({"a": [get("Parameters.Epochs"), 1]}, {"a": [3, 1]}, id="inside"),
        pytest.param({"Get": 1, "Other": 2}, {"Get": 1, "Other": 2}, id="an object that is no expression"),
    ],
)
def test_an_expression_becomes_its_value(expression: Json, value: Json) -> None:
    assert evaluate(expression, scope(Epochs=3)) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        pytest.param(get("Parameters.No"), "Parameters.No has no value", id="parameter"),
        pytest.param(get("Steps.Train.No.Name"), "there is no 'No'", id="property"),
        pytest.param(get("Steps.Train.FinalMetricDataList['x'].Value"), "there is no 'x'", id="metric"),
        pytest.param(get("Steps.Later.ModelName"), "'Later' has not run", id="step"),
        pytest.param(get("Epochs"), "no reference", id="no namespace"),
        pytest.param({"Get": 5}, "wants a text", id="not a text"),
        pytest.param({"Std:Sum": {"Values": [1]}}, "'Std:Sum'", id="unknown function"),
        pytest.param({"Std:Join": {"On": "/"}}, "the list 'Values'", id="Join without values"),
        pytest.param({"Std:Join": {"On": "", "Values": [json_get("labels")]}}, "not \\[", id="Join of a list"),
        pytest.param({"Std:JsonGet": {"Path": "a"}}, "either 'PropertyFile' or 'S3Uri'", id="JsonGet of nothing"),
        pytest.param(json_get("nested[["), "cannot read", id="bad path"),
        pytest.param(json_get("labels[7]"), "there is no 7", id="beyond the end"),
    ],
)
def test_what_cannot_be_evaluated_is_named(expression: Json, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        evaluate(expression, scope())


def test_references_are_found_wherever_they_are() -> None:
    value = {"a": [{"Std:Join": {"On": "", "Values": [get("Parameters.A"), json_get("x")]}}], "b": get("Steps.S.X")}

    assert [reference.text for reference in references(value)] == [
        "Parameters.A",
        "Steps.Prepare.PropertyFiles.Dataset",
        "Steps.S.X",
    ]


names = st.text(alphabet=string.ascii_letters + string.digits + " :./_-", min_size=1)


@given(st.lists(st.one_of(names, st.integers(min_value=0, max_value=99)), min_size=1))
def test_a_path_of_quoted_names_and_numbers_is_read_back(parts: list[str | int]) -> None:
    text = "".join(f"[{part}]" if isinstance(part, int) else f"['{part}']" for part in parts)

    assert parse_path(text) == parts


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3).filter(lambda key: key != "Get"), inner),
)


@given(plain)
def test_values_without_expressions_stay_as_they_are(value: Json) -> None:
    assert evaluate(value, scope()) == value


def compare(kind: str, left: Json, right: Json) -> dict[str, Json]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


YES, NO = compare("Equals", 1, 1), compare("Equals", 1, 2)


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        pytest.param(compare("Equals", "a", "a"), True, id="equal texts"),
        pytest.param(compare("Equals", "1", 1), False, id="a text is no number"),
        pytest.param(compare("GreaterThan", 2, 1.5), True, id="greater"),
        pytest.param(compare("GreaterThan", 2, 2), False, id="not greater"),
        pytest.param(compare("GreaterThanOrEqualTo", get("Parameters.P"), 0.7), True, id="at least"),
        pytest.param(compare("LessThan", 1, 2), True, id="less"),
        pytest.param(compare("LessThanOrEqualTo", 2, 2), True, id="at most"),
        pytest.param({"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}, True, id="in"),
        pytest.param({"Type": "In", "QueryValue": "c", "Values": ["a", "b"]}, False, id="not in"),
        pytest.param({"Type": "Not", "Expression": NO}, True, id="not"),
        pytest.param({"Type": "Not", "Condition": YES}, False, id="not, as SDK 3 writes it"),
        pytest.param({"Type": "Or", "Conditions": [NO, YES]}, True, id="or"),
        pytest.param({"Type": "Or", "Conditions": [NO, NO]}, False, id="or of none"),
        pytest.param({"Type": "And", "Conditions": [YES, NO]}, False, id="and"),
    ],
)
def test_a_condition_holds_or_not(condition: dict[str, Json], outcome: bool) -> None:
    check_conditions([condition])

    assert holds(condition, scope(P=0.7)) is outcome


def test_all_conditions_of_a_step_must_hold() -> None:
    assert holds_all([YES, YES], scope())
    assert not holds_all([YES, NO], scope())


def test_what_cannot_be_compared_is_an_error_not_an_answer() -> None:
    with pytest.raises(ExpressionError, match=r"cannot compare '0\.7' with 0\.5"):
        holds(compare("GreaterThan", "0.7", 0.5), scope())


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_comparisons_agree_with_one_another(left: float, right: float) -> None:
    less, at_least = compare("LessThan", left, right), compare("GreaterThanOrEqualTo", left, right)

    assert holds(less, scope()) is not holds(at_least, scope())
    assert holds(less, scope()) is holds({"Type": "Not", "Expression": at_least}, scope())


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        pytest.param([], "at least one", id="none"),
        pytest.param(["x"], "None", id="no object"),
        pytest.param([{"Type": "Matches"}], "'Matches'", id="unknown type"),
        pytest.param([{"Type": "Equals", "LeftValue": 1}], "needs RightValue", id="half"),
        pytest.param([{"Type": "Or", "Conditions": [{"Type": "Nope"}]}], "'Nope'", id="inside"),
    ],
)
def test_malformed_conditions_are_refused(conditions: Json, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        check_conditions(conditions)
