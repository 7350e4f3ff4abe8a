"""The HTTP application: one image in; class ids or class probabilities out."""

import io
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from segmenter import images, recordio
from segmenter.errors import ImageError
from segmenter.images import Pixels, SizeWH
from segmenter.predictor import Predictor

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

IMAGE_TYPES = ("image/jpeg", "image/png")
MASK_TYPE = "image/png"
RECORD_TYPES = ("application/x-protobuf", "application/x-recordio-protobuf")
# A larger answer is refused: nothing reads one, and it would have to be held in memory whole.
MAX_RECORD_VALUES = 64_000_000


class RequestError(Exception):
    """A request that is answered with a status of its own; the message says what was wrong with it."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Application:
    """A WSGI application. The network runs in `executor`, one image at a time, with its own warm threads."""

    predictor: Predictor
    executor: Executor

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        try:
            answer = self._route(environ)
        except RequestError as error:
            answer = _text(error.status, str(error))
        except Exception:
            logger.exception("a request could not be answered")
            answer = _text(HTTPStatus.INTERNAL_SERVER_ERROR, "the model failed on this request; the log says why")
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status.value} {answer.status.phrase}", headers)
        return [answer.body]

    def warm_up(self) -> None:
        """Answer one image, so that the first request finds everything ready."""
        self._mask(Image.new("RGB", (self.predictor.side, self.predictor.side)), (64, 64))

    def _route(self, environ: "WSGIEnvironment") -> Answer:
        routes: dict[str, tuple[str, Callable[[WSGIEnvironment], Answer]]] = {
            "/ping": ("GET", lambda _: _text(HTTPStatus.OK, "")),
            "/invocations": ("POST", self._invocation),
        }
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path not in routes:
            raise RequestError(HTTPStatus.NOT_FOUND, f"{path} is not known here: GET /ping or POST /invocations")
        wanted, answer = routes[path]
        if method != wanted:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} answers {wanted}, not {method}")
        return answer(environ)

    def _invocation(self, environ: "WSGIEnvironment") -> Answer:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        _check_content_type(environ.get("CONTENT_TYPE", ""))
        accepted = _accepted(environ.get("HTTP_ACCEPT", ""))
        try:
            image, size = images.decode(body, side=self.predictor.side)
        except ImageError as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"the body is {error}") from error
        if accepted == MASK_TYPE:
            return Answer(HTTPStatus.OK, accepted, self._mask(image, size))
        return Answer(HTTPStatus.OK, accepted, self._record(image, size))

    def _mask(self, image: Image.Image, size: SizeWH) -> bytes:
        return _png(self.executor.submit(self.predictor.class_ids, image, size).result())

    def _record(self, image: Image.Image, size: SizeWH) -> bytes:
        classes = self.predictor.network.num_classes
        if classes * size[0] * size[1] > MAX_RECORD_VALUES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{classes} probabilities for each of {size[0]} x {size[1]} pixels are more than the "
                f"{MAX_RECORD_VALUES:,} values of one answer: send a smaller image, or ask for {MASK_TYPE}",
            )
        probabilities = self.executor.submit(self.predictor.probabilities, image, size).result()
        return recordio.encode(probabilities[np.newaxis])


def _check_content_type(header: str) -> None:
    kind = header.partition(";")[0].strip().lower()
    if kind not in IMAGE_TYPES:
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type should be {' or '.join(IMAGE_TYPES)}, not {kind or 'missing'}",
        )


def _accepted(header: str) -> str:
    """The first type of the Accept header that can be made; class ids where the header leaves it open."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in (header or "*/*").split(",")]
    for kind in kinds:
        if kind in (MASK_TYPE, *RECORD_TYPES):
            return kind
        if kind in ("*/*", "image/*"):
            return MASK_TYPE
    raise RequestError(
        HTTPStatus.NOT_ACCEPTABLE, f"Accept should be {MASK_TYPE} or {' or '.join(RECORD_TYPES)}, not {header}"
    )


def _png(ids: Pixels) -> bytes:
    """An indexed PNG whose pixel values are the class ids."""
    image = Image.fromarray(ids)
    image.putpalette(_palette())  # makes it mode P; the values stay
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _palette() -> bytes:
    """Colours that tell neighbouring ids apart: an id's lowest bits become the highest of red, green and blue."""
    ids = np.arange(256)
    channels = [sum(((ids >> (3 * level + shift)) & 1) << (7 - level) for level in range(3)) for shift in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8).tobytes()


def _text(status: HTTPStatus, message: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", (message + "\n" if message else "").encode())
