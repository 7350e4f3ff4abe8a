"""What a Lambda function is called with is understood, anything else is a RequestError or of no interest."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import RequestError
from backend.lambda_events import Look, TrainRequest, WebRequest, parse_call
from tests.fakes import aws_event

PIPELINE = "label-studio-segmentation"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["httpMethod", "path", "resource", "body", "isBase64Encoded", "train", "detail-type", "detail"])


def parsed(event: object) -> Any:
    return parse_call(event, pipeline=PIPELINE)


def test_a_request_through_api_gateway_has_its_path_without_the_stage():
    request = parsed(aws_event("api_gateway_webhook"))

    assert (request.method, request.path, request.json()) == ("POST", "/webhook", {})


@pytest.mark.parametrize(
    ("resource", "path", "wanted"),
    [
        pytest.param("/webhook", "/triggers/webhook", "/webhook", id="behind a domain name that maps to the API"),
        pytest.param("/{proxy+}", "/webhook", "/webhook", id="the API hands everything on"),
        pytest.param(None, "/webhook", "/webhook", id="no resource told"),
        pytest.param(None, None, "", id="no path told"),
    ],
)
def test_a_path_is_the_resources_if_that_is_a_fixed_one(resource: str | None, path: str | None, wanted: str):
    request = parsed({"httpMethod": "POST", "resource": resource, "path": path})

    assert request.path == wanted


@pytest.mark.parametrize("is_base64", [False, True])
def test_a_body_comes_as_it_is_or_in_base64(is_base64: bool):
    text = json.dumps({"action": "ANNOTATION_CREATED", "task": "Vögel"})
    body = base64.b64encode(text.encode()).decode() if is_base64 else text

    assert WebRequest("POST", "/webhook", body, is_base64).json() == json.loads(text)


@pytest.mark.parametrize(
    ("body", "is_base64"),
    [
        pytest.param("", False, id="none"),
        pytest.param("{", False, id="cut off"),
        pytest.param("[]", False, id="a list"),
        pytest.param("[" * 100_000, False, id="nested too deep"),
        pytest.param("{}", True, id="not base64"),
        pytest.param("/w==", True, id="no UTF-8"),
        pytest.param("ä", True, id="no ASCII"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: str, is_base64: bool):
    with pytest.raises(RequestError, match="wanted a JSON object as the body"):
        WebRequest("POST", "/webhook", body, is_base64).json()


@pytest.mark.parametrize(
    "request_",
    [TrainRequest(3), TrainRequest(3, forced=True), TrainRequest(3, label_config="<View/>", annotations=16)],
)
def test_what_the_function_asks_of_itself_arrives_as_it_was(request_: TrainRequest):
    assert parsed(json.loads(json.dumps(request_.as_event()))) == request_


def test_a_person_may_ask_for_a_training_with_the_project_alone():
    assert parsed({"train": {"project": 3, "forced": True}}) == TrainRequest(3, forced=True)


@pytest.mark.parametrize("asked", [None, {}, [], {"project": None}, {"project": "x"}, {"project": 0}])
def test_a_training_of_no_project_is_refused(asked: object):
    with pytest.raises(RequestError, match='wanted "train" with a "project"'):
        parsed({"train": asked})


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("eventbridge_schedule", Look()),
        ("eventbridge_model_package", Look(3)),
        ("eventbridge_execution", Look(3)),
    ],
)
def test_an_event_of_aws_tells_which_project_to_look_after(name: str, look: Look):
    assert parsed(aws_event(name)) == look


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("eventbridge_model_package", {"ModelPackageGroupName": f"{PIPELINE}-parts-p3"}, id="package"),
        pytest.param("eventbridge_model_package", {"ModelPackageGroupName": "others-p3"}, id="package of no relation"),
        pytest.param("eventbridge_model_package", {"ModelPackageGroupName": None}, id="package without group"),
        pytest.param("eventbridge_execution", {"pipelineArn": f"arn:pipeline/{PIPELINE}-parts"}, id="execution"),
        pytest.param("eventbridge_execution", {"pipelineExecutionDisplayName": "by hand"}, id="a person's execution"),
        pytest.param("eventbridge_execution", {"pipelineExecutionDisplayName": None}, id="execution without a name"),
    ],
)
def test_what_is_not_of_this_pipeline_is_of_no_interest(name: str, changes: dict[str, object]):
    event = aws_event(name)
    event["detail"] |= changes

    assert parsed(event) is None


def test_a_pipelines_name_is_lower_case_in_its_arn():
    assert parse_call(aws_event("eventbridge_execution"), pipeline="Label-Studio-Segmentation") == Look(3)


@pytest.mark.parametrize("event", [None, [], "x", 5])
def test_what_is_no_object_is_refused(event: object):
    with pytest.raises(RequestError, match="wanted an event"):
        parsed(event)


@given(st.dictionaries(KEYS, JSON))
def test_parsing_raises_nothing_but_a_request_error(event: dict[str, object]):
    with contextlib.suppress(RequestError):
        call = parsed(event)
        if isinstance(call, WebRequest):
            call.json()
