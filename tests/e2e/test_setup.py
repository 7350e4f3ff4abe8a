"""`python -m backend setup` with a real Label Studio and a real S3."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from demo.birds import to_regions
from demo.labelling import Labelling
from demo.pictures import bird_pictures, bird_scene, bird_seed
from demo.state import ROOT
from tests.e2e.conftest import Backend, running_backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
BUCKET = "set-up"
Json = list[dict[str, Any]]


class Person:
    """Somebody who runs the command and looks at what came of it."""

    def __init__(self, stack: Stack, backend: Backend, title: str) -> None:
        self.backend = backend
        self.title = title
        self.environment = dict(backend.child.service.environment)
        token = stack.plan.state.secrets.label_studio_token
        headers = {"Authorization": f"Token {token}"}
        self.api = httpx.Client(base_url=stack.plan.url("label_studio"), headers=headers, timeout=60)
        self.labelling = Labelling(stack.plan.url("label_studio"), token)

    def set_up(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "backend", "setup", "--create-bucket", "--storage-keys", "--wait", "5"]
        command += ["--title", self.title, "--backend-url", self.backend.url, *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @property
    def project(self) -> int:
        return self.labelling.project(self.title)

    def listed(self, path: str) -> Json:
        return list(self.api.get(path, params={"project": self.project}).raise_for_status().json())

    def secrets(self) -> list[str]:
        names = ("BASIC_AUTH_PASS", "LABEL_STUDIO_API_KEY", "AWS_SECRET_ACCESS_KEY")
        return [self.environment[name] for name in names]


@pytest.fixture(scope="module")
def backend(stack: Stack) -> Iterator[Backend]:
    """The backend, whose bucket is not there yet."""
    with running_backend(stack, {"S3_BUCKET": BUCKET}) as running:
        yield running


@pytest.fixture
def person(stack: Stack, backend: Backend, request: pytest.FixtureRequest) -> Iterator[Person]:
    """A person with a project of their own."""
    made = Person(stack, backend, request.node.name[5:55])
    yield made
    made.api.close()
    made.labelling.close()


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A folder with three birds and something else."""
    folder = tmp_path / "birds"
    folder.mkdir()
    for picture in bird_pictures("", range(700, 703)):
        (folder / picture.key).write_bytes(picture.read())
    (folder / "notes.txt").touch()
    return folder


def test_a_set_up_that_is_run_again_adds_nothing(stack: Stack, person: Person, birds: Path):
    first = person.set_up("--images", str(birds))
    again = person.set_up("--images", str(birds), "--labels", "Something,Else")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    projects = person.api.get("/api/projects", params={"title": person.title}).json()["results"]
    assert [each["title"] for each in projects] == [person.title]
    assert 'value="Beak"' in projects[0]["label_config"]
    (source,) = person.listed("/api/storages/s3")
    assert (source["bucket"], source["prefix"], source["presign"]) == (BUCKET, "images/", False)
    (target,) = person.listed("/api/storages/export/s3")
    assert target["can_delete_objects"] is True
    (hook,) = person.listed("/api/webhooks/")
    assert (hook["url"], list(hook["headers"])) == (f"{person.backend.url}/webhook", ["Authorization"])
    (connected,) = person.listed("/api/ml")
    assert (connected["url"], connected["state"], connected["title"]) == (person.backend.url, "CO", "segmentation")
    assert len(person.labelling.tasks(person.project)) == 3
    assert "3 tasks (3 new)" in first.stdout
    assert "3 tasks (0 new)" in again.stdout
    assert not any(secret in first.stdout + again.stdout for secret in person.secrets())
    assert f"/projects/{person.project}/data" in again.stdout.splitlines()[-2]


def delete(api: httpx.Client, path: str) -> None:
    """As a person does who tries again if Label Studio's small database is locked."""
    answer = api.delete(path)
    for _ in range(5):
        if answer.status_code != 500:
            break
        time.sleep(1)
        answer = api.delete(path)
    answer.raise_for_status()


def test_an_annotation_reaches_the_backend_and_the_bucket(stack: Stack, person: Person, birds: Path):
    assert person.set_up("--images", str(birds), "--images-prefix", "seen/").returncode == 0
    task = person.labelling.tasks(person.project)[0]

    person.labelling.submit(task.id, to_regions(bird_scene(bird_seed(task.key))), lead_time_s=10)

    number = person.api.get(f"/api/tasks/{task.id}/annotations/").json()[0]["id"]
    stored = stack.s3().get_object(Bucket=BUCKET, Key=f"annotations/{number}")["Body"].read()
    assert b'"Beak"' in stored
    # What came as an event, and was let in; the regular look is not counted here.
    metrics = httpx.get(f"{person.backend.url}/metrics", auth=("label-studio", person.environment["BASIC_AUTH_PASS"]))
    assert 'action="ANNOTATION_CREATED"' in metrics.text
    delete(person.api, f"/api/annotations/{number}/")
    assert not stack.s3().list_objects_v2(Bucket=BUCKET, Prefix=f"annotations/{number}").get("Contents")


def test_what_differs_is_mended_and_what_is_somebody_else_s_is_left_alone(person: Person):
    assert person.set_up().returncode == 0
    project, url = person.project, person.backend.url
    (hook,) = person.listed("/api/webhooks/")
    spoilt = {"url": hook["url"], "headers": {"X-Mine": "1"}, "is_active": False, "send_payload": False}
    person.api.patch(f"/api/webhooks/{hook['id']}/", json=spoilt).raise_for_status()
    person.labelling.add_webhook(project, "http://localhost:9/other")
    person.api.post("/api/webhooks/", json={"project": project, "url": hook["url"]}).raise_for_status()
    (source,) = person.listed("/api/storages/s3")
    person.api.patch(f"/api/storages/s3/{source['id']}", json={"regex_filter": ".*png"}).raise_for_status()

    mended = person.set_up("--presign")

    assert mended.returncode == 0, mended.stderr
    hooks = {each["url"]: each for each in person.listed("/api/webhooks/")}
    assert sorted(hooks) == sorted([f"{url}/webhook", "http://localhost:9/other"])
    ours = hooks[f"{url}/webhook"]
    assert (ours["is_active"], ours["send_payload"], sorted(ours["headers"])) == (
        True,
        True,
        ["Authorization", "X-Mine"],
    )
    (source,) = person.listed("/api/storages/s3")
    assert (source["presign"], source["regex_filter"]) == (True, ".*png")
    assert "updated" in mended.stdout


def test_a_webhook_that_label_studio_made_itself_is_given_the_password(person: Person):
    made = {"title": person.title, "label_config": labels_only()}
    project = person.api.post("/api/projects/", json=made).raise_for_status().json()["id"]
    password = person.environment["BASIC_AUTH_PASS"]
    auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": "label-studio", "basic_auth_pass": password}
    connection = {"project": project, "url": person.backend.url, "title": "By hand", **auth}
    person.api.post("/api/ml", json=connection).raise_for_status()

    assert person.set_up().returncode == 0

    (hook,) = person.listed("/api/webhooks/")
    assert list(hook["headers"]) == ["Authorization"]
    (connected,) = person.listed("/api/ml")
    assert connected["title"] == "By hand"
    assert person.api.get(f"/api/projects/{project}").json()["label_config"] == labels_only()


def labels_only() -> str:
    return (
        '<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image"><Label value="Nest"/>'
        "</PolygonLabels></View>"
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        pytest.param([], {"BASIC_AUTH_PASS": "wrong"}, "BASIC_AUTH_PASS must be the same", id="password"),
        pytest.param(["--backend-url", "http://127.0.0.1:9"], {}, "is it running", id="nobody there"),
        pytest.param(["--backend-url", "http://no.invalid:1"], {}, "Can't resolve hostname no.invalid", id="no host"),
        pytest.param(["--storage-endpoint", "http://127.0.0.1:9"], {}, "--storage-endpoint", id="no S3"),
        pytest.param([], {"LABEL_STUDIO_API_KEY": "0" * 40}, "set LABEL_STUDIO_API_KEY", id="token"),
        pytest.param(["--title", "x"], {}, "title: ", id="title"),
    ],
)
def test_what_label_studio_refuses_comes_with_what_to_do(
    person: Person, arguments: list[str], environment: dict[str, str], words: str
):
    person.title = "What is refused"
    refused = person.set_up(*arguments, **environment)

    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not any(secret in refused.stdout + refused.stderr for secret in person.secrets())
