"""What a set-up asks Label Studio for, and what becomes of its refusals."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backend.aws import AccessKeys
from backend.errors import LabelStudioAwayError, LabelStudioError
from backend.label_studio_setup import Storage, StudioSetup

URL = "http://backend.internal:9090"
KEYS = AccessKeys("AKIA", "very secret")
PLACE = Storage(bucket="birds", prefix="annotations/", region="eu-west-1", endpoint="http://s3:8333", keys=KEYS)
SHOWN = {
    "id": 4,
    "project": 3,
    "bucket": "birds",
    "prefix": "annotations",
    "region_name": "eu-west-1",
    "s3_endpoint": "http://s3:8333",
    "can_delete_objects": True,
    "status": "completed",
}


@dataclass
class Script:
    """What Label Studio answers by method and path, and what it was sent."""

    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def bodies(self, call: str) -> list[dict[str, Any]]:
        return [body for name, body in self.sent if name == call]


class Handler(BaseHTTPRequestHandler):
    script: Script

    def _answer(self) -> None:
        call = f"{self.command} {self.path.partition('?')[0].rstrip('/')}"
        size = int(self.headers.get("Content-Length") or 0)
        self.script.sent.append((call, json.loads(self.rfile.read(size) or b"{}")))
        status, answer = self.script.answers.get(call, (404, {"detail": f"nothing at {call}"}))
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  # the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def studio(script: Script) -> Iterator[StudioSetup]:
    handler = type("Scripted", (Handler,), {"script": script})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made = StudioSetup(f"http://127.0.0.1:{server.server_port}", "0123456789abcdef0123456789abcdef01234567")
        yield made
        made.close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        pytest.param(
            403,
            {"detail": "URL resolves to a reserved network address (block: 172.16.0.0/12)"},
            LabelStudioError,
            "USE_DEFAULT_BANNED_SUBNETS=false",
            id="private address",
        ),
        pytest.param(
            500, {"detail": "Can't resolve hostname x"}, LabelStudioError, "by which Label Studio itself", id="no host"
        ),
        pytest.param(
            400,
            {"validation_errors": {"non_field_errors": ["Able to connect, but authentication parameters were wrong."]}},
            LabelStudioError,
            "BASIC_AUTH_PASS must be the same",
            id="password",
        ),
        pytest.param(
            400,
            {
                "validation_errors": {
                    "non_field_errors": [
                        "Can't connect, health check failed. <a href='x'>Learn more</a> Additional info: "
                        "_GuardedHTTPConnectionPool(host='x', port=9): Max retries exceeded with url: /health (Caused"
                    ]
                }
            },
            LabelStudioAwayError,
            r"does not answer Label Studio \(Max retries exceeded\); is it running",
            id="not running",
        ),
        pytest.param(
            400, {"validation_errors": {"url": ["Wrong."]}}, LabelStudioError, r"answered 400: url: Wrong\.", id="other"
        ),
        pytest.param(504, {}, LabelStudioAwayError, "answered 504", id="a proxy's time-out"),
    ],
)
def test_a_backend_that_is_refused_comes_with_what_to_do(
    script: Script, studio: StudioSetup, status: int, body: object, kind: type[LabelStudioError], words: str
):
    script.answers = {"GET /api/ml": (200, []), "POST /api/ml": (status, body)}

    with pytest.raises(LabelStudioError, match=words) as caught:
        studio.ensure_backend(3, URL, title="birds", basic_auth=("ls", "very secret"))

    assert type(caught.value) is kind
    assert "very secret" not in str(caught.value)


def test_a_webhook_that_label_studio_does_not_take_comes_with_the_reason(script: Script, studio: StudioSetup):
    refusal = {"validation_errors": {"url": ["Enter a valid URL."]}}
    script.answers = {"GET /api/webhooks": (200, []), "POST /api/webhooks": (400, refusal)}

    with pytest.raises(LabelStudioError, match="a host name with a dot only"):
        studio.ensure_webhook(3, "http://backend:9090/webhook", {})


def test_one_webhook_is_left_of_those_to_the_same_place(script: Script, studio: StudioSetup):
    def hook(number: int, url: str) -> dict[str, object]:
        return {"id": number, "url": url, "headers": {}, "send_payload": True, "send_for_all_actions": True}

    places = [
        "http://ls:pw@backend.internal:9090/webhook",
        f"{URL}/webhook/",
        f"{URL}/webhook?delivery=2",
        "http://a.b",
    ]
    hooks = [hook(number, url) for number, url in enumerate(places)]
    script.answers = {"GET /api/webhooks": (200, hooks), "DELETE /api/webhooks/1": (200, {})}
    script.answers["PATCH /api/webhooks/0"] = (200, hooks[0])

    assert studio.ensure_webhook(3, f"{URL}/webhook", {"Authorization": "Basic x"}) == "updated"

    assert [name for name, _ in script.sent if name.startswith("DELETE")] == ["DELETE /api/webhooks/1"]
    (changed,) = script.bodies("PATCH /api/webhooks/0")
    assert (changed["url"], changed["headers"]) == (f"{URL}/webhook", {"Authorization": "Basic x"})


def test_a_backend_that_is_there_keeps_its_title_and_gets_the_password_anew(script: Script, studio: StudioSetup):
    row = {"id": 8, "url": f"{URL}/", "title": "birds v3", "project": 3, "auth_method": "NONE"}
    other = {"id": 7, "url": "http://sam.example:9090", "title": "SAM", "project": 3}
    script.answers = {"GET /api/ml": (200, [other, row]), "PATCH /api/ml/8": (200, row)}

    assert studio.ensure_backend(3, URL, title="birds", basic_auth=("ls", "pw")) == "updated"

    (sent,) = script.bodies("PATCH /api/ml/8")
    assert sent == {
        "url": URL,
        "project": 3,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "ls",
        "basic_auth_pass": "pw",
    }


def test_a_target_is_made_without_the_slash_that_label_studio_adds(script: Script, studio: StudioSetup):
    script.answers = {"GET /api/storages/export/s3": (200, []), "POST /api/storages/export/s3": (201, SHOWN)}

    assert studio.ensure_target(3, PLACE) == (4, "made")

    (sent,) = script.bodies("POST /api/storages/export/s3")
    assert (sent["prefix"], sent["can_delete_objects"]) == ("annotations", True)
    assert (sent["aws_secret_access_key"], sent["aws_session_token"]) == ("very secret", "")


@pytest.mark.parametrize(
    ("shown", "change"),
    [
        pytest.param({}, "found", id="as it should be"),
        pytest.param({"s3_endpoint": "http://old:8333"}, "updated", id="another endpoint"),
        pytest.param({"can_delete_objects": None}, "updated", id="keeps what was deleted"),
    ],
)
def test_a_storage_that_is_there_is_mended(script: Script, studio: StudioSetup, shown: dict[str, object], change: str):
    known = {**SHOWN, **shown}
    script.answers = {"GET /api/storages/export/s3": (200, [{**SHOWN, "id": 1, "bucket": "other"}, known])}
    script.answers["PATCH /api/storages/export/s3/4"] = (200, SHOWN)

    assert studio.ensure_target(3, PLACE) == (4, change)

    (sent,) = script.bodies("PATCH /api/storages/export/s3/4")
    assert sent["s3_endpoint"] == "http://s3:8333"
    assert "prefix" not in sent


def test_keys_that_people_entered_are_kept_unless_there_are_new_ones(script: Script, studio: StudioSetup):
    script.answers = {"GET /api/storages/s3": (200, [SHOWN]), "PATCH /api/storages/s3/4": (200, SHOWN)}

    studio.ensure_source(3, Storage(bucket="birds", prefix="annotations/", region="eu-west-1"), presign=True)

    (sent,) = script.bodies("PATCH /api/storages/s3/4")
    assert not any(name.startswith("aws_") for name in sent)
    assert (sent["presign"], sent["use_blob_urls"], sent["s3_endpoint"]) == (True, True, "")


@pytest.mark.parametrize(
    ("shown", "running", "failed", "problem"),
    [
        pytest.param({"status": "in_progress", "traceback": "old"}, True, False, "", id="running"),
        pytest.param({"status": "completed", "traceback": "of an earlier one"}, False, False, "", id="completed"),
        pytest.param({"status": "failed", "traceback": "Trace:\n  x\nGone\n"}, False, True, "Gone", id="failed"),
        pytest.param({"status": "completed_with_errors", "traceback": "a.jpg"}, False, False, "a.jpg", id="in part"),
    ],
)  # fmt: skip
def test_the_state_of_a_sync_is_that_of_the_newest_one(
    script: Script, studio: StudioSetup, shown: dict[str, object], running: bool, failed: bool, problem: str
):
    script.answers = {"GET /api/storages/s3": (200, [{**SHOWN, **shown}])}

    state = studio.sync_state(3, 4)

    assert (state.running, state.failed, state.problem) == (running, failed, problem)


def test_a_storage_that_is_gone_has_no_state(script: Script, studio: StudioSetup):
    script.answers = {"GET /api/storages/s3": (200, [])}

    with pytest.raises(LabelStudioError, match="not there any more"):
        studio.sync_state(3, 4)


def test_what_is_to_be_made_is_asked_for_once_since_label_studio_may_have_made_it_and_failed_then(
    studio: StudioSetup, script: Script
):
    locked = (500, {"detail": "database is locked"})
    script.answers |= dict.fromkeys(("POST /api/projects", "POST /api/webhooks", "POST /api/ml"), locked)
    script.answers |= {"GET /api/webhooks": (200, []), "GET /api/ml": (200, [])}

    for make in (
        lambda: studio.create_project("Birds", "<View/>"),
        lambda: studio.ensure_webhook(1, "http://b:9090/webhook", {}),
        lambda: studio.ensure_backend(1, "http://b:9090", title="none", basic_auth=None),
    ):
        with pytest.raises(LabelStudioAwayError):
            make()

    assert [name for name, _ in script.sent if name.startswith("POST")] == [
        "POST /api/projects",
        "POST /api/webhooks",
        "POST /api/ml",
    ]
