"""`doctor` in a shell in which only the deployment is named: the rest it knows by the stacks."""

import os
from typing import Any

import pytest

from backend.aws_clients import Clients
from backend.cli import main
from backend.cli_doctor import Deployed
from tests.infra.desk import ENV, PACKAGE, Desk

pytestmark = pytest.mark.usefixtures("account")
VARIABLES = {"S3_PREFIX": "ours", "SAGEMAKER_INSTANCE_TYPE": "ml.c5.large", "MODEL_NAME": "parts"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_BUCKET", "SAGEMAKER_ROLE_ARN", "BASIC_AUTH_USER", "BASIC_AUTH_PASS", *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**ENV, "LABEL_STUDIO_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)


def deploy(**env: Any) -> None:
    """Core and Lambda function, as `provision` makes them with these variables."""
    desk = Desk(**env)
    core, settings = desk.make(AnnotationsPrefix="notes")
    desk.provision.trigger(core, settings, PACKAGE, {"AnnotationsPrefix": "notes"})


def found(capsys: pytest.CaptureFixture[str], name: str) -> list[str]:
    """What the doctor tells of one thing."""
    main(["doctor"])
    told = capsys.readouterr().out.splitlines()
    return [" ".join(line.split()) for line in told if line[19:38].strip() == name]


def test_a_pipeline_below_a_prefix_of_its_own_is_the_committed_one(capsys: pytest.CaptureFixture[str]):
    deploy(**VARIABLES)
    assert found(capsys, "pipeline") == ["ok pipeline birds, as committed"]


def test_the_quota_is_that_of_the_instances_that_the_function_was_told_to_make(capsys: pytest.CaptureFixture[str]):
    deploy(**VARIABLES)
    assert any("ml.c5.large for endpoint usage" in line for line in found(capsys, "quota"))


def test_what_is_known_by_the_stacks_alone_is_listed_and_defaults_are_not(capsys: pytest.CaptureFixture[str]):
    deploy(**VARIABLES)
    (told,) = found(capsys, "settings")
    assert told.partition("; ")[2] == (
        "S3_BUCKET, SAGEMAKER_ROLE_ARN, BASIC_AUTH_USER, BASIC_AUTH_PASS, S3_PREFIX, SAGEMAKER_INSTANCE_TYPE, "
        "MODEL_NAME: not set here, but known by the stack"
    )


def test_a_variable_is_preferred_to_what_the_stacks_tell(monkeypatch: pytest.MonkeyPatch):
    deploy(**VARIABLES)
    monkeypatch.setenv("MODEL_NAME", "others")

    deployed = Deployed.find(os.environ, Clients.connect())

    assert "MODEL_NAME" not in deployed.used
    chosen = deployed.settings(os.environ)
    assert (chosen.model_name, chosen.s3_prefix, chosen.annotations_prefix) == ("others", "ours", "notes")


def test_a_stack_that_was_never_made_tells_nothing():
    assert Deployed.find(os.environ, Clients.connect()) == Deployed({}, (), "", "")
