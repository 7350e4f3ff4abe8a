"""Webhooks: every body that Label Studio sends is understood, anything else is a RequestError."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import RequestError
from backend.events import Event, Kind, find_project_id, parse_event, parse_project_id
from tests.fakes import recorded, recorded_names

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", recorded_names("webhook_*"))
def test_every_recorded_webhook_tells_project_and_count(name: str):
    body = recorded(name)

    event = parse_event(body["action"], body)

    assert event.kind is not Kind.OTHER
    assert event.project == body["project"]["id"]
    assert event.annotations == body["project"]["total_annotations_number"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("webhook_ANNOTATION_CREATED_skipped", Kind.LABELS_CHANGED),
        ("webhook_ANNOTATIONS_CREATED_from_predictions", Kind.LABELS_CHANGED),
        ("webhook_ANNOTATIONS_DELETED_one", Kind.LABELS_CHANGED),
        ("webhook_TASKS_CREATED_with_imported_annotation", Kind.LABELS_CHANGED),
        ("webhook_TASKS_DELETED", Kind.LABELS_CHANGED),
        ("webhook_PROJECT_UPDATED", Kind.PROJECT_CHANGED),
        ("webhook_START_TRAINING", Kind.TRAIN_NOW),
        ("webhook_START_TRAINING_from_ui", Kind.TRAIN_NOW),
        ("webhook_START_TRAINING_at_submission", Kind.MAYBE_SAVED),
    ],
)
def test_an_action_means_one_thing_to_training(name: str, kind: Kind):
    body = recorded(name)

    assert parse_event(body["action"], body).kind is kind


@pytest.mark.parametrize(
    ("switch", "kind"),
    [
        pytest.param(0, Kind.TRAIN_NOW, id="off"),
        pytest.param(None, Kind.TRAIN_NOW, id="not told"),
        pytest.param("1", Kind.TRAIN_NOW, id="no number"),
        pytest.param(1, Kind.MAYBE_SAVED, id="at each submission"),
        pytest.param(5, Kind.MAYBE_SAVED, id="at each fifth"),
    ],
)
def test_start_training_is_the_button_only_while_the_switch_is_off(switch: object, kind: Kind):
    body = recorded("webhook_START_TRAINING_from_ui")
    body["project"]["min_annotations_to_start_training"] = switch

    assert parse_event(body["action"], body) == Event("START_TRAINING", kind, 46, 3)


def test_the_switch_changes_no_other_event():
    body = recorded("webhook_ANNOTATION_CREATED_skipped")
    body["project"]["min_annotations_to_start_training"] = 1

    assert parse_event(body["action"], body).kind is Kind.LABELS_CHANGED


def test_a_webhook_without_payload_names_no_project():
    body = recorded("project_webhook_no_payload")

    assert parse_event(body["action"], body) == Event("ANNOTATION_CREATED", Kind.LABELS_CHANGED)


def test_an_unknown_action_is_of_no_interest_but_no_error():
    assert parse_event("LABEL_LINK_CREATED", {"project": {"id": 3}}).kind is Kind.OTHER


@pytest.mark.parametrize("action", [None, "", 5, [], {}, ["ANNOTATION_CREATED"]])
def test_an_action_that_is_no_name_is_refused(action: object):
    with pytest.raises(RequestError, match='wanted "action"'):
        parse_event(action, {})


@pytest.mark.parametrize("body", [None, "x", 5, []])
def test_a_body_that_is_no_object_is_refused(body: object):
    with pytest.raises(RequestError, match="wanted a JSON object"):
        parse_event("ANNOTATION_CREATED", body)


@pytest.mark.parametrize("count", [None, -1, "16", 16.0, True, [16]])
def test_a_count_that_is_none_is_unknown(count: object):
    body = {"project": {"id": 3, "total_annotations_number": count}}

    assert parse_event("ANNOTATION_CREATED", body).annotations is None


@given(action=JSON | st.just("ANNOTATION_CREATED"), body=JSON | st.fixed_dictionaries({"project": JSON}))
def test_parsing_an_event_raises_nothing_but_a_request_error(action: Any, body: Any):
    with contextlib.suppress(RequestError):
        parse_event(action, body)


@pytest.mark.parametrize(
    ("value", "project"),
    [
        pytest.param("3.1795394318", 3, id="as /setup sends it"),
        pytest.param("3", 3, id="without a time"),
        pytest.param(3, 3, id="a number"),
        pytest.param("", None, id="empty"),
        pytest.param("abc.1", None, id="no number"),
        pytest.param("0.1", None, id="zero"),
        pytest.param("-3.1", None, id="negative"),
        pytest.param(True, None, id="true"),
        pytest.param(None, None, id="null"),
        pytest.param({"id": 3}, None, id="an object"),
        pytest.param("9" * 5000, None, id="longer than any id"),
    ],
)
def test_a_projects_id_is_before_the_dot(value: object, project: int | None):
    assert find_project_id(value) == project


def test_a_project_id_that_is_needed_says_how_it_looks():
    with pytest.raises(RequestError, match=r'wanted "project" like "3.1795394318", got None'):
        parse_project_id(None)
