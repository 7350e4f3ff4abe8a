"""AWS going away on purpose: a forwarder between the backend and a service that can be told to hang or to refuse."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum
from typing import Self

from demo.ports import HOST

CHUNK = 1 << 16


class Mode(Enum):
    """What becomes of a connection."""

    FORWARD = "forward"
    HANG = "hang"
    REFUSE = "refuse"


class Forwarder:
    """Listens on a port of its own and forwards to *target_port* until told otherwise; use it in a `with` block."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._mode = Mode.FORWARD
        self._open: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self._port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The address to give to the backend."""
        return f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def hang(self) -> None:
        """From now on accept connections and never answer; the present ones fall silent as well."""
        self._mode = Mode.HANG

    def refuse(self) -> None:
        """From now on refuse connections; the present ones are cut."""
        self._mode = Mode.REFUSE
        # A close alone would not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(near)
            if self._mode is Mode.FORWARD:
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection((HOST, self._target_port), timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._open.append(far)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._mode is Mode.HANG:
                    return
                sink.sendall(data)
        if self._mode is Mode.FORWARD:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
