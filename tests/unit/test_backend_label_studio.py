"""The adapter to Label Studio, against a server that answers what was put in."""

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backend.errors import ImageAwayError, ImageError, LabelStudioError
from backend.label_studio import LabelStudio, basic_authorization, download

Answer = tuple[int, bytes, dict[str, str]]


class Server(ThreadingHTTPServer):
    """Remembers requests and answers with *answer*."""

    answer: Callable[[str], Answer] = staticmethod(lambda _path: (404, b"{}", {}))
    requests: list[tuple[str, str | None]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        status, body, headers = self.server.answer(self.path)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.requests = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def studio(server: Server) -> LabelStudio:
    return LabelStudio(server.url + "/", "0123456789abcdef0123456789abcdef01234567")


def test_an_upload_is_fetched_with_the_token(server: Server, studio: LabelStudio):
    server.answer = lambda _path: (200, b"photo", {})

    assert studio.fetch("/data/upload/3/a%20b.jpg", task=7, limit=10) == b"photo"
    assert server.requests == [("/data/upload/3/a%20b.jpg", "Token 0123456789abcdef0123456789abcdef01234567")]


@pytest.mark.parametrize(
    ("connected", "found"),
    [
        pytest.param("http://backend:9090", True, id="ours"),
        pytest.param("http://user:pass@backend:9090/", True, id="ours, with a password in its address"),
        pytest.param("http://sam:9090", False, id="somebody else's"),
        pytest.param("http://backend:9091", False, id="another port"),
        pytest.param("http://backend:9090/other", False, id="another path"),
    ],
)
def test_only_the_backend_at_our_own_address_is_taken_as_ours(
    server: Server, studio: LabelStudio, connected: str, found: bool
):
    row = {"id": 5, "url": connected, "title": "Birds", "project": 3, "state": "CO"}
    server.answer = lambda _path: (200, json.dumps([row]).encode(), {})

    assert (studio.ml_backend(3, "http://backend:9090") is not None) is found
    assert studio.ml_backend(3, "") is None


def test_an_error_shows_neither_a_signature_nor_a_password(server: Server):
    server.answer = lambda _path: (404, b"", {})

    with pytest.raises(ImageError) as caught:
        download(f"http://me:secret@127.0.0.1:{server.server_port}/a.jpg?X-Amz-Signature=secret", limit=10)

    assert "secret" not in str(caught.value)
    assert "a.jpg: 404" in str(caught.value)


def test_a_cloud_address_is_resolved_by_label_studio(server: Server, studio: LabelStudio):
    server.answer = lambda _path: (200, b"photo", {})

    assert studio.fetch("s3://closed/é #1.jpg", task=7, limit=10) == b"photo"
    assert server.requests[0][0].startswith("/tasks/7/resolve/?fileuri=")
    with pytest.raises(ImageError, match="wanted a task"):
        studio.fetch("s3://closed/x.jpg", task=None, limit=10)


def test_the_token_is_not_given_to_another_host(server: Server, studio: LabelStudio):
    port = server.server_port
    redirect = {"Location": f"http://localhost:{port}/elsewhere"}
    server.answer = lambda path: (200, b"photo", {}) if path == "/elsewhere" else (303, b"", redirect)

    assert studio.fetch("/data/x.jpg", task=7, limit=10) == b"photo"
    assert server.requests[-1] == ("/elsewhere", None)


@pytest.mark.parametrize(
    ("status", "away"), [(404, False), (410, False), (401, True), (429, True), (500, True), (503, True)]
)
def test_what_is_gone_is_gone_and_anything_else_may_be_had_later(
    server: Server, studio: LabelStudio, status: int, away: bool
):
    server.answer = lambda _path: (status, b"{}", {})

    with pytest.raises(ImageError, match=str(status)) as uploaded:
        studio.fetch("/data/x.jpg", task=7, limit=10)
    with pytest.raises(ImageError, match=str(status)) as linked:
        download(f"{server.url}/x", limit=10)

    assert isinstance(uploaded.value, ImageAwayError) is isinstance(linked.value, ImageAwayError) is away


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.jpg", "http://no-such-host.invalid/x.jpg"])
def test_a_host_that_does_not_answer_may_answer_later(url: str):
    with pytest.raises(ImageAwayError, match="cannot fetch"):
        download(url, limit=10)


def test_an_address_that_is_none_is_an_image_error():
    with pytest.raises(ImageError) as caught:
        download("http://[::1/x.jpg", limit=10)

    assert not isinstance(caught.value, ImageAwayError)


def test_a_file_that_is_too_large_is_not_read_to_its_end(server: Server):
    server.answer = lambda _path: (200, b"x" * 2**21, {})

    with pytest.raises(ImageError, match="is larger than 1 MB"):
        download(f"{server.url}/x", limit=2**20)


class Tasks:
    """Label Studio's list of tasks that wait for a prediction, by their ids."""

    def __init__(self, count: int) -> None:
        self.waiting = list(range(1, count + 1))

    def __call__(self, path: str) -> Answer:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        asked = json.loads(query["query"][0])
        assert (query["page"], asked["ordering"]) == (["1"], ["tasks:id"])
        after = next(each["value"] for each in asked["filters"]["items"] if each["filter"] == "filter:tasks:id")
        found = [number for number in self.waiting if number > after][: int(query["page_size"][0])]
        tasks = [{"id": number, "data": {"image": "/a.jpg"}} for number in found]
        body = {"tasks": tasks, "total": len(self.waiting), "total_annotations": 0, "total_predictions": 0}
        return 200, json.dumps(body).encode(), {}


@pytest.mark.parametrize("count", [0, 1, 100, 250])
@pytest.mark.parametrize("failing", [0, 1, 99, 100, 250])
def test_all_waiting_tasks_come_once_whichever_of_them_get_a_prediction(
    server: Server, studio: LabelStudio, count: int, failing: int
):
    server.answer = tasks = Tasks(count)
    seen: list[int] = []

    for page in studio.waiting_tasks(3, "birds v1"):
        seen.extend(task["id"] for task in page)
        tasks.waiting = [number for number in tasks.waiting if number not in seen or number <= failing]

    assert seen == list(range(1, count + 1))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param((401, b'{"detail": "Invalid token."}', {}), "refuses the token", id="wrong token"),
        pytest.param((404, b'{"detail": "No Project matches"}', {}), "404: No Project matches", id="no such project"),
        pytest.param(
            (200, b"<html>", {"Content-Type": "text/html"}), "does not speak Label Studio's API", id="no JSON"
        ),
    ],
)
def test_what_label_studio_refuses_is_told(server: Server, studio: LabelStudio, answer: Answer, problem: str):
    server.answer = lambda _path: answer

    with pytest.raises(LabelStudioError, match=problem):
        studio.project(3)


def test_when_label_studio_is_away_it_says_so():
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        LabelStudio("http://127.0.0.1:9", "0123456789abcdef").annotated_tasks(3)


def test_basic_authorization_is_what_label_studio_sends():
    assert basic_authorization("mluser", "mlpass") == "Basic bWx1c2VyOm1scGFzcw=="
