"""`provision`, `doctor` and `destroy` as a person runs them: an emulated AWS account, a real Label Studio."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from demo import services
from demo.display import Display
from demo.pictures import bird_pictures
from demo.ports import PREFERRED
from demo.process import Service
from demo.services import Plan, isolated_environment
from demo.stack import Stack
from demo.state import ROOT, Folder, load_state
from tests.infra.account import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
NAME = "birds"
# Label Studio takes no address that it cannot resolve; AWS's own name servers know every API at once.
NAME_SERVER = """
import socket

known = socket.gethostbyname
socket.gethostbyname = lambda host: "192.0.2.1" if ".execute-api." in host else known(host)
"""


class Person:
    """Somebody with an account, a Label Studio, and a terminal whose text is kept."""

    def __init__(self, stack: Stack) -> None:
        plan = stack.plan
        self.account = plan.url("account")
        self.studio = plan.url("label_studio")
        self.token = plan.state.secrets.label_studio_token
        self.environment = {
            **plan.environment,
            "AWS_ENDPOINT_URL": self.account,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "a-secret-key",
            "LABEL_STUDIO_URL": self.studio,
            "LABEL_STUDIO_API_KEY": self.token,
            "SAGEMAKER_PIPELINE": NAME,
        }
        self.transcript: list[str] = []

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "backend", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        self.transcript.append(f"$ python -m backend {' '.join(arguments)}\n{done.stdout}")
        return done

    def provision(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        place = ("--storage-endpoint", self.account, "--storage-keys")
        return self.run("provision", "--yes", *place, *arguments)

    def hooks(self) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Token {self.token}"}
        answer = httpx.get(f"{self.studio}/api/webhooks/", params={"project": 1}, headers=headers, timeout=60)
        return list(answer.raise_for_status().json())

    def client(self, service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.account,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="a-secret-key",
        )


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """An account and a Label Studio that nobody has used yet."""
    folder = Folder(tmp_path_factory.mktemp("account"))
    folder.make()
    state = load_state(folder, {**PREFERRED, "account": 5566})
    stack = Stack(Plan(folder, state, isolated_environment(os.environ)), Display(stream=io.StringIO()))
    port = state.ports["account"]
    command = [sys.executable, "-m", "tests.infra.account_server", str(port)]
    environment = {**stack.plan.environment, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    try:
        (folder.path / "sitecustomize.py").write_text(NAME_SERVER, encoding="utf-8")
        service = services.label_studio(stack.plan)
        known = {**service.environment, "PYTHONPATH": str(folder.path)}
        label_studio = stack.start(replace(service, environment=known))
        stack.wait(stack.start(Service("account", "AWS account", command, environment, port, "/moto-api/", 60)))
        stack.wait(label_studio)
        made = Person(stack)
        yield made
        if path := os.environ.get("AWS_TRANSCRIPT"):
            (ROOT / path).write_text("\n".join(made.transcript), encoding="utf-8")
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three birds."""
    folder = tmp_path_factory.mktemp("birds")
    for picture in bird_pictures("", range(700, 703)):
        (folder / picture.key).write_bytes(picture.read())
    return folder


def test_nothing_is_made_where_nobody_can_be_asked(person: Person):
    done = person.run("provision")
    assert done.returncode == 1
    assert "About what it costs" in done.stdout
    assert "--yes is wanted" in done.stdout
    assert person.client("cloudformation").describe_stacks()["Stacks"] == []


def test_one_command_makes_it_all_and_a_second_run_changes_nothing(person: Person, birds: Path, tmp_path: Path):
    first = person.provision("--images", str(birds), "--write-env", str(tmp_path / "backend.env"))
    again = person.provision("--images", str(birds), "--write-env", str(tmp_path / "backend.env"))

    assert (first.returncode, again.returncode) == (0, 0), first.stdout + again.stdout
    assert "birds-core: made" in first.stdout
    assert "3 tasks (3 new)" in first.stdout
    assert "birds-core: found" in again.stdout
    assert "3 tasks (0 new)" in again.stdout
    assert not [line for line in again.stdout.splitlines() if line.endswith(("made", "updated", "written"))]
    assert stat.S_IMODE((tmp_path / "backend.env").stat().st_mode) == 0o600


def test_the_lambda_function_gets_the_webhook_with_the_password(person: Person):
    first = person.provision("--trigger", "lambda")
    again = person.provision("--trigger", "lambda")

    assert (first.returncode, again.returncode) == (0, 0), first.stdout + again.stdout
    assert "birds-trigger: made" in first.stdout
    assert "birds-trigger: found" in again.stdout
    (hook,) = person.hooks()
    assert hook["url"].endswith("/webhook")
    assert hook["headers"]["Authorization"].startswith("Basic ")


def test_the_doctor_finds_in_order_what_was_made(person: Person):
    block = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    (bucket,) = person.client("s3").list_buckets()["Buckets"]
    # The template asks for it, but the emulation leaves it out.
    person.client("s3").put_public_access_block(Bucket=bucket["Name"], PublicAccessBlockConfiguration=block)

    done = person.run("doctor")

    not_ok = {line[19:38].strip() for line in done.stdout.splitlines() if line.startswith(("wrong", "cannot"))}
    # Bucket policies and quotas are not emulated, and the API's name is nobody's.
    assert not_ok == {"bucket, TLS", "quota", "trigger"}, done.stdout
    assert "with the password" in done.stdout


def test_destroy_takes_it_away_and_the_next_one_finds_nothing(person: Person):
    done = person.run("destroy", "--yes", "--data")
    again = person.run("destroy", "--yes", "--data")

    assert (done.returncode, again.returncode) == (0, 0), done.stdout + again.stdout
    assert "birds-core: deleted" in done.stdout
    assert person.hooks() == []
    assert person.client("s3").list_buckets()["Buckets"] == []
    assert "There is nothing of birds" in again.stdout


def test_no_secret_was_ever_told(person: Person):
    told = "\n".join(person.transcript)
    assert person.token not in told
    assert "a-secret-key" not in told
    assert "Basic " not in told
