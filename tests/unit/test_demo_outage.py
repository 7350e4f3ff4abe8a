"""A service that goes away on purpose: it forwards, then hangs, then refuses."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from demo.outage import Forwarder
from demo.ports import HOST
from demo.recorder import Recorder


class Pong(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"pong")

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""


@pytest.fixture(name="forwarder")
def _forwarder() -> Iterator[Forwarder]:
    server = ThreadingHTTPServer((HOST, 0), Pong)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Forwarder(server.server_address[1]) as forwarder:
        yield forwarder
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_forwards_at_first(forwarder: Forwarder):
    assert requests.get(forwarder.url, timeout=5).text == "pong"


def test_hanging_accepts_and_never_answers(forwarder: Forwarder):
    forwarder.hang()

    with pytest.raises(requests.ReadTimeout):
        requests.get(forwarder.url, timeout=0.3)


def test_refusing_does_not_even_accept(forwarder: Forwarder):
    forwarder.hang()
    forwarder.refuse()

    with pytest.raises(requests.ConnectionError):
        requests.get(forwarder.url, timeout=5)


def test_the_recorder_keeps_what_it_is_sent():
    with Recorder() as recorder:
        answer = requests.post(recorder.url, data=b'{"action": "PING"}', timeout=5)

    assert answer.status_code == 200
    assert recorder.bodies == [b'{"action": "PING"}']
