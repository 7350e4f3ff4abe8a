"""Whether the Lambda function deploys: what a person says, what becomes of it in the account, and what it costs."""

from typing import Any

import pytest

from backend import cli
from backend.aws import Aws
from backend.cli_plan import plan
from backend.cli_wanted import Deployed, Wanted, wanted
from backend.costs import Use, cost_lines
from tests.infra.desk import ENV, PACKAGE, Desk, client, options

pytestmark = pytest.mark.usefixtures("account")


def aim(desk: Desk, *arguments: str) -> Wanted:
    """What becomes of a person's options."""
    return wanted(options(*arguments), ENV, Deployed.find(desk.settings, desk.provision.rollout, Aws))


def provisioned(desk: Desk, *arguments: str) -> str:
    """DEPLOY_ENDPOINTS of the function, as a person's options leave it."""
    core, settings = desk.make()
    given = aim(desk, "--trigger", "lambda", *arguments)
    desk.provision.trigger(core, settings, PACKAGE, given.function)
    described: Any = client("lambda").get_function(FunctionName="birds-trigger")
    return str(described["Configuration"]["Environment"]["Variables"]["DEPLOY_ENDPOINTS"])


def told(desk: Desk, *arguments: str) -> str:
    """What a person reads before anything is made."""
    return "\n".join(plan(options(*arguments), aim(desk, *arguments), desk.provision))


def test_it_deploys_nothing_at_first_and_then_as_it_was_told_last():
    desk = Desk()
    assert provisioned(desk) == "false"
    assert provisioned(desk, "--endpoint") == "true"
    assert provisioned(desk) == "true"
    assert provisioned(desk, "--no-endpoint") == "false"


def test_a_backend_that_is_connected_makes_endpoints_itself():
    assert provisioned(Desk(), "--backend-url", "http://backend.example") == "false"


def test_an_endpoint_is_among_the_costs_where_one_is_made():
    desk, none = Desk(), "none until a backend is connected"
    assert none not in told(desk)
    assert none in told(desk, "--trigger", "lambda")
    assert none not in told(desk, "--trigger", "lambda", "--backend-url", "http://backend.example")
    assert none not in told(desk, "--trigger", "lambda", "--endpoint")
    provisioned(desk, "--endpoint")
    assert none not in told(desk, "--trigger", "lambda")


def test_who_switches_it_off_is_told_that_endpoints_stay():
    desk, stay = Desk(), "those that are there stay and cost"
    assert stay not in told(desk, "--trigger", "lambda", "--no-endpoint")
    provisioned(desk, "--endpoint")
    assert stay in told(desk, "--trigger", "lambda", "--no-endpoint")


@pytest.mark.parametrize("option", ["--endpoint", "--no-endpoint", "--allowed-ips=203.0.113.7", "--allowed-ips="])
def test_what_is_for_the_function_alone_is_no_choice_where_a_backend_takes_the_webhook(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://studio.example:8080")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "the-token")

    assert cli.main(["provision", "--yes", option]) == 1

    named = option.partition("=")[0]
    assert f"{named} is for the Lambda function: wanted --trigger lambda" in capsys.readouterr().err


def test_the_cost_of_an_endpoint_to_come_is_told():
    use = Use(trigger="lambda", training_instance="ml.g4dn.xlarge", endpoint_instance="ml.m5.large", endpoint=False)
    assert "none until a backend is connected (or --endpoint), then $0.115 an hour" in "\n".join(cost_lines(use))
