"""HTTP: routes, authentication, AWS's shapes of errors."""

from __future__ import annotations

import json
import logging
import re
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from sagemaker_local.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sagemaker_local.service import Service

logger = logging.getLogger(__name__)

MOST_BODY_BYTES = 32 * 1024 * 1024
_JSON = "application/x-amz-json-1.1"
_INVOCATION = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/invocations")
_LOG = re.compile(r"/logs/(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)")
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

StartResponse = Any
Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back to the client."""

    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Application:
    """The WSGI application: SageMaker and its runtime behind one port."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; whatever happens, the client gets an answer of AWS's shape."""
        request_id = str(uuid.uuid4())
        try:
            response = self._respond(environ)
        except ApiError as error:
            response = _error_response(error)
        except Exception:
            logger.exception("request %s: a fault of sagemaker_local", request_id)
            message = f"A fault of sagemaker_local; its own log has the details under {request_id}."
            response = _error_response(ApiError("InternalFailure", message, status=500))
        headers = {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
        headers |= {"x-amzn-RequestId": request_id, **response.headers}
        start_response(_status_line(response.status), list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

    def _respond(self, environ: Environ) -> Response:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/livez":
            return Response(b"ok\n", "text/plain")
        # No secret is checked. But no web page can make a browser send this header to another origin unasked.
        if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4-HMAC-SHA256 "):
            raise ApiError("MissingAuthenticationToken", "Missing Authentication Token", status=403)
        log = _LOG.fullmatch(path)
        if method == "GET" and log:
            return self._log(log["name"])
        if method != "POST":
            raise ApiError("UnknownOperationException", f"{method} {path} is not known here", status=404)
        return self._post(path, environ)

    def _post(self, path: str, environ: Environ) -> Response:
        body = _read_body(environ)
        invocation = _INVOCATION.fullmatch(path)
        if invocation:
            return self._invoke(unquote(invocation["endpoint"]), body, environ)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if path == "/" and target.startswith("SageMaker."):
            return Response(self._service.answer(target.removeprefix("SageMaker."), body), _JSON)
        if path == "/" and parse_qs(body[:1000].decode(errors="replace")).get("Action") == ["GetCallerIdentity"]:
            return self._caller_identity()
        raise ApiError(
            "UnknownOperationException", f"sagemaker_local does not know POST {path} {target}".strip(), status=404
        )

    def _invoke(self, endpoint: str, body: bytes, environ: Environ) -> Response:
        headers = {"Content-Type": environ.get("CONTENT_TYPE") or "application/octet-stream"}
        headers |= {"Accept": environ["HTTP_ACCEPT"]} if "HTTP_ACCEPT" in environ else {}
        attributes = environ.get("HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES")
        headers |= {_CUSTOM_ATTRIBUTES: attributes} if attributes else {}
        target = environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT")
        variant, answer = self._service.invocations.invoke(endpoint, body, headers, target)
        lower = {key.lower(): value for key, value in answer.headers.items()}
        back = {"x-Amzn-Invoked-Production-Variant": variant}
        if _CUSTOM_ATTRIBUTES.lower() in lower:
            back[_CUSTOM_ATTRIBUTES] = lower[_CUSTOM_ATTRIBUTES.lower()]
        return Response(answer.body, lower.get("content-type", "application/octet-stream"), headers=back)

    def _log(self, name: str) -> Response:
        path = self._service.settings.log_path(name)
        if not path.is_file():
            raise ApiError("ResourceNotFound", f"There is no log of {name!r}", status=404)
        return Response(path.read_bytes(), "text/plain; charset=utf-8")

    def _caller_identity(self) -> Response:
        account = self._service.names.account
        xml = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>arn:aws:iam::{account}:root</Arn><UserId>{account}</UserId><Account>{account}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>"
        )
        return Response(xml.encode(), "text/xml")


def _read_body(environ: Environ) -> bytes:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise ApiError("SerializationException", "Content-Length is not a number") from error
    if length > MOST_BODY_BYTES:
        message = f"The body has {length} bytes; {MOST_BODY_BYTES} are allowed"
        raise ApiError("RequestEntityTooLarge", message, status=413)
    body: bytes = environ["wsgi.input"].read(length)
    return body


def _error_response(error: ApiError) -> Response:
    """The code goes into the body for the JSON protocol and into a header for the runtime's."""
    body = {"__type": error.code, "message": error.message, "Message": error.message, **error.members}
    headers = {"x-amzn-ErrorType": error.code}
    return Response(json.dumps(body).encode(), _JSON, status=error.status, headers=headers)


def _status_line(status: int) -> str:
    known = {item.value: item.phrase for item in HTTPStatus}
    return f"{status} {known.get(status, 'Unknown')}"


def make_http_server(application: Callable[..., Iterable[bytes]], *, host: str, port: int) -> Any:  # noqa: ANN401 - cheroot has no types
    """A cheroot server with keep-alive and without Nagle's algorithm."""
    from cheroot.wsgi import Server  # noqa: PLC0415 - only who serves needs it

    server = Server((host, port), application, numthreads=24, request_queue_size=128, timeout=30)
    server.nodelay = True
    server.max_request_body_size = MOST_BODY_BYTES + 1024
    server.server_name = "sagemaker_local"
    return server
