"""Many tasks in one request, by an endpoint that hangs, refuses or breaks: a real server behind the real adapter."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backend.aws import Aws
from backend.errors import OutOfTimeError
from backend.image_cache import PreparedImage
from backend.predictor import Outcome, Predictor
from tests import fakes
from tests.fakes import FakeImages, photo
from tests.unit.test_backend_predictor import CONFIG, LIVE, half_head, size_of, tasks

LATE = 60.0  # seconds that no test waits for
BULK = 350
OTHER = (100, 80)  # the size of an image that the endpoint may treat otherwise
Answer = tuple[int, str, bytes]  # status, the error's name, body


class Endpoint(ThreadingHTTPServer):
    """Answers as *answer* says; it is given the image and how many it has at this moment, this one included."""

    daemon_threads = True
    answer: Callable[[bytes, int], Answer]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Invocation)
        self.lock = threading.Lock()
        self.now = self.most = self.asked = 0
        self.came = threading.Semaphore(0)
        self.release = threading.Event()

    def seen(self, jpeg: bytes) -> Answer:
        return 200, "", half_head(jpeg, "application/x-protobuf")

    def hang(self) -> Answer:
        self.release.wait(LATE)
        return 500, "InternalFailure", b""


class Invocation(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # in one piece: the kernel holds back a second small one for a while

    def do_POST(self) -> None:
        jpeg = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.asked += 1
            self.server.now += 1
            now = self.server.now
            self.server.most = max(self.server.most, now)
        self.server.came.release()
        try:
            status, error, body = self.server.answer(jpeg, now)
        finally:
            with self.server.lock:
                self.server.now -= 1
        self.send_response(status)
        if error:
            body = json.dumps({"Message": f"{error}!", "OriginalStatusCode": 503}).encode()
            self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked waits no more
            super().finish()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    made.answer = lambda jpeg, _now: made.seen(jpeg)
    made.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked waits no more
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.release.set()
    made.shutdown()
    thread.join()
    made.server_close()


class SomeHang(FakeImages):
    """Images of which some lie on a server that hangs."""

    release: threading.Event

    def prepared(self, reference: str, *, project: int, side: int, task: int | None = None) -> PreparedImage:
        if reference.startswith("/hangs"):
            self.release.wait(LATE)
        return super().prepared(reference, project=project, side=side, task=task)


Predict = Callable[..., list[Outcome]]


@pytest.fixture
def predicting(tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Predict]]:
    """Makes predictors whose requests have so much time, as they are set up."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{endpoint.server_port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    clouds: list[Aws] = []

    def make(timeout: float) -> Predict:
        settings = fakes.settings(tmp_path, predict_timeout_seconds=timeout)
        clouds.append(Aws(settings))
        images = SomeHang({f"/{number}.jpg": photo(16, 12) for number in range(BULK)} | {"/other.jpg": photo(*OTHER)})
        images.release = endpoint.release
        predictor = Predictor(settings, inference=clouds[-1], images=images)

        def predict(*references: object, seconds: float = LATE) -> list[Outcome]:
            deadline = time.monotonic() + seconds
            return predictor.predict(tasks(*references), config=CONFIG, state=LIVE, deadline=deadline)

        return predict

    yield make
    endpoint.release.set()
    for cloud in clouds:
        cloud._runtime.close()


@pytest.fixture
def predict(predicting: Callable[..., Predict]) -> Predict:
    return predicting(LATE)


EVERY = [f"/{number}.jpg" for number in range(BULK)]


def test_all_are_predicted_and_no_more_at_once_than_the_setting_says(predict: Predict, endpoint: Endpoint):
    outcomes = predict(*EVERY)

    assert all(each.item for each in outcomes)
    assert endpoint.asked == len(outcomes) == BULK
    assert endpoint.most <= 4


def test_an_endpoint_that_hangs_is_not_waited_for_longer_than_the_deadline(predict: Predict, endpoint: Endpoint):
    endpoint.answer = lambda _jpeg, _now: endpoint.hang()

    outcomes = predict(*EVERY, seconds=0.5)

    assert not endpoint.release.is_set()  # it hangs still
    assert [(each.item, each.retry) for each in outcomes] == [({}, True)] * BULK


def test_a_call_that_hangs_is_given_up_soon_after_its_request(predicting: Callable[..., Predict], endpoint: Endpoint):
    """So threads do not gather, however often somebody asks."""
    endpoint.answer = lambda _jpeg, _now: endpoint.hang()
    before = set(threading.enumerate())
    predicting(1)(*EVERY, seconds=0.1)

    for thread in set(threading.enumerate()) - before:
        if thread.name == "predict":
            thread.join(LATE)
            assert not thread.is_alive()
    assert not endpoint.release.is_set()


def test_a_request_is_not_kept_waiting_by_another_whose_calls_hang(predict: Predict, endpoint: Endpoint):
    endpoint.answer = lambda jpeg, _now: endpoint.seen(jpeg) if size_of(jpeg) == OTHER else endpoint.hang()
    bulk = threading.Thread(target=lambda: predict(*EVERY, seconds=LATE / 2))
    bulk.start()
    for _ in range(4):  # all that the setting allows
        assert endpoint.came.acquire(timeout=LATE)

    (opened,) = predict("/other.jpg")

    assert not endpoint.release.is_set()
    assert opened.item
    endpoint.answer = lambda jpeg, _now: endpoint.seen(jpeg)
    endpoint.release.set()
    bulk.join(LATE)


def test_an_endpoint_that_is_broken_gives_empty_items(predict: Predict, endpoint: Endpoint):
    endpoint.answer = lambda _jpeg, _now: (500, "InternalFailure", b"")

    outcomes = predict(*EVERY)

    assert [(each.item, each.retry) for each in outcomes] == [({}, True)] * BULK
    assert endpoint.asked == BULK


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, "ThrottlingException", id="throttled"),
        pytest.param(429, "ModelNotReadyException", id="a model that is not loaded"),
        pytest.param(503, "ServiceUnavailable", id="no capacity"),
        pytest.param(424, "ModelError", id="its container takes no more"),
        pytest.param(429, "", id="a bare status"),
    ],
)
def test_an_endpoint_that_takes_fewer_gets_fewer_and_all_are_predicted(
    predict: Predict, endpoint: Endpoint, status: int, error: str
):
    refused = []

    def answer(jpeg: bytes, now: int) -> Answer:
        if now <= 2:
            time.sleep(0.002)
            return endpoint.seen(jpeg)
        refused.append(now)
        return status, error, b""

    endpoint.answer = answer

    outcomes = predict(*EVERY[:60])

    assert refused
    assert all(each.item for each in outcomes)


def test_an_endpoint_that_wakes_up_is_asked_until_it_answers(predict: Predict, endpoint: Endpoint):
    endpoint.answer = lambda jpeg, _now: (
        (429, "ModelNotReadyException", b"") if endpoint.asked < 4 else endpoint.seen(jpeg)
    )

    (outcome,) = predict("/0.jpg")

    assert outcome.item
    assert endpoint.asked == 4


def test_an_endpoint_that_takes_none_is_not_asked_beyond_the_deadline(predict: Predict, endpoint: Endpoint):
    endpoint.answer = lambda _jpeg, _now: (429, "ThrottlingException", b"")

    outcomes = predict(*EVERY, seconds=1)

    assert [(each.item, each.retry) for each in outcomes] == [({}, True)] * BULK
    assert endpoint.asked < BULK


def test_one_bad_task_harms_no_other(predict: Predict, endpoint: Endpoint):
    bad: list[Any] = ["/missing.jpg", None, 5, "", "gopher://x", {"a": 1}]

    outcomes = predict(*bad, *EVERY, *bad)

    assert [bool(each.item) for each in outcomes] == [False] * 6 + [True] * BULK + [False] * 6


def test_images_on_a_server_that_hangs_harm_no_other(predict: Predict, endpoint: Endpoint):
    hanging = [f"/hangs/{number}.jpg" for number in range(8)]

    outcomes = predict(*hanging, *EVERY[:50], seconds=3)

    assert [bool(each.item) for each in outcomes] == [False] * 8 + [True] * 50


def test_an_image_at_which_the_endpoint_hangs_harms_no_other(predict: Predict, endpoint: Endpoint):
    answered = []

    def answer(jpeg: bytes, _now: int) -> Answer:
        if size_of(jpeg) == OTHER:
            return endpoint.hang()
        answered.append(jpeg)
        return endpoint.seen(jpeg)

    endpoint.answer = answer

    hanging, *others = predict("/other.jpg", *EVERY[:50], seconds=3)

    assert hanging.item == {}
    assert isinstance(hanging.error, OutOfTimeError)
    assert [bool(each.item) for each in others] == [True] * 50


def test_requests_for_one_image_make_one_call(predict: Predict, endpoint: Endpoint):
    def answer(jpeg: bytes, _now: int) -> Answer:
        endpoint.release.wait(LATE)
        return endpoint.seen(jpeg)

    endpoint.answer = answer
    got: list[Outcome] = []
    first = threading.Thread(target=lambda: got.extend(predict("/0.jpg", "/0.jpg")))
    first.start()
    assert endpoint.came.acquire(timeout=LATE)

    (second,) = predict("/0.jpg", seconds=0.3)  # it has less time than the call takes, and makes none of its own

    assert (second.item, second.retry, endpoint.asked) == ({}, True, 1)
    endpoint.release.set()
    first.join(LATE)
    assert [bool(each.item) for each in got] == [True, True]
    assert endpoint.asked == 1
