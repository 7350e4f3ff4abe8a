"""InvokeEndpoint: a request to a live model server and its answer back, with the runtime's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.hosting import Deployment, Hosting
    from sagemaker_local.model_server import Answer, ModelServer
    from sagemaker_local.state import Store

_READY_S = 5.0
"""How long an invocation waits for a model server that is being restarted."""


class Invocations:
    """Passes requests to the endpoints' model servers."""

    def __init__(self, *, store: Store, hosting: Hosting, account: str, timeout_s: float) -> None:
        self._store = store
        self._hosting = hosting
        self._account = account
        self._timeout_s = timeout_s

    def invoke(self, name: str, body: bytes, headers: Mapping[str, str], target: str | None) -> tuple[str, Answer]:
        """InvokeEndpoint: the variant that answered and its answer; ApiError as the runtime would say it."""
        with self._hosting.deployment(name) as deployment:
            variant, server = self._chosen(name, deployment, target)
            try:
                answer = server.invoke(body, headers, timeout_s=self._timeout_s, ready_s=_READY_S)
            except TimeoutError as error:
                raise _model_error(
                    0,
                    "Your invocation timed out while waiting for a response from container primary.",
                    name,
                ) from error
            except OSError as error:
                raise ApiError("ServiceUnavailable", f"Endpoint {name}: {error}. Try again.", status=503) from error
        if answer.status >= 300:
            raise _model_error(answer.status, answer.body.decode(errors="replace"), name)
        return variant, answer

    def _chosen(self, name: str, deployment: Deployment | None, target: str | None) -> tuple[str, ModelServer]:
        if deployment is None:
            if self._store.get("endpoint", name) and self._status(name) in ("InService", "Updating"):
                raise ApiError("ServiceUnavailable", f"Endpoint {name} is being started. Try again.", status=503)
            message = f"Endpoint {name} of account {self._account} not found."
            raise ApiError("ValidationError", message)
        chosen = deployment.choose(target)
        if chosen is None:
            raise ApiError("ValidationError", f"Variant {target} not found in endpoint {name}.")
        return chosen

    def _status(self, name: str) -> str:
        endpoint = self._store.get("endpoint", name)
        return endpoint["EndpointStatus"] if endpoint else ""


def _model_error(status: int, said: str, endpoint: str) -> ApiError:
    kind = "client" if 400 <= status < 500 else "server"
    message = (
        f'Received {kind} error ({status}) from primary with message "{said[:1024]}". '
        f"See the log endpoint-{endpoint} for more information."
    )
    members = {
        "OriginalStatusCode": status,
        "OriginalMessage": said[:1024],
        "LogStreamArn": f"logs/endpoint-{endpoint}",
    }
    return ApiError("ModelError", message, status=424, members=members)
