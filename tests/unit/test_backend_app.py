"""Label Studio's ML-backend protocol over HTTP."""

import base64
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from backend.app import APP_LOAD_ERROR, Parts, build, create_app, hosted_model
from backend.config import NO_MODEL, Settings
from backend.errors import AwsError
from backend.metrics import Metrics
from backend.model import SageMakerSegmentation, Service
from backend.predictor import Outcome
from backend.state import ProjectState, StateFile
from backend.trainer import Policy
from tests import fakes
from tests.fakes import FakeBackground, FakePredictor, recorded, recorded_names

REGION = fakes.region(id="model-0", score=0.9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = JSON | st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["ANNOTATION_CREATED", "START_TRAINING", "PROJECT_UPDATED", "UNKNOWN"]) | JSON,
        "project": st.fixed_dictionaries({"id": st.integers(0, 5) | JSON, "total_annotations_number": JSON})
        | st.sampled_from(["3.179", "3"])
        | JSON,
        "schema": JSON,
        "tasks": st.lists(st.fixed_dictionaries({"id": JSON, "data": JSON, "project": JSON}), max_size=3) | JSON,
        "label_config": st.just(fakes.BIRDS) | JSON,
        "params": JSON,
    },
)


def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
    if "missing" in str(task.get("data")):
        return Outcome({}, AwsError("the endpoint is busy"))
    return Outcome({"result": [REGION], "score": 0.9, "model_version": state.live})


@pytest.fixture
def background() -> FakeBackground:
    return FakeBackground()


@pytest.fixture
def parts(tmp_path: Path, background: FakeBackground) -> Parts:
    configured = fakes.settings(tmp_path, max_body_mb=1)
    service = Service(configured, StateFile(tmp_path / "projects.json"), FakePredictor(outcome), background, Policy())
    return Parts(SageMakerSegmentation.bound(service), service, Metrics())


@pytest.fixture
def client(parts: Parts) -> FlaskClient:
    return create_app(parts).test_client()


@pytest.fixture
def locked(parts: Parts) -> FlaskClient:
    """An app that wants mluser's password, which the recorded requests carry."""
    configured = replace(parts.service.settings, basic_auth_user="mluser", basic_auth_pass="mlpass")
    service = replace(parts.service, settings=configured)
    return create_app(replace(parts, service=service)).test_client()


def error_of(response: TestResponse) -> str:
    body: Any = response.get_json()
    assert body.keys() == {"error"}
    assert body["error"]["code"] == response.status_code
    return str(body["error"]["message"])


def test_health_is_up_and_tells_problems(parts: Parts):
    client = create_app(replace(parts, problems=lambda: ["S3_BUCKET birds: denied"])).test_client()

    response = client.get("/health")

    assert response.status_code == 200
    assert response.get_json() == {
        "status": "UP",
        "model_class": "SageMakerSegmentation",
        "problems": ["S3_BUCKET birds: denied"],
    }


@pytest.mark.parametrize("name", recorded_names("setup_*"))
def test_setup_answers_a_version_even_without_a_model(client: FlaskClient, name: str):
    response = client.post("/setup", json=recorded(name))

    assert (response.status_code, response.get_json()) == (200, {"model_version": NO_MODEL})


def test_setup_remembers_how_label_studio_calls_this_backend(client: FlaskClient, parts: Parts):
    client.post("/sub/setup", json=recorded("setup_extra_params_null"), base_url="http://ml-backend.example.com:9090")
    client.post("/setup", json=recorded("setup_extra_params_null"), base_url="http://ml-backend.example.com:9090")

    assert parts.service.states.get(40).url == "http://ml-backend.example.com:9090"


@pytest.mark.parametrize("name", recorded_names("webhook_*"))
def test_every_recorded_webhook_is_heard(client: FlaskClient, background: FakeBackground, name: str):
    body = recorded(name)

    response = client.post("/webhook", json=body)

    assert response.status_code == 201
    assert response.get_json()["status"]
    assert [project for project, _, _ in background.woken] == [body["project"]["id"]]


@pytest.mark.parametrize("name", recorded_names("predict_*"))
def test_every_recorded_prediction_request_gets_one_item_a_task_in_order(client: FlaskClient, parts: Parts, name: str):
    body = recorded(name)
    project = body["tasks"][0]["project"]
    parts.service.states.update(project, live="birds v1")
    body["tasks"].insert(1, {"id": 0, "data": {"image": "missing"}, "project": project})

    response = client.post("/predict", json=body)

    version = client.post("/setup", json={"project": f"{project}.1", "schema": fakes.BIRDS}).get_json()["model_version"]
    items = assert_label_studio_takes(response, tasks=len(body["tasks"]), version=version)
    assert items[1] == {}
    assert all(items[:1] + items[2:])


def assert_label_studio_takes(response: TestResponse, *, tasks: int, version: str) -> list[dict[str, Any]]:
    """What breaks Label Studio's task page, or makes it ask again for ever, is not in the answer."""
    assert response.status_code == 200
    body = json.loads(response.data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    items: list[dict[str, Any]] = body["results"]
    assert len(items) == tasks
    for item in filter(None, items):
        assert item["model_version"] == version
        assert isinstance(item["result"], list)
        assert isinstance(item.get("score", 0.0), float)
        assert math.isfinite(item.get("score", 0.0))
        ids = [region["id"] for region in item["result"]]
        assert len(set(ids)) == len(ids)
        assert all(region["type"] == "polygonlabels" for region in item["result"])
    return items


def test_before_the_first_model_every_item_is_empty(client: FlaskClient):
    body = recorded("predict_batch_mixed_sources")

    assert client.post("/predict", json=body).get_json()["results"] == [{}] * 5


def test_predictions_beyond_what_the_threads_allow_are_asked_for_later(parts: Parts):
    configured = replace(parts.service.settings, threads=1)
    statuses: list[tuple[int, str | None]] = []

    def ask_again(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        response = busy.post("/predict", json=recorded("predict_single_http"))
        statuses.append((response.status_code, response.headers.get("Retry-After")))
        return outcome(task, state)

    service = replace(parts.service, settings=configured, predictor=FakePredictor(ask_again))
    busy = create_app(replace(parts, service=service, model=SageMakerSegmentation.bound(service))).test_client()
    body = recorded("predict_single_http")
    service.states.update(body["tasks"][0]["project"], live="birds v1")

    assert busy.post("/predict", json=body).status_code == 200
    assert statuses == [(503, "5")]
    assert busy.post("/predict", json={"tasks": []}).status_code == 200


def test_versions_are_those_that_are_live(client: FlaskClient, parts: Parts):
    parts.service.states.update(3, live="birds v2")
    parts.service.states.update(4, live="birds v1")
    parts.service.states.update(5, url="")

    assert client.get("/versions").get_json() == {"versions": ["birds v1", "birds v2"]}


def test_metrics_count_requests_events_and_predictions(client: FlaskClient, parts: Parts):
    body = recorded("predict_single_http")
    parts.service.states.update(body["tasks"][0]["project"], live="birds v1")
    client.post("/predict", json=body)
    client.post("/webhook", json=recorded("webhook_START_TRAINING"))
    client.post("/webhook", json={"action": "MADE_UP"})
    client.get("/nowhere")

    text = client.get("/metrics").text

    assert 'label_studio_events_total{action="START_TRAINING"} 1.0' in text
    assert 'label_studio_events_total{action="other"} 1.0' in text
    assert 'predictions_total{outcome="predicted"} 1.0' in text
    assert 'http_request_duration_seconds_count{method="POST",route="/predict",status="200"} 1.0' in text
    assert 'route="unknown",status="404"' in text
    assert "MADE_UP" not in text


@pytest.mark.parametrize("path", ["/health", "/", "/versions", "/metrics", "/nowhere"])
def test_with_basic_auth_only_livez_is_open(locked: FlaskClient, path: str):
    response = locked.get(path)

    assert response.status_code == 401
    assert "BASIC_AUTH_USER" in error_of(response)
    assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert locked.get("/livez").status_code == 200


def test_what_label_studio_sends_with_basic_auth_is_let_in(locked: FlaskClient):
    headers = recorded("requests")["setup_basic_auth"]["headers"]

    response = locked.post(
        "/setup", json=recorded("setup_basic_auth"), headers={"Authorization": headers["Authorization"]}
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic " + base64.b64encode(b"mluser:wrong").decode(),
        "Basic " + base64.b64encode(b"other:mlpass").decode(),
        "Basic " + base64.b64encode("mluser:mlpäss".encode()).decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic nonsense",
        "Bearer mluser:mlpass",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
def test_wrong_credentials_are_kept_out(locked: FlaskClient, path: str, header: str):
    assert locked.post(path, json={}, headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[" * 200_000, id="nested without end"),
        pytest.param(b"9" * 5000, id="a number without end"),
    ],
)
def test_what_is_no_json_object_is_refused(client: FlaskClient, path: str, body: bytes):
    response = client.post(path, data=body, content_type="application/json")

    assert response.status_code == 400
    assert "wanted a JSON object" in error_of(response)


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/setup", {}, 'wanted "project" like'),
        ("/setup", {"project": "none"}, 'wanted "project" like'),
        ("/webhook", {}, 'wanted "action"'),
        ("/webhook", {"action": []}, 'wanted "action"'),
        ("/webhook", {"action": "START_TRAINING"}, 'wanted "project"'),
        ("/predict", {}, 'wanted "tasks"'),
        ("/predict", {"tasks": {}}, 'wanted "tasks"'),
        ("/predict", {"tasks": [None]}, 'wanted "tasks"'),
        ("/predict", {"tasks": [], "params": []}, ""),
        ("/predict", {"tasks": [], "params": [5]}, 'wanted "params"'),
    ],
)
def test_a_body_of_the_wrong_shape_says_what_was_wanted(
    client: FlaskClient, path: str, body: dict[str, Any], problem: str
):
    response = client.post(path, json=body)

    if problem:
        assert response.status_code == 400
        assert problem in error_of(response)
    else:
        assert response.status_code == 200


def test_a_body_that_is_too_large_is_refused(client: FlaskClient):
    response = client.post("/webhook", data=b'{"action": "' + b"x" * 2**20 + b'"}')

    assert response.status_code == 413
    assert error_of(response)


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/nowhere", 404), ("GET", "/setup", 405), ("PUT", "/predict", 405)]
)
def test_other_addresses_and_methods_have_the_same_shape_of_error(
    client: FlaskClient, method: str, path: str, code: int
):
    response = client.open(path, method=method)

    assert response.status_code == code
    assert error_of(response)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/setup", "/predict", "/webhook"]), body=BODIES)
def test_any_json_gets_a_json_answer_and_never_a_500(client: FlaskClient, parts: Parts, path: str, body: Any):
    parts.service.states.update(3, live="birds v1")

    response = client.post(path, data=json.dumps(body), content_type="application/json")

    assert response.status_code in {200, 201, 400}
    answer = json.loads(response.data)
    assert isinstance(answer, dict)
    assert ("error" in answer) == (response.status_code == 400)


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        pytest.param(AwsError("SageMaker is away"), 503, "SageMaker is away", id="one that was foreseen"),
        pytest.param(
            ZeroDivisionError("secret"), 500, "unexpected error; see the backend's log", id="one that was not"
        ),
    ],
)
def test_a_fault_is_told_without_a_traceback(
    parts: Parts, fault: Exception, code: int, message: str, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object) -> Outcome:
        raise fault

    service = replace(parts.service, predictor=FakePredictor(fail))
    service.states.update(3, live="birds v1")
    client = create_app(replace(parts, service=service, model=SageMakerSegmentation.bound(service))).test_client()

    response = client.post("/predict", json={"project": "3.1", "tasks": [{"id": 1}], "label_config": fakes.BIRDS})

    assert (response.status_code, error_of(response)) == (code, message)
    assert "/predict" in caplog.text


def test_setup_and_webhook_go_on_when_nothing_can_be_written(parts: Parts, tmp_path: Path):
    service = replace(parts.service, states=StateFile(tmp_path / "gone" / "projects.json"))
    client = create_app(replace(parts, service=service, model=SageMakerSegmentation.bound(service))).test_client()

    assert client.post("/setup", json={"project": "3.1"}).status_code == 200
    assert client.post("/webhook", json=recorded("webhook_START_TRAINING")).status_code == 201


def test_the_background_starts_with_the_app(parts: Parts):
    started: list[bool] = []

    create_app(replace(parts, start=lambda: started.append(True)))

    assert started == [True]


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    values = {
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "a-secret-token",
        "S3_BUCKET": "birds",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
        "MODEL_DIR": str(tmp_path),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "botocore", "urllib3")}
    yield monkeypatch
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_an_app_that_cannot_start_says_why_and_ends_so_that_gunicorn_stops(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    env.delenv("S3_BUCKET")
    env.setenv("SAGEMAKER_ROLE_ARN", "none")

    with pytest.raises(SystemExit) as caught:
        create_app()

    assert caught.value.code == APP_LOAD_ERROR
    told = capsys.readouterr().err
    assert "S3_BUCKET is not set" in told
    assert "SAGEMAKER_ROLE_ARN" in told


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("AWS_DEFAULT_REGION", None, "region"),
        ("AWS_PROFILE", "nobody", "nobody"),
        ("AWS_ENDPOINT_URL_S3", "no address", "Invalid endpoint"),
    ],
)
def test_awss_own_settings_are_told_too(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str | None, problem: str
):
    env.delenv(name, raising=False)
    if value is not None:
        env.setenv(name, value)

    with pytest.raises(SystemExit) as caught:
        create_app()

    assert caught.value.code == APP_LOAD_ERROR
    assert problem in capsys.readouterr().err


def test_the_real_parts_are_made_without_a_call(env: pytest.MonkeyPatch):
    started = time.monotonic()

    parts = build(Settings.from_env())
    client = create_app(replace(parts, start=None)).test_client()

    assert client.get("/health").get_json()["problems"] == []
    assert client.post("/setup", json={"project": "3.1"}).get_json() == {"model_version": NO_MODEL}
    assert time.monotonic() - started < 10


def test_a_model_for_another_host_is_made_without_a_call(env: pytest.MonkeyPatch):
    hosted = hosted_model(Settings.from_env())

    assert hosted("3.1").model_version == NO_MODEL
