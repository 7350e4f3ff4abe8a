"""Whose webhooks and ML backends are: those of two deployments in one Label Studio call themselves the same."""

import pytest

from backend.label_studio import basic_authorization
from backend.label_studio_wiring import Connection, Hook
from backend.ownership import Marks

LAMBDA = "https://abc.execute-api.eu-west-1.amazonaws.com/v1/webhook"
OURS, THEIRS = ("label-studio", "ours"), ("label-studio", "theirs")
MARKS = Marks(is_version=lambda name: name.startswith("segmentation v"), addresses=(LAMBDA,), passwords=(OURS,))
BACKEND = Connection(1, "http://a:9090/", frozenset({"segmentation v3"}), connected=True, problem="", timeout_s=100.0)


def hook(url: str, password: tuple[str, str] | None = None) -> Hook:
    headers = {"Authorization": basic_authorization(*password)} if password else {}
    return Hook(1, url, headers, active=True, with_payload=True)


@pytest.mark.parametrize(
    ("hooks", "ours"),
    [
        pytest.param([], False, id="nobody hears the project"),
        pytest.param([hook("http://a:9090/webhook", OURS)], True, id="its webhook has the password"),
        pytest.param([hook("http://a:9090/webhook", THEIRS)], False, id="its webhook has another one"),
        pytest.param([hook("http://a:9090/webhook")], False, id="its webhook has none"),
        pytest.param([hook("http://b:9090/webhook", OURS)], True, id="the deployment hears the project"),
        pytest.param([hook(LAMBDA)], True, id="its function does, with a password that was forgotten"),
        pytest.param([hook(LAMBDA, OURS), hook("http://a:9090/webhook", THEIRS)], False, id="both do"),
        pytest.param([hook(LAMBDA, OURS), hook("http://a:9090/webhook")], True, id="Label Studio's own webhook"),
    ],
)
def test_an_ml_backend_is_the_deployments_where_a_webhook_says_so(hooks: list[Hook], *, ours: bool):
    assert MARKS.own([BACKEND], hooks) == ([BACKEND] if ours else [])


def test_one_that_calls_itself_otherwise_is_never_the_deployments():
    sam = Connection(2, "http://sam:9090", frozenset({"SAM"}), connected=True, problem="", timeout_s=100.0)
    assert MARKS.own([sam], [hook(LAMBDA, OURS), hook("http://sam:9090/webhook", OURS)]) == []


def test_a_deployment_without_a_password_does_not_hear_all_webhooks_that_have_none():
    assert not Marks(is_version=MARKS.is_version, addresses=("",)).hears(hook("http://a:9090/webhook"))


def test_passwords_are_not_shown():
    assert "ours" not in repr(MARKS)
