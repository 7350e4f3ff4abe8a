"""`provision`, `doctor` and `destroy` as a person runs them: an emulated AWS account, a real Label Studio."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from demo import services
from demo.display import Display
from demo.pictures import bird_pictures
from demo.ports import PREFERRED
from demo.process import Service
from demo.services import Plan, isolated_environment
from demo.stack import Stack
from demo.state import Folder, load_state
from tests.e2e.person import NETWORK, Api, Backend, Person
from tests.infra.calls import read_calls
from tests.infra.operator import of_commands, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
APART = 900  # from the ports of the other end-to-end tests, which may run at the same time; of four digits, too


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, api: Api) -> Iterator[Stack]:
    """An account and a Label Studio that nobody has used yet."""
    folder = Folder(tmp_path_factory.mktemp("account"))
    folder.make()
    ports = {name: port + APART for name, port in PREFERRED.items()}
    state = load_state(folder, {**ports, "account": 5566})
    stack = Stack(Plan(folder, state, isolated_environment(os.environ)), Display(stream=io.StringIO()))
    port = state.ports["account"]
    command = [sys.executable, "-m", "tests.infra.account_server", str(port)]
    environment = {**stack.plan.environment, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    try:
        (folder.path / "sitecustomize.py").write_text(NETWORK, encoding="utf-8")
        service = services.label_studio(stack.plan)
        known = {**service.environment, "PYTHONPATH": str(folder.path), "AWS_API": api.url}
        label_studio = stack.start(replace(service, environment=known))
        stack.wait(stack.start(Service("account", "AWS account", command, environment, port, "/moto-api/", 60)))
        stack.wait(label_studio)
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """What every Lambda function's address leads to."""
    made = Api()
    yield made
    made.close()


@pytest.fixture(scope="module")
def person(stack: Stack) -> Person:
    """Somebody who has them."""
    return Person(stack)


@pytest.fixture(scope="module")
def backend(stack: Stack, person: Person, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend as the deployment wants it."""
    settings = tmp_path_factory.mktemp("backend") / "backend.env"
    assert person.provision("--trigger", "lambda", "--write-env", str(settings)).returncode == 0
    made = Backend(stack, person, settings)
    made.start()
    yield made
    made.stop()


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


def test_the_doctor_tells_whether_label_studio_reaches_the_lambda_function(person: Person, api: Api):
    reached = person.run("doctor").stdout
    api.away = True
    away = person.run("doctor").stdout
    api.away = False

    assert "Label Studio reaches https://" in reached
    assert "Label Studio does not reach https://" in away
    assert "let Label Studio's machine out to that address by HTTPS" in away
    assert person.listed("/api/ml") == []


def test_the_events_go_over_to_a_backend_and_back_and_each_is_heard_once(person: Person, backend: Backend, api: Api):
    second = person.provision("--trigger", "lambda", "--title", "Second birds")
    assert second.returncode == 0, second.stdout
    assert [len(person.wired(project)[0]) for project in (1, 2)] == [1, 1]
    steps = (
        (("--trigger", "backend", "--backend-url", backend.url), (f"{backend.url}/webhook",)),
        (("--trigger", "lambda", "--backend-url", backend.url), ()),
        (("--trigger", "backend", "--backend-url", backend.url), (f"{backend.url}/webhook",)),
    )
    for arguments, hooks in steps:
        by_lambda, by_backend = len(api.annotations()), backend.annotations()

        done = person.provision(*arguments)

        assert done.returncode == 0, done.stdout
        for project in (1, 2):
            (hook,), connected = person.wired(project)
            assert (hook == hooks[0]) if hooks else ".execute-api." in hook
            assert connected == [backend.url]
            person.annotate(project)
        heard = (len(api.annotations()) - by_lambda, backend.annotations() - by_backend)
        assert heard == ((0, 2) if hooks else (2, 0))
        stacks = {each["StackName"] for each in person.client("cloudformation").describe_stacks()["Stacks"]}
        assert ("birds-trigger" in stacks) is not bool(hooks)
    assert all(password.startswith("Basic ") for password in api.annotations())


def test_a_backend_stays_connected_when_the_lambda_function_takes_over(person: Person, backend: Backend):
    place = ("--trigger", "lambda", "--backend-url", backend.url)
    done, again, more = person.provision("--trigger", "lambda"), person.provision(*place), person.provision(*place)

    assert (done.returncode, again.returncode, more.returncode) == (0, 0, 0), done.stdout + again.stdout + more.stdout
    (hook,), connected = person.wired()
    assert (".execute-api." in hook, connected) == (True, [backend.url])
    for said in (again.stdout, more.stdout):
        assert not [line for line in said.splitlines() if line.endswith(("made", "updated")) or "taken out" in line]


def test_a_backend_that_moved_is_connected_at_its_new_address_alone(person: Person, backend: Backend):
    moved = backend.url.replace("127.0.0.1", "localhost")
    for url in (moved, backend.url):
        done = person.provision("--trigger", "backend", "--backend-url", url)
        assert done.returncode == 0, done.stdout
        assert person.wired() == ([f"{url}/webhook"], [url])


def test_a_password_that_was_rotated_is_mended_where_it_is_carried(person: Person, backend: Backend, tmp_path: Path):
    core = person.client("cloudformation").describe_stacks(StackName="birds-core")["Stacks"][0]
    secret = next(each["OutputValue"] for each in core["Outputs"] if each["OutputKey"] == "SecretArn")
    rotated = {"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "another-password"}
    person.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(rotated))

    examined = person.run("doctor").stdout
    refused = person.provision("--backend-url", backend.url, "--write-env", str(backend.settings))
    backend.stop()
    backend.start()
    mended = person.provision("--backend-url", backend.url)

    assert "its header Authorization is not the one" in examined
    assert "refuses BASIC_AUTH_USER and BASIC_AUTH_PASS" in examined
    assert refused.returncode == 1
    assert "must be the same here as where the backend runs" in refused.stdout
    assert mended.returncode == 0, mended.stdout
    before = backend.annotations()
    for project in (1, 2):
        person.annotate(project)
    assert backend.annotations() == before + 2
    assert {each["state"] for each in person.listed("/api/ml")} == {"CO"}
    assert "another-password" not in "".join(person.transcript)


def test_a_deployment_of_another_label_studio_is_refused_by_provision_and_by_destroy(person: Person):
    elsewhere = {"LABEL_STUDIO_URL": person.studio.replace("127.0.0.1", "localhost")}
    for command in (("provision",), ("destroy",)):
        done = person.run(*command, "--yes", **elsewhere)
        assert done.returncode == 1
        assert f"belongs to the Label Studio at {person.studio}" in done.stdout.splitlines()[-1]
        assert "Traceback" not in done.stdout


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


def test_all_that_the_commands_asked_of_aws_is_allowed_to_who_has_the_operator_s_policy(person: Person):
    wanted = of_commands(read_calls(person.calls))
    assert {"cloudformation:CreateStack", "secretsmanager:PutSecretValue", "s3:DeleteBucket"} <= {
        each.action for each in wanted
    }
    assert refused(wanted) == []
