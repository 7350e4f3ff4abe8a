"""What Label Studio tells of how a project is wired."""

import json
from collections.abc import Iterator

import pytest

from backend.errors import LabelStudioError
from backend.label_studio_wiring import StudioWiring
from tests.local_server import Answer, Server, serving

ADDRESS = "https://abc.execute-api.eu-west-1.amazonaws.com/v1/webhook"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def studio(server: Server) -> Iterator[StudioWiring]:
    made = StudioWiring(server.url, "0123456789abcdef0123456789abcdef01234567")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("restricted", "actions"),
    [
        ({"send_for_all_actions": True, "actions": ["TASKS_CREATED"]}, None),
        ({"send_for_all_actions": False, "actions": ["TASKS_CREATED"]}, frozenset({"TASKS_CREATED"})),
        ({"send_for_all_actions": False}, frozenset()),
        ({}, None),
    ],
)
def test_a_webhook_tells_to_which_actions_it_is_restricted(
    server: Server, studio: StudioWiring, restricted: dict[str, object], actions: frozenset[str] | None
):
    server.answer = lambda _path: (200, json.dumps([{"id": 1, "url": ADDRESS, **restricted}]).encode(), {})
    assert [hook.actions for hook in studio.hooks(3)] == [actions]


def test_an_address_that_answered_is_reached_though_it_is_no_ml_backend(server: Server, studio: StudioWiring):
    told = {"detail": "403 Client Error: Forbidden for url"}
    server.answer = lambda _path: (400, json.dumps(told).encode(), {})
    assert studio.unreachable(3, ADDRESS) == ""


def test_an_ml_backend_that_was_made_to_ask_is_taken_away(server: Server, studio: StudioWiring):
    server.answer = lambda path: (201, b'{"id": 5}', {}) if path.endswith("/ml/") else (204, b"", {})
    assert studio.unreachable(3, ADDRESS) == ""
    assert [path for path, _ in server.requests] == ["/api/ml/", "/api/ml/5"]


def test_an_ml_backend_that_cannot_be_taken_away_is_told_as_that(server: Server, studio: StudioWiring):
    def answer(path: str) -> Answer:
        return (201, b'{"id": 5}', {}) if path.endswith("/ml/") else (500, b'{"detail": "out of order"}', {})

    server.answer = answer
    with pytest.raises(LabelStudioError, match="out of order"):
        studio.unreachable(3, ADDRESS)
