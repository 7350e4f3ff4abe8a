"""A web server on this machine that answers what it was told to."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, bytes, dict[str, str]]


class Server(ThreadingHTTPServer):
    """Remembers requests and answers with *answer*."""

    answer: Callable[[str], Answer] = staticmethod(lambda _path: (404, b"{}", {}))
    requests: list[tuple[str, str | None]]  # path and authorization
    cookies: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # in one piece: the kernel holds back a second small one for a while

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        self.server.cookies.append(self.headers.get("Cookie"))
        status, body, headers = self.server.answer(self.path)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # whoever asked may have heard enough
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that listens on loopback."""
    made = Server(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.requests, made.cookies = [], []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
