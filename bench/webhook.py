"""The Lambda function's answer to a webhook, in Lambda's own runtime client on one core: at once, and the first."""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import tempfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.terminal import counted, say
from tests.fakes import aws_event, recorded
from tests.infra import templates
from tests.lambda_runtime import Function, LambdaService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTS = 10
CALLS = 200
NOWHERE = "http://127.0.0.1:9"
ROLE = "arn:aws:iam::111122223333:role/bench"
SECRET = {"BASIC_AUTH_USER": "label-studio", "BASIC_AUTH_PASS": "bench"}
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}


def measure() -> dict[str, Any]:
    """The part `webhook` of the results: ms of the first answer of an instance that starts, and of the later ones."""
    with _one_core():
        authorizer, trigger = _authorizer(), _trigger()
    say(
        f"webhook: {authorizer['warm_ms']} + {trigger['warm_ms']} ms, "
        f"by new instances {authorizer['cold_ms']} + {trigger['cold_ms']} ms"
    )
    return {"authorizer": authorizer, "trigger": trigger, "allowed_ms": 1000}


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """As much as infra/trigger.yaml asks for; what stands in for AWS runs on it, too."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _trigger() -> dict[str, float]:
    """The function that counts; what it leaves for later finds no S3 and is over soon."""
    event = aws_event("api_gateway_webhook") | {"httpMethod": "POST", "path": "/webhook", "resource": "/webhook"}
    event["body"] = json.dumps(recorded("webhook_ANNOTATION_CREATED_four_polygons_s3"))
    settings = {"S3_BUCKET": "bench", "SAGEMAKER_ROLE_ARN": ROLE}
    nowhere = {"AWS_ENDPOINT_URL_S3": NOWHERE, "AWS_ENDPOINT_URL_SAGEMAKER": NOWHERE}

    def made(folder: Path, service: LambdaService) -> Function:
        return Function(folder, service, {**ACCOUNT, **settings, **nowhere})

    return _timed("trigger", made, event, is_right=lambda answer: answer.get("statusCode") == 201)


def _authorizer() -> dict[str, float]:
    """The function that checks the password, which it fetches first."""
    code = templates.resources(templates.load("trigger"), "AWS::Lambda::Function")["AuthorizerFunction"]["Code"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as opened:
        opened.writestr("index.py", code["ZipFile"])
    event = {
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:us-east-1:111122223333:a1b2c3/v1/POST/webhook",
        "headers": {"Authorization": "Basic bGFiZWwtc3R1ZGlvOmJlbmNo"},
        "requestContext": {"identity": {"sourceIp": "203.0.113.7"}},
    }
    with _secrets() as url:
        settings = {"SECRET_ARN": "bench", "ALLOWED_IPS": "", "AWS_ENDPOINT_URL_SECRETS_MANAGER": url}

        def made(folder: Path, service: LambdaService) -> Function:
            environment = {**ACCOUNT, **settings}
            return Function(folder, service, environment, package=package.getvalue(), handler="index.handler")

        return _timed("authorizer", made, event, is_right=lambda answer: '"Allow"' in json.dumps(answer))


def _timed(
    name: str,
    make: Callable[[Path, LambdaService], Function],
    event: dict[str, Any],
    *,
    is_right: Callable[[dict[str, Any]], bool],
) -> dict[str, float]:
    """From the start of an instance's process to its first answer, and from a call to its answer; medians and worst."""
    warm: list[float] = []
    cold = []
    for _ in counted(range(STARTS), f"webhook: {name} started"):
        with _function(make) as function:
            cold.append(_ms(function, event, is_right=is_right, first=True))
            warm += [_ms(function, event, is_right=is_right) for _ in range(CALLS // STARTS)]
    return {
        "cold_ms": round(statistics.median(cold), 1),
        "cold_ms_max": round(max(cold), 1),
        "warm_ms": round(statistics.median(warm), 1),
        "warm_ms_p95": round(statistics.quantiles(warm, n=20)[-1], 1),
    }


@contextlib.contextmanager
def _function(make: Callable[[Path, LambdaService], Function]) -> Iterator[Function]:
    """A function without an instance. Its Lambda is its own: another would wait for those that were ended."""
    service = LambdaService()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            function = make(Path(folder), service)
            try:
                yield function
            finally:
                function.stop()
    finally:
        service.close()


def _ms(
    function: Function, event: dict[str, Any], *, is_right: Callable[[dict[str, Any]], bool], first: bool = False
) -> float:
    """Until *event* is answered, by an instance that is started for it if it is the *first*."""
    began = time.monotonic()
    invocation = function.service.put(event)
    if first:
        function.start()
    if not invocation.done.wait(60):
        raise BenchError(f"the function did not answer: {function.log[-500:]}")
    took = time.monotonic() - began
    if not is_right(invocation.answer or {}):
        raise BenchError(f"wanted the usual answer, got {invocation.answer or invocation.error}")
    function.service.wait_until_idle()
    return took * 1000


@contextlib.contextmanager
def _secrets() -> Iterator[str]:
    """The address of a Secrets Manager that knows one secret."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Secret)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Secret(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"SecretString": json.dumps(SECRET)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""
