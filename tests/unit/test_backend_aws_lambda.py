"""The handler: every request gets a short answer in JSON, everything else is done or raised without a traceback."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backend import aws_lambda
from backend.aws_lambda import CallError, handler
from tests.fakes import aws_event, recorded

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Context:
    """What Lambda tells of a call."""

    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:trigger"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a function has it, of a new instance; AWS does not answer."""
    values = {
        "S3_BUCKET": "birds",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
        "MODEL_DIR": str(tmp_path),
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": NOWHERE,
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "ANNOTATIONS_PREFIX", "S3_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for each in (aws_lambda._settings, aws_lambda._trigger):
        each.cache_clear()
    yield
    for each in (aws_lambda._settings, aws_lambda._trigger):
        each.cache_clear()


def request(body: object = None, **changes: object) -> dict[str, Any]:
    """A request through API Gateway."""
    event: dict[str, Any] = aws_event("api_gateway_webhook")
    text = body if isinstance(body, str) else json.dumps(body)
    return {**event, "body": text, **changes}


def answered(event: object) -> tuple[Any, Any]:
    answer: Any = handler(event, Context())
    assert answer["headers"] == {"Content-Type": "application/json"}
    assert answer["isBase64Encoded"] is False
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"httpMethod": "GET"}, id="another method"),
        pytest.param({"path": "/health", "resource": "/health"}, id="another path"),
        pytest.param({"path": None, "resource": None}, id="no path"),
    ],
)
def test_there_is_nothing_but_the_webhook(changes: dict[str, object]):
    assert answered(request({}, **changes)) == (
        404,
        {"error": {"code": 404, "message": "there is nothing here but POST /webhook"}},
    )


@pytest.mark.parametrize(
    ("event", "message"),
    [
        pytest.param(request("{"), "wanted a JSON object as the body", id="no JSON"),
        pytest.param(request([]), "wanted a JSON object as the body, got list", id="a list"),
        pytest.param(request({}), 'wanted "action"', id="no action"),
        pytest.param(request({"action": "START_TRAINING"}), 'wanted "project"', id="no project"),
        pytest.param(request("ab\0", isBase64Encoded=True), "wanted a JSON object as the body", id="no base64"),
    ],
)
def test_what_label_studio_would_not_send_is_refused(event: dict[str, Any], message: str):
    code, body = answered(event)

    assert code == 400
    assert body["error"]["message"].startswith(message)


def test_what_changes_no_annotation_is_ignored():
    assert answered(request({"action": "LABEL_LINK_CREATED"}))[0] == 201


def test_while_lambda_does_not_take_calls_the_answer_says_so(caplog: pytest.LogCaptureFixture):
    code, body = answered(request(recorded("webhook_ANNOTATION_CREATED_four_polygons_s3")))

    assert code == 503
    assert body["error"]["message"].startswith("AWS cannot be reached")
    assert "Traceback" not in caplog.text


def test_a_function_that_is_not_set_up_tells_its_log_alone_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv("S3_BUCKET")
    monkeypatch.setenv("SAGEMAKER_ROLE_ARN", "a-secret-by-mistake")

    code, body = answered(request({}))

    assert (code, body["error"]["message"]) == (500, "the function is not set up; see its log")
    assert "S3_BUCKET is not set" in caplog.text
    assert "SAGEMAKER_ROLE_ARN: wanted a role" in caplog.text


def test_a_folder_that_no_function_can_write_to_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("MODEL_DIR", "/dev/null/cache")

    assert answered(request({}))[0] == 500
    assert "MODEL_DIR: cannot make the folder" in caplog.text


@pytest.mark.parametrize(
    ("event", "message"),
    [
        pytest.param(aws_event("eventbridge_schedule"), "AWS cannot be reached", id="the schedule"),
        pytest.param({"train": {"project": 3, "forced": True}}, "project 3: the training", id="a training asked for"),
        pytest.param({"train": {}}, 'wanted "train" with a "project"', id="a training of nothing"),
        pytest.param("x", "wanted an event", id="no event"),
    ],
)
def test_what_could_not_be_done_is_raised_so_that_lambda_does_it_again(event: object, message: str):
    with pytest.raises(CallError, match=message) as caught:
        handler(event, Context())

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"detail-type": "EC2 Instance State-change Notification", "detail": {}}, id="of another service"),
        pytest.param({}, id="of nobody"),
        pytest.param(aws_event("eventbridge_model_package"), id="whose work waits for the next look"),
    ],
)
def test_an_event_that_asks_for_nothing_more_is_done(event: object):
    assert handler(event, Context()) == {"status": "done"}


def test_an_unexpected_fault_is_for_the_log_and_not_for_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    class Context:
        """A host that is none of Lambda's."""

    faulty: Any = Context()
    answer: Any = handler(request({"action": "ANNOTATION_CREATED"}), faulty)

    assert (answer["statusCode"], json.loads(answer["body"])["error"]["message"]) == (
        500,
        "unexpected error; see the function's log",
    )
    assert "AttributeError" in caplog.text
    assert "AttributeError" not in answer["body"]


def test_an_unexpected_fault_in_an_event_is_raised_without_its_reason(caplog: pytest.LogCaptureFixture):
    class Faulty(dict[str, object]):
        """An event that cannot be read."""

        def get(self, key: str, default: object = None) -> object:
            raise ZeroDivisionError(key)

    with pytest.raises(CallError, match="unexpected error; see the function's log") as caught:
        handler(Faulty(), Context())

    assert caught.value.__suppress_context__
    assert "ZeroDivisionError" in caplog.text
