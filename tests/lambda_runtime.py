"""Lambda on this machine, for the function's real zip file in the real runtime client (the package awslambdaric).

Three parts of AWS are stood in for by one small server: the Runtime API, which hands events to the function's instances
one at a time; the API that has functions invoked; and an API Gateway in front, a REST API with proxy integration. An
instance is a process that has the unpacked zip file, boto3 and the runtime client, and nothing else.
"""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import os
import queue
import subprocess
import sys
import threading
import uuid
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.lambda_package import HANDLER, build_package
from tests.fakes import aws_event
from tests.infra.recorder import aws_calls

if TYPE_CHECKING:
    from collections.abc import Mapping

ARN = "arn:aws:lambda:us-east-1:123456789012:function:label-studio-segmentation-trigger"
STAGE = "/v1"
RETRIES = 2  # of an asynchronous call, as Lambda does unless it is told otherwise
_RUNTIME = "/2018-06-01/runtime"
_INVOKE = "/2015-03-31/functions/"
_LOST_S = 60
# What an instance has beside the function's code: Lambda's runtime has the same.
_BESIDE = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


@dataclass
class Invocation:
    """One call of the function, and what became of it."""

    event: Any
    asynchronous: bool = False
    attempts: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: Any = None
    error: Any = None
    done: threading.Event = field(default_factory=threading.Event)


class LambdaService(ThreadingHTTPServer):
    """Lambda and API Gateway. *heard* has every request of the gateway, with its headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.waiting: queue.Queue[Invocation] = queue.Queue()
        self.running: dict[str, Invocation] = {}
        self.ended: list[Invocation] = []
        self.heard: list[dict[str, Any]] = []
        self._unfinished = 0
        self._idle = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """Where Label Studio sends its webhook, without ``/webhook``."""
        return f"http://{self.address}{STAGE}"

    def put(self, event: Any, *, asynchronous: bool = False) -> Invocation:
        """Have the function called."""
        invocation = Invocation(event, asynchronous)
        with self._idle:
            self._unfinished += 1
        self.waiting.put(invocation)
        return invocation

    def call(self, event: Any) -> Any:
        """The function's answer to *event*, or its error."""
        invocation = self.put(event)
        assert invocation.done.wait(_LOST_S), "no instance took the event"
        return invocation.error or invocation.answer

    def end(self, number: str, *, answer: Any = None, error: Any = None) -> None:
        """An instance is done with a call; one that was asynchronous and failed comes again."""
        invocation = self.running.pop(number)
        invocation.answer, invocation.error = answer, error
        invocation.attempts += 1
        if error is not None and invocation.asynchronous and invocation.attempts <= RETRIES:
            self.waiting.put(invocation)
            return
        self.ended.append(invocation)
        invocation.done.set()
        with self._idle:
            self._unfinished -= 1
            self._idle.notify_all()

    def wait_until_idle(self) -> None:
        """Until nothing waits and nothing runs."""
        with self._idle:
            assert self._idle.wait_for(lambda: self._unfinished == 0, _LOST_S), "calls are left"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked may have gone: an instance is ended at once, and Label Studio hangs up after its second."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """End it; the instances must have ended."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: LambdaService
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != f"{_RUNTIME}/invocation/next":
            self._gateway()
            return
        invocation = self.server.waiting.get()
        self.server.running[invocation.id] = invocation
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Trace-Id": "Root=1-69235e01-0a1b2c3d4e5f60718293a4b5",
            "Content-Type": "application/json",
        }
        self._send(200, json.dumps(invocation.event).encode(), headers)

    def do_POST(self) -> None:
        if self.path.startswith(f"{_RUNTIME}/invocation/"):
            number, _, what = self.path.removeprefix(f"{_RUNTIME}/invocation/").partition("/")
            body = json.loads(self._body())
            self.server.end(number, **({"answer": body} if what == "response" else {"error": body}))
            self._send(202, b"{}")
        elif self.path.startswith(_INVOKE):
            assert self.headers["X-Amz-Invocation-Type"] == "Event"
            self.server.put(json.loads(self._body()), asynchronous=True)
            self._send(202, b"")
        else:
            self._gateway()

    def _gateway(self) -> None:
        """A request -> a proxy event -> the function's answer. It has no other routes than the template's."""
        if not self.path.startswith(f"{STAGE}/"):
            self._send(403, b'{"message":"Missing Authentication Token"}')
            return
        event = aws_event("api_gateway_webhook")
        path = self.path.removeprefix(STAGE)
        event |= {"httpMethod": self.command, "path": path, "resource": path, "headers": dict(self.headers)}
        event["body"] = self._body().decode()
        self.server.heard.append(event)
        answer = self.server.call(event)
        if "statusCode" not in answer:
            self._send(502, b'{"message": "Internal server error"}')
            return
        body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
        self._send(answer["statusCode"], body, answer["headers"])

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""


class Function:
    """A zip file, the built one if none is given, unpacked, and its instances."""

    def __init__(
        self,
        folder: Path,
        service: LambdaService,
        environment: Mapping[str, str],
        *,
        package: bytes | None = None,
        handler: str = HANDLER,
    ) -> None:
        self.service = service
        self.handler = handler
        self.task = folder / "task"
        self.log_path = folder / "function.log"
        self._runtime = folder / "runtime"
        with zipfile.ZipFile(io.BytesIO(package or build_package())) as opened:
            opened.extractall(self.task)
        _link(self._runtime, (*_BESIDE, *_CLIENT))
        self.environment = {
            "PATH": os.defpath,
            "PYTHONPATH": f"{self.task}{os.pathsep}{self._runtime}",
            "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's own folder can be read only
            "LAMBDA_TASK_ROOT": str(self.task),
            "AWS_LAMBDA_RUNTIME_API": service.address,
            "AWS_LAMBDA_FUNCTION_NAME": ARN.rpartition(":")[2],
            "AWS_ENDPOINT_URL_LAMBDA": f"http://{service.address}",
            **environment,
        }
        self._instances: list[subprocess.Popen[bytes]] = []
        self._started = 0

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start an instance; each has a disk of its own."""
        disk = self.task.parent / f"disk{self._started}"
        disk.mkdir()
        self._started += 1
        # Where calls of AWS are recorded, so are this one's, which starts without what records the others.
        start = str(aws_calls.__file__) if aws_calls.FILE in self.environment else "-m"
        command = [*self.python(), start, "awslambdaric", self.handler]
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.task,
                env={**self.environment, "MODEL_DIR": str(disk)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._instances.append(process)

    def python(self) -> list[str]:
        """A Python that has nothing but the standard library and what the environment names."""
        return [sys.executable, "-S"]

    def stop(self) -> None:
        """End all instances at once, as Lambda does."""
        for process in self._instances:
            process.kill()
            process.wait()
        self._instances.clear()


def _link(folder: Path, distributions: tuple[str, ...]) -> None:
    """The installed distributions, and none of those beside them."""
    folder.mkdir()
    for name in distributions:
        for file in importlib.metadata.files(name) or ():
            top = file.parts[0]
            link = folder / top
            if top not in {"..", "__pycache__"} and not top.endswith(".dist-info") and not link.exists():
                link.symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)
