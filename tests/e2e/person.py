"""Somebody with an AWS account, a Label Studio, and a terminal; and what is behind the Lambda function's address."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from demo.ports import HOST
from demo.process import Service
from demo.state import ROOT
from tests.infra.account import REGION
from tests.infra.recorder import aws_calls

if TYPE_CHECKING:
    from pathlib import Path

    from demo.process import Child
    from demo.stack import Stack

NAME = "birds"
# Label Studio's own name server and network: every address of an API leads to the one that AWS_API names.
NETWORK = """
import os
import re
import socket

known = socket.gethostbyname
socket.gethostbyname = lambda host: "192.0.2.1" if ".execute-api." in host else known(host)
try:
    from requests.sessions import Session
except ImportError:
    pass
else:
    send = Session.send

    def sent(session, request, **options):
        request.url = re.sub("^https://[^/]*[.]execute-api[.][^/]*", os.environ["AWS_API"], request.url)
        return send(session, request, **options)

    Session.send = sent
"""


class Api:
    """Where the Lambda function's address leads: it wants a password, and knows of webhooks alone."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.away = False
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.path.endswith("/webhook"):
                    self._answer(403)
                    return
                api.heard.append((body["action"], self.headers.get("Authorization", "")))
                self._answer(201)

            def do_GET(self) -> None:
                if not api.away:
                    self._answer(403)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def annotations(self) -> list[str]:
        """The passwords that came with new annotations."""
        return [password for action, password in self.heard if action == "ANNOTATION_CREATED"]

    def close(self) -> None:
        """Nobody answers there any more."""
        self._server.shutdown()
        self._server.server_close()


class Person:
    """Somebody with an account, a Label Studio, and a terminal whose text is kept."""

    def __init__(self, stack: Stack) -> None:
        plan = stack.plan
        self.account = plan.url("account")
        self.studio = plan.url("label_studio")
        self.token = plan.state.secrets.label_studio_token
        self.calls = plan.folder.path / "aws_calls.jsonl"  # what the commands ask of AWS
        self.environment = {
            **plan.environment,
            **aws_calls.environment(self.calls),
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

    def listed(self, path: str, project: int = 1) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Token {self.token}"}
        answer = httpx.get(f"{self.studio}{path}", params={"project": project}, headers=headers, timeout=60)
        return list(answer.raise_for_status().json())

    def wired(self, project: int = 1) -> tuple[list[str], list[str]]:
        """Where the project's events go, and its ML backends."""
        return (
            [each["url"] for each in self.listed("/api/webhooks/", project)],
            [each["url"] for each in self.listed("/api/ml", project)],
        )

    def annotate(self, project: int = 1) -> None:
        """One more annotation, of the project's first task."""
        headers = {"Authorization": f"Token {self.token}"}
        with httpx.Client(base_url=self.studio, headers=headers, timeout=60) as api:
            tasks = api.get("/api/tasks", params={"project": project, "page_size": 1}).raise_for_status().json()
            task = tasks["tasks"][0]["id"]
            api.post(f"/api/tasks/{task}/annotations/", json={"result": []}).raise_for_status()


class Backend:
    """A backend that runs with the settings that ``provision --write-env`` wrote."""

    def __init__(self, stack: Stack, person: Person, settings: Path) -> None:
        self._stack, self._person, self.settings = stack, person, settings
        self.port = stack.plan.state.ports["backend"]
        self.url = f"http://{HOST}:{self.port}"
        self._child: Child | None = None

    def values(self) -> dict[str, str]:
        lines = self.settings.read_text(encoding="utf-8").splitlines()
        return dict(line.partition("=")[::2] for line in lines if "=" in line)

    def start(self) -> None:
        own = {"PORT": str(self.port), "WORKERS": "1", "POLL_SECONDS": "2", "MODEL_DIR": str(self.settings.parent)}
        environment = {**self._person.environment, **self.values(), **own}
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py")]
        command += ["--bind", f"{HOST}:{self.port}", "backend.app:create_app()"]
        service = Service("backend", "backend", command, environment, self.port, "/livez", 60)
        self._child = self._stack.start(service)
        self._stack.wait(self._child)

    def stop(self) -> None:
        if self._child is not None:
            self._stack.stop_one(self._child)
            self._child = None

    def annotations(self) -> int:
        """How many events of new annotations it took."""
        values = self.values()
        auth = (values["BASIC_AUTH_USER"], values["BASIC_AUTH_PASS"])
        lines = httpx.get(f"{self.url}/metrics", auth=auth).raise_for_status().text.splitlines()
        counts = [line.rpartition(" ")[2] for line in lines if 'events_total{action="ANNOTATION_CREATED"}' in line]
        return int(float(counts[0])) if counts else 0
