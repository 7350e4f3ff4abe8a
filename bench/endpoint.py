"""`python -m bench.endpoint FOLDER SECONDS`: InvokeEndpoint that answers after a while, and S3 that has one photo.

FOLDER has `image.jpg`, which is what every GET answers, and `answer.recordio`, which is what every POST does. The port
is written to the standard output; it ends when its input does.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Endpoint(BaseHTTPRequestHandler):
    """One connection, kept open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, *arguments: object, image: bytes, answer: bytes, seconds: float) -> None:
        self.image = image
        self.answer = answer
        self.seconds = seconds
        super().__init__(*arguments)  # type: ignore[arg-type]  # what socketserver passes

    def do_GET(self) -> None:  # as http.server calls it
        """The photo, whatever the key."""
        self._send(self.image, "image/jpeg")

    def do_POST(self) -> None:
        """The answer, after a while."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.seconds)
        self._send(self.answer, "application/x-protobuf")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-Amzn-Invoked-Production-Variant", "v1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in http.server
        """Say nothing: the requests are counted by who asks."""


class Server(ThreadingHTTPServer):
    """As many connections as ask."""

    daemon_threads = True
    request_queue_size = 128


def main(arguments: Sequence[str]) -> int:
    """Serve until the input ends."""
    folder, seconds = Path(arguments[0]), float(arguments[1])
    image, answer = (folder / "image.jpg").read_bytes(), (folder / "answer.recordio").read_bytes()
    handler = partial(Endpoint, image=image, answer=answer, seconds=seconds)
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
