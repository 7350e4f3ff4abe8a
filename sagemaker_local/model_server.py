"""One model server: a process that answers /ping and /invocations on a loopback port, kept alive."""

from __future__ import annotations

import http.client
import logging
import queue
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_local.errors import JobError
from sagemaker_local.processes import Process, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

_MOST_RESTARTS = 5
_STABLE_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Program:
    """How to run a model server."""

    command: tuple[str, ...]
    folder: Path
    log: Path
    environment: Mapping[str, str]
    startup_s: float
    grace_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ModelServer:
    """Starts the program, waits for /ping, restarts it when it dies, and passes invocations on."""

    def __init__(self, program: Program, *, on_failure: Callable[[str], None]) -> None:
        self._program = program
        self._on_failure = on_failure
        self._process: Process | None = None
        self._port = 0
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._ready = threading.Event()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="model-server", daemon=True)

    def start(self) -> None:
        """Start and wait until /ping answers; JobError if it does not in time."""
        try:
            self._start_process()
        except JobError:
            self.close()
            raise
        self._watcher.start()

    def close(self) -> None:
        """End the process."""
        self._closed.set()
        self._ready.clear()
        if self._process:
            self._process.end()
        self._close_connections()

    def invoke(self, body: bytes, headers: Mapping[str, str], *, timeout_s: float, ready_s: float) -> Answer:
        """POST /invocations. TimeoutError or OSError if the server does not answer."""
        if not self._ready.wait(ready_s):
            raise ConnectionError("the model server is being started")
        connection, reused = self._connection(timeout_s)
        try:
            answer = _post(connection, body, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            if not reused:
                raise
            connection = self._new_connection(timeout_s)  # the server had closed an idle connection
            answer = _post(connection, body, headers)
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return answer

    def _start_process(self) -> None:
        program = self._program
        self._port = free_port()
        own = {"SAGEMAKER_BIND_TO_PORT": str(self._port), "SEGMENTER_BIND_HOST": "127.0.0.1"}
        self._process = Process.start(
            program.command,
            folder=program.folder,
            log=program.log,
            environment={**program.environment, **own},
            grace_s=program.grace_s,
        )
        self._wait_for_ping(self._process)
        self._ready.set()

    def _wait_for_ping(self, process: Process) -> None:
        deadline = time.monotonic() + self._program.startup_s
        while not self._closed.wait(_POLL_S):
            code = process.exit_code()
            if code is not None:
                raise JobError(f"the model server ended with exit code {code} before /ping answered")
            if self._answers_ping():
                return
            if time.monotonic() > deadline:
                raise JobError(f"the model server did not answer /ping within {self._program.startup_s:g} s")
        raise JobError("the model server was stopped while it started")

    def _answers_ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _watch(self) -> None:
        """Restart the process when it dies; report failure when it keeps dying."""
        restarts, since = 0, time.monotonic()
        while not self._closed.wait(_POLL_S):
            code = self._process.exit_code() if self._process else None
            if code is None:
                continue
            self._ready.clear()
            restarts = 1 if time.monotonic() - since > _STABLE_S else restarts + 1
            reason = f"the model server ended with exit code {code}"
            since = time.monotonic()
            if not self._restart(restarts, reason):
                return

    def _restart(self, restarts: int, reason: str) -> bool:
        if restarts > _MOST_RESTARTS:
            self._on_failure(f"{reason}, {_MOST_RESTARTS} restarts within a minute each did not help")
            return False
        logger.warning("%s; restart %s of %s", reason, restarts, _MOST_RESTARTS)
        self._close_connections()
        try:
            self._start_process()
        except JobError as error:
            if self._process:
                self._process.end()
            if self._closed.is_set():
                return False
            logger.warning("restart failed: %s", error)
        return True

    def _connection(self, timeout_s: float) -> tuple[http.client.HTTPConnection, bool]:
        try:
            return self._idle.get_nowait(), True
        except queue.Empty:
            return self._new_connection(timeout_s), False

    def _new_connection(self, timeout_s: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _close_connections(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return


def _post(connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> Answer:
    connection.request("POST", "/invocations", body=body, headers=dict(headers))
    response = connection.getresponse()
    return Answer(status=response.status, headers=dict(response.headers.items()), body=response.read())
