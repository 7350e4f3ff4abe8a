"""Requests and answers of the model server, without a socket."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.util import setup_testing_defaults

import numpy as np
import pytest
import torch
from PIL import Image

from segmenter import application
from segmenter.application import Application
from segmenter.network import build
from segmenter.predictor import Predictor
from tests.segmenter_job import draw_image, draw_mask


@pytest.fixture(scope="module")
def app():
    torch.manual_seed(0)
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield Application(Predictor(build(3).eval(), 64), executor)


def request(app: Application, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body)}
    environ |= {"CONTENT_LENGTH": str(len(body))} | headers
    setup_testing_defaults(environ)
    started: list[tuple[str, dict[str, str]]] = []
    answer = b"".join(app(environ, lambda status, given, _=None: started.append((status, dict(given)))))  # type: ignore[arg-type]  # the old write() is not offered
    status, given = started[0]
    assert given["Content-Length"] == str(len(answer))
    return int(status[:3]), given["Content-Type"], answer


def invoke(
    app: Application, body: bytes, accept: str = "image/png", kind: str = "image/jpeg"
) -> tuple[int, str, bytes]:
    return request(app, "POST", "/invocations", body, CONTENT_TYPE=kind, HTTP_ACCEPT=accept)


def picture(kind: str = "JPEG", size: tuple[int, int] = (90, 60)) -> bytes:
    buffer = io.BytesIO()
    draw_image(draw_mask(0), 0).resize(size).save(buffer, kind)
    return buffer.getvalue()


def test_ping_answers_once_the_model_is_there(app: Application):
    assert request(app, "GET", "/ping")[0] == 200


@pytest.mark.parametrize(
    ("kind", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("JPEG", "image/jpeg; charset=x")]
)
def test_an_image_becomes_an_indexed_png_of_class_ids_at_its_own_size(app: Application, kind: str, content_type: str):
    status, answered, body = invoke(app, picture(kind), kind=content_type)
    assert (status, answered) == (200, "image/png")
    mask = Image.open(io.BytesIO(body))
    assert (mask.mode, mask.size) == ("P", (90, 60))
    assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}


@pytest.mark.parametrize("accept", ["application/x-protobuf", "application/x-recordio-protobuf"])
def test_probabilities_come_as_a_recordio_record_under_the_name_that_was_asked_for(app: Application, accept: str):
    status, answered, body = invoke(app, picture(), accept=accept)
    assert (status, answered) == (200, accept)
    assert 3 * 60 * 90 * 4 < len(body) < 3 * 60 * 90 * 4 + 64


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        pytest.param("", "image/png", id="nothing said"),
        pytest.param("*/*", "image/png", id="anything"),
        pytest.param("text/html, application/x-protobuf;q=0.5", "application/x-protobuf", id="a list"),
        pytest.param("IMAGE/PNG", "image/png", id="capitals"),
    ],
)
def test_the_first_acceptable_type_is_sent(app: Application, accept: str, answered: str):
    assert invoke(app, picture(), accept=accept)[1] == answered


def test_the_orientation_in_exif_is_applied(app: Application):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    draw_image(draw_mask(0), 0).save(buffer, "JPEG", exif=exif)
    assert Image.open(io.BytesIO(invoke(app, buffer.getvalue())[2])).size == (56, 72)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "reason"),
    [
        pytest.param("GET", "/", {}, 404, "GET /ping or POST /invocations", id="unknown path"),
        pytest.param("POST", "/ping", {}, 405, "/ping answers GET", id="wrong method"),
        pytest.param("GET", "/invocations", {}, 405, "/invocations answers POST", id="no body"),
        pytest.param("POST", "/invocations", {"CONTENT_TYPE": "text/csv"}, 415, "not text/csv", id="not an image type"),
        pytest.param("POST", "/invocations", {}, 415, "image/jpeg or image/png", id="no type"),
        pytest.param(
            "POST",
            "/invocations",
            {"CONTENT_TYPE": "image/jpeg", "HTTP_ACCEPT": "application/json"},
            406,
            "not application/json",
            id="unacceptable",
        ),
        pytest.param("POST", "/invocations", {"CONTENT_TYPE": "image/jpeg"}, 400, "not an image", id="bad bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(
    app: Application, method: str, path: str, headers: dict[str, str], status: int, reason: str
):
    answered, content_type, body = request(app, method, path, b"no picture", **{"CONTENT_TYPE": "", **headers})
    assert (answered, content_type) == (status, "text/plain; charset=utf-8")
    assert reason in body.decode()


def test_probabilities_of_more_pixels_than_one_answer_holds_are_refused(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(application, "MAX_RECORD_VALUES", 1000)
    status, _, body = invoke(app, picture(), accept="application/x-protobuf")
    assert status == 413
    assert b"send a smaller image" in body
    assert invoke(app, picture())[0] == 200
