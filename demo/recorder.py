"""A second receiver of a project's webhooks, which keeps what Label Studio sends, to be sent again later."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from demo.ports import HOST

if TYPE_CHECKING:
    from socketserver import BaseServer


class Recorder:
    """An HTTP server that answers 200 and keeps the bodies; use it in a `with` block."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self.bodies))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where Label Studio sends the events."""
        return f"http://{HOST}:{self._server.server_address[1]}/webhook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(bodies: list[bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Keeps one body."""

        def __init__(self, request: object, client_address: object, server: BaseServer) -> None:
            super().__init__(request, client_address, server)  # type: ignore[arg-type]  # the socket types of typeshed

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            bodies.append(self.rfile.read(length))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name is http.server's
            """Say nothing."""

    return Handler
