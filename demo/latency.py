"""How long the backend takes to answer, asked as Label Studio asks: a new connection for each request."""

from __future__ import annotations

import base64
import http.client
import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo.errors import DemoError
from demo.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUESTS = 300
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """An ML backend with basic auth."""

    url: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Asks one backend, with its basic auth."""

    address: BackendAddress
    port: int
    timeout_s: float = TIMEOUT_S
    _headers: dict[str, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._headers["Authorization"] = basic_auth(self.address.user, self.address.password)
        self._headers["Content-Type"] = "application/json"

    def seconds(self, method: str, path: str, body: bytes | None = None) -> float:
        """The seconds from connecting to the whole answer.

        Raises:
            DemoError: the answer's status is not 2xx, or there was none.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=self.timeout_s)
        start = time.perf_counter()
        try:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            answer.read()
        except OSError as error:
            message = (
                f"{method} {path} of the backend on port {self.port} got no answer: {error or type(error).__name__}"
            )
            raise DemoError(message) from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            message = f"{method} {path} of the backend on port {self.port} answered {answer.status}."
            raise DemoError(message)
        return time.perf_counter() - start

    def p95_ms(self, method: str, path: str, bodies: Sequence[bytes | None] = (None,)) -> float:
        """The 95th percentile of REQUESTS requests one after the other, the bodies taken in turn."""
        samples = [self.seconds(method, path, bodies[number % len(bodies)]) for number in range(REQUESTS)]
        return round(percentile(samples, 95) * 1000, 1)


def basic_auth(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def percentile(samples: Sequence[float], per_cent: float) -> float:
    """The smallest sample that at least *per_cent* per cent of the samples do not exceed (nearest rank).

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        message = "no samples"
        raise ValueError(message)
    rank = math.ceil(len(samples) * per_cent / 100)
    return sorted(samples)[max(0, rank - 1)]


def setup_body(project: int, config: str, hostname: str) -> bytes:
    """What Label Studio 1.23 posts to /setup."""
    body: dict[str, Any] = {
        "project": f"{project}.{int(time.time())}",
        "schema": config,
        "hostname": hostname,
        "access_token": "",
        "extra_params": None,
    }
    return json.dumps(body).encode()
