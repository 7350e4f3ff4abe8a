"""The loop inside `docker compose up`, walked from outside: run `python3 tests/e2e/compose_smoke.py` beside it.

Needs Docker with its compose plugin, the rights to kill a container's process, and no package: it may run anywhere.
ENV_FILE names the file with the values if that is not `.env`. Exits non-zero at the first thing that is not so.

compose.account.yml beside this file stands for an account of AWS; with this in .env all of it runs against that:
    COMPOSE_FILE=docker-compose.yml:compose.aws.yml:compose.aws-profile.yml:tests/e2e/compose.account.yml
    AWS_PROFILE=annotators
    AWS_CONFIG_DIR=./tests/e2e/aws-profile
    AWS_REGION=us-east-1
    S3_BUCKET=birds
    SAGEMAKER_ROLE_ARN=arn:aws:iam::123456789012:role/emulated
    POLL_SECONDS=5
    TRAINING_COOLDOWN_SECONDS=30
    PIPELINE_PARAMETERS=MaxTrainingSeconds=120
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
TITLE = os.environ.get("PROJECT_TITLE", "Bird parts")
ANNOTATED = 16
COUNT_OBJECTS = """
import boto3, os
found = boto3.client("s3").list_objects_v2(Bucket=os.environ["S3_BUCKET"], Prefix="annotations/")
print(found["KeyCount"])
"""
COUNT_EVENTS = """
import base64, os, re, urllib.request
user = os.environ["BASIC_AUTH_USER"] + ":" + os.environ["BASIC_AUTH_PASS"]
header = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
request = urllib.request.Request("http://127.0.0.1:9090/metrics", headers=header)
metrics = urllib.request.urlopen(request).read().decode()
print(int(float(re.search('label_studio_events_total{action="ANNOTATION_CREATED"} (.*)', metrics)[1])))
"""


class FaultError(Exception):
    """Something is not as it has to be."""


def require(condition: object, what: str) -> None:
    """Raise FaultError unless *condition* holds."""
    if not condition:
        raise FaultError(what)


def wait_for(what: str, look: Callable[[], Any], *, seconds: float = 180) -> Any:
    """What *look* gives as soon as that is something; it may fail to connect meanwhile."""
    end = time.monotonic() + seconds
    last = "nothing"
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (OSError, ValueError) as error:
            last = repr(error)
        time.sleep(1)
    raise FaultError(f"{what}: not within {seconds:.0f} s (last: {last})")


def docker(*arguments: str, timeout: float = 900) -> str:
    """What `docker ...` prints; its errors are shown."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )
    require(done.returncode == 0, f"docker {' '.join(arguments[:8])} ... exited with {done.returncode}")
    return done.stdout


def compose(*arguments: str) -> str:
    """What `docker compose ...` prints."""
    env_file = os.environ.get("ENV_FILE")
    return docker("compose", *(["--env-file", env_file] if env_file else []), *arguments)


@dataclass(frozen=True)
class LabelStudio:
    """Label Studio as it is published on this machine."""

    url: str
    token: str

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Label Studio's answer."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=110) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def project(self) -> dict[str, Any]:
        """The one project with the title."""
        found = [each for each in self.call("GET", "/api/projects?page_size=100")["results"] if each["title"] == TITLE]
        require(len(found) == 1, f"wanted one project {TITLE!r}, found {len(found)}")
        project: dict[str, Any] = found[0]
        return project

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks of the project."""
        answer = self.call("GET", f"/api/tasks?project={self.project()['id']}&page_size=500&fields=all")
        tasks: list[dict[str, Any]] = answer["tasks"]
        return tasks

    def backend(self) -> dict[str, Any]:
        """The one ML backend of the project."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/ml?project={self.project()['id']}")
        require(len(found) == 1, f"wanted one ML backend, found {[each['url'] for each in found]}")
        return found[0]


@dataclass(frozen=True)
class State:
    """What must not get lost."""

    annotations: int
    predictions: int
    model: str


def state(studio: LabelStudio) -> State:
    """What Label Studio has now."""
    tasks = studio.tasks()
    return State(
        annotations=sum(task["total_annotations"] for task in tasks),
        predictions=sum(task["total_predictions"] for task in tasks),
        model=studio.backend()["title"],
    )


def check_ports(_studio: LabelStudio) -> None:
    """Only Label Studio is published, on loopback."""
    for line in compose("ps", "--format", "{{.Service}} {{.Ports}}").splitlines():
        service, _gap, ports = line.partition(" ")
        published = [port for port in ports.split(", ") if "->" in port]
        wanted = service == "label-studio"
        require(bool(published) == wanted, f"{service} publishes {published}")
        require(all(port.startswith("127.0.0.1:") for port in published), f"{service} publishes {published}")


def check_set_up(studio: LabelStudio) -> None:
    """One project with storages, one connected ML backend, one webhook with its header."""
    project = studio.project()["id"]
    sources = studio.call("GET", f"/api/storages/s3?project={project}")
    targets = studio.call("GET", f"/api/storages/export/s3?project={project}")
    require((len(sources), len(targets)) == (1, 1), f"wanted a source and a target, found {sources} and {targets}")
    backend = studio.backend()
    require(backend["state"] == "CO", f"the ML backend's state is {backend['state']}, not CO (connected)")
    hooks = studio.call("GET", f"/api/webhooks/?project={project}")
    require([hook["url"] for hook in hooks] == [backend["url"] + "/webhook"], f"webhooks: {hooks}")
    user, password = services()["backend"]["BASIC_AUTH_USER"], secrets()["BASIC_AUTH_PASS"]
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    require(hooks[0]["headers"].get("Authorization") == wanted, "the webhook has not the backend's password")
    require(hooks[0]["is_active"] and hooks[0]["send_payload"], "the webhook is not active, or sends no payload")


def check_loop(studio: LabelStudio) -> None:
    """Sixteen annotations, and every other task has its prediction; each annotation lies in S3 too."""
    compose("--profile", "demo", "run", "--rm", "--build", "demo")
    tasks = studio.tasks()
    annotated = [task for task in tasks if task["total_annotations"]]
    bare = [task["id"] for task in tasks if not task["total_annotations"] and not task["total_predictions"]]
    require(len(annotated) == ANNOTATED, f"wanted {ANNOTATED} annotated tasks, found {len(annotated)}")
    require(not bare, f"no prediction for the tasks {bare}")
    heard = int(compose("exec", "-T", "backend", "python", "-c", COUNT_EVENTS))
    require(heard == ANNOTATED, f"wanted {ANNOTATED} annotations that the webhook brought, found {heard}")
    stored = int(compose("exec", "-T", "backend", "python", "-c", COUNT_OBJECTS))
    require(stored == ANNOTATED, f"wanted {ANNOTATED} objects below annotations/, found {stored}")


def check_prediction(studio: LabelStudio) -> None:
    """A task that has no prediction gets one when it is opened."""
    model = studio.backend()["title"]
    waiting = next(task for task in studio.tasks() if not task["total_annotations"])
    for prediction in studio.call("GET", f"/api/predictions?task={waiting['id']}"):
        studio.call("DELETE", f"/api/predictions/{prediction['id']}")
    opened = wait_for(
        f"a prediction for task {waiting['id']}",
        lambda: studio.call("GET", f"/api/tasks/{waiting['id']}")["predictions"],
    )
    require(opened[0]["model_version"] == model, f"{opened[0]['model_version']} predicted, but {model} serves")
    require(opened[0]["result"], "the prediction has no region")


def check_secrets(_studio: LabelStudio) -> None:
    """No log has a secret in it."""
    logs = compose("logs", "--no-color")
    for name, value in secrets().items():
        require(value not in logs, f"the logs contain the value of {name}")


def check_restart(studio: LabelStudio) -> None:
    """Everything is there after all containers were removed and made anew."""
    before = state(studio)
    compose("down")
    compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300")
    require(state(studio) == before, f"wanted {before}, found {state(studio)}")
    check_set_up(studio)
    check_prediction(studio)


def check_kill(studio: LabelStudio, service: str) -> None:
    """A service whose process dies comes back by itself, and the loop goes on."""
    before = state(studio)
    container = compose("ps", "--quiet", service).strip()
    pid, started = inspect(container, "{{.State.Pid}} {{.State.StartedAt}}").split()
    os.kill(int(pid), signal.SIGKILL)
    wait_for(f"{service} started again", lambda: inspect(container, "{{.State.StartedAt}}") != started)
    wait_for(f"{service} well again", lambda: is_well(container))
    require(wait_for("Label Studio", lambda: state(studio)) == before, f"wanted {before}, found {state(studio)}")
    check_prediction(studio)


def inspect(container: str, template: str) -> str:
    """A fact about a container."""
    return docker("inspect", "--format", template, container).strip()


def is_well(container: str) -> bool:
    """Running, and healthy if it says so at all."""
    found = inspect(container, "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}").split()
    return found in (["running"], ["running", "healthy"])


def configured() -> dict[str, dict[str, Any]]:
    """The services as compose reads them from its files and the environment."""
    found: dict[str, dict[str, Any]] = json.loads(compose("config", "--format", "json"))["services"]
    return found


def services() -> dict[str, dict[str, str]]:
    """The environment of each service."""
    return {name: body.get("environment", {}) for name, body in configured().items()}


def long_lived() -> list[str]:
    """The services that come back by themselves."""
    return [name for name, body in configured().items() if body.get("restart") == "unless-stopped"]


def secrets() -> dict[str, str]:
    """The secret values that the stack was started with."""
    label_studio, backend = services()["label-studio"], services()["backend"]
    return {
        "LABEL_STUDIO_PASSWORD": label_studio["LABEL_STUDIO_PASSWORD"],
        "LABEL_STUDIO_API_KEY": label_studio["LABEL_STUDIO_USER_TOKEN"],
        "BASIC_AUTH_PASS": backend["BASIC_AUTH_PASS"],
        # With a profile: the password for its credentials instead.
        "LOCAL_S3_SECRET_KEY": backend["AWS_SECRET_ACCESS_KEY"] or backend["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
    }


def label_studio() -> LabelStudio:
    """Label Studio where the stack publishes it."""
    port = compose("port", "label-studio", "8080").strip().rpartition(":")[2]
    return LabelStudio(f"http://127.0.0.1:{port}", secrets()["LABEL_STUDIO_API_KEY"])


def main() -> int:
    """Check one thing after the other."""
    studio = label_studio()
    checks: list[tuple[str, Callable[[LabelStudio], None]]] = [
        ("only Label Studio is published, on loopback", check_ports),
        ("project, storages, ML backend, webhook with its header", check_set_up),
        ("16 annotations, then predictions for all that wait", check_loop),
        ("a task without prediction gets one when opened", check_prediction),
        ("no secret in the logs of the first start", check_secrets),
        ("everything is there after `down` and `up`", check_restart),
        *((f"{name} is killed and comes back", partial(check_kill, service=name)) for name in long_lived()),
        ("no secret in the logs since", check_secrets),
    ]
    for what, check in checks:
        start = time.monotonic()
        try:
            check(studio)
        except (FaultError, OSError, subprocess.SubprocessError) as fault:
            print(f"FAIL  {what}: {fault}", flush=True)
            return 1
        print(f"ok    {what} ({time.monotonic() - start:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
