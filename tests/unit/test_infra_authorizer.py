"""The authorizer of trigger.yaml, run as it stands there: the password, and addresses that may call."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from tests.infra import templates
from tests.infra.account import emulated_account, satisfies
from tests.infra.templates import resources

CODE = resources(templates.load("trigger"), "AWS::Lambda::Function")["AuthorizerFunction"]["Code"]["ZipFile"]
METHOD = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3/v1/POST/webhook"
PASSWORD = "correct horse"
Handler = Callable[[dict[str, Any], object], dict[str, Any]]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(authorization: str | None, address: str = "203.0.113.7", name: str = "Authorization") -> dict[str, Any]:
    headers = None if authorization is None else {name: authorization}
    return {
        "type": "REQUEST",
        "methodArn": METHOD,
        "headers": headers,
        "requestContext": {"identity": {"sourceIp": address}},
    }


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Handler]]:
    """Starts the function as Lambda does, with a list of networks."""
    with emulated_account():
        value = json.dumps({"BASIC_AUTH_USER": "label-studio", "BASIC_AUTH_PASS": PASSWORD})
        arn = boto3.client("secretsmanager").create_secret(Name="birds", SecretString=value)["ARN"]

        def start(networks: str = "") -> Handler:
            monkeypatch.setenv("SECRET_ARN", arn)
            monkeypatch.setenv("ALLOWED_IPS", networks)
            module: dict[str, Any] = {}
            exec(CODE, module)  # noqa: S102  # the code under test
            handler: Handler = module["handler"]
            return handler

        yield start


def effect(answer: dict[str, Any]) -> str:
    (statement,) = answer["policyDocument"]["Statement"]
    assert statement["Action"] == "execute-api:Invoke"
    found: str = statement["Effect"]
    return found


def test_the_password_of_the_secret_opens(load: Callable[..., Handler]):
    assert effect(load()(request(basic("label-studio", PASSWORD)), None)) == "Allow"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        basic("label-studio", "wrong"),
        basic("other", PASSWORD),
        basic("label-studio", ""),
        basic("label-studio", PASSWORD)[6:],
        "Bearer " + basic("label-studio", PASSWORD)[6:],
        basic("label-studio", PASSWORD) + " ",
        "Basic ключ",
    ],
)
def test_nothing_else_does(load: Callable[..., Handler], given: str | None):
    assert effect(load()(request(given), None)) == "Deny"


def test_the_header_has_no_case(load: Callable[..., Handler]):
    assert effect(load()(request(basic("label-studio", PASSWORD), name="authorization"), None)) == "Allow"


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("203.0.113.7", "Allow"),
        ("203.0.113.255", "Allow"),
        ("198.51.100.4", "Allow"),
        ("198.51.100.5", "Deny"),
        ("2001:db8::1", "Allow"),
        ("2001:db9::1", "Deny"),
    ],
)
def test_with_a_list_only_those_addresses_may_call(load: Callable[..., Handler], address: str, wanted: str):
    handler = load("203.0.113.7/24, 198.51.100.4,2001:db8::/32")  # as people write a network: an address of it
    assert effect(handler(request(basic("label-studio", PASSWORD), address), None)) == wanted
    assert effect(handler(request(basic("label-studio", "wrong"), address), None)) == "Deny"


def test_an_answer_holds_for_the_whole_stage_since_api_gateway_keeps_it(load: Callable[..., Handler]):
    answer = load()(request(basic("label-studio", PASSWORD)), None)
    assert answer["policyDocument"]["Statement"][0]["Resource"] == METHOD.removesuffix("POST/webhook") + "*"


def test_the_schedule_has_the_password_fetched_so_that_a_webhook_does_not_wait_for_it(load: Callable[..., Handler]):
    handler = load()
    secrets = boto3.client("secretsmanager")
    (known,) = secrets.list_secrets()["SecretList"]
    assert handler({"source": "aws.events", "detail-type": "Scheduled Event"}, None) == {}
    secrets.put_secret_value(
        SecretId=known["ARN"], SecretString=json.dumps({"BASIC_AUTH_USER": "label-studio", "BASIC_AUTH_PASS": "new"})
    )
    assert effect(handler(request(basic("label-studio", PASSWORD)), None)) == "Allow"  # not asked for again
    handler({"source": "aws.events", "detail-type": "Scheduled Event"}, None)
    assert effect(handler(request(basic("label-studio", PASSWORD)), None)) == "Deny"
    assert effect(handler(request(basic("label-studio", "new")), None)) == "Allow"


def test_a_list_that_is_none_shuts_everybody_out(load: Callable[..., Handler]):
    with pytest.raises(ValueError, match="does not appear to be"):
        load("203.0.113.0/99")


def test_the_secret_is_read_once(load: Callable[..., Handler], monkeypatch: pytest.MonkeyPatch):
    handler = load()
    handler(request(basic("label-studio", PASSWORD)), None)
    monkeypatch.setenv("SECRET_ARN", "gone")
    assert effect(handler(request(basic("label-studio", PASSWORD)), None)) == "Allow"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("", True),
        ("203.0.113.7", True),
        ("203.0.113.0/24,198.51.100.4", True),
        ("2001:db8::/32,::1", True),
        ("2001:db8:1:2:3:4:5:6", True),
        ("/40", False),
        ("::::", False),
        ("203.0.113.0/40", False),
        ("203.0.113", False),
        ("999.0.113.7", False),
        ("2001:db8::/129", False),
        ("1::2::3", False),
        ("label.example.com", False),
    ],
)
def test_the_template_takes_no_list_that_the_authorizer_cannot_read(given: str, taken: bool):
    assert satisfies(templates.load("trigger")["Parameters"]["AllowedIps"], given) is taken
