"""Tasks -> predictions, by the project's endpoint."""

import io
import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.aws import Answer
from backend.config import Settings
from backend.errors import (
    AwsBusyError,
    AwsError,
    BackendError,
    ImageAwayError,
    ImageError,
    LabelConfigError,
    OutOfTimeError,
)
from backend.image_cache import PreparedImage
from backend.images import UNREADABLE
from backend.masks import Segmentation, mask_to_polygons, probabilities_to_polygons
from backend.parallel import Flights, Share, Slots, run_all
from backend.recordio import MEDIA_TYPE, decode_probabilities
from backend.regions import LabelConfig, polygons_to_regions
from backend.simplification import Fidelity
from backend.state import ProjectState

logger = logging.getLogger(__name__)

# InvokeEndpoint's answer ends at 6 MB in the service model; four bytes a class and pixel must stay below that.
MAX_ANSWER_BYTES = 5_500_000
# Below this long side, in pixels, a mask of the full size tells more than probabilities do: with 21 labels or more.
_LEAST_SIDE = 256
# A request's threads beyond its calls: they make images ready meanwhile, and some may hang at servers that do.
_IMAGES_AHEAD = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds before an endpoint that took no more is asked again
Item = dict[str, object]


class Inference(Protocol):
    """What predicting needs of AWS."""

    def invoke(self, project: int, jpeg: bytes, accept: str) -> Answer: ...


class ImageSource(Protocol):
    """Where images come from."""

    def prepared(self, reference: str, *, project: int, side: int, task: int | None = None) -> PreparedImage: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task's prediction: *item* is ``{}`` where there is none, then *error* says why."""

    item: Item
    error: BackendError | None = None

    @property
    def retry(self) -> bool:
        """Whether it is worth asking again: what failed was the endpoint or the way to the image."""
        return isinstance(self.error, AwsError | ImageAwayError)


@dataclass(frozen=True, slots=True)
class _Request:
    """What is the same for all tasks of a request."""

    config: LabelConfig
    state: ProjectState
    share: Share


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the endpoint sees in an image of this size."""

    segmentation: Segmentation
    shown_wh: tuple[int, int]


class Predictor:
    """Predicts tasks in parallel, each on its own: one bad task harms no other.

    Whoever predicts in this process should use the same one, since it knows how much the endpoints take and what is
    under way.
    """

    def __init__(self, settings: Settings, *, inference: Inference, images: ImageSource) -> None:
        self._settings = settings
        self._fidelity = Fidelity(settings.polygon_min_iou, settings.polygon_max_points)
        self._inference = inference
        self._images = images
        self._slots: dict[int, Slots] = {}  # by project, since each has an endpoint of its own
        self._flights: Flights[_Seen] = Flights()
        self._mismatches: dict[int, str] = {}  # by project, as they were last told

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> list[Outcome]:
        """One outcome a task, in order; what is not there at *deadline* (``time.monotonic``) is an empty item.

        So is every task's while the interface has none of the model's labels: a result without regions would say that
        the model saw nothing.
        """
        if mismatch := self._mismatch(config, state):
            return [Outcome({}, LabelConfigError(mismatch)) for _ in tasks]
        threads = self._settings.predict_concurrency + _IMAGES_AHEAD
        with self._slots_of(state).awaited(deadline) as share:
            request = _Request(config, state, share)
            futures = run_all(lambda task: self._predict_one(task, request), tasks, threads=threads, deadline=deadline)
        return [_outcome(future) for future in futures]

    def predict_later(
        self, task: Mapping[str, Any], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> Outcome:
        """The outcome of one of many tasks that nobody waits for, safe to call from many threads.

        It is begun when no :meth:`predict` for the project is under way: what somebody waits for goes first.
        """
        if mismatch := self._mismatch(config, state):
            return Outcome({}, LabelConfigError(mismatch))
        try:
            request = _Request(config, state, self._slots_of(state).later(deadline))
        except OutOfTimeError as error:
            return Outcome({}, error)
        return _outcome(*run_all(lambda each: self._predict_one(each, request), [task], threads=1, deadline=deadline))

    def _slots_of(self, state: ProjectState) -> Slots:
        return self._slots.setdefault(state.project, Slots(self._settings.predict_concurrency))

    def _mismatch(self, config: LabelConfig, state: ProjectState) -> str:
        """Why the model cannot predict for this interface, '' where it can; logged when that changes."""
        mismatch = _label_mismatch(config, state)
        if mismatch and self._mismatches.get(state.project) != mismatch:
            logger.warning("project %s: no predictions: %s", state.project, mismatch)
        self._mismatches[state.project] = mismatch
        return mismatch

    def _predict_one(self, task: Mapping[str, Any], request: _Request) -> Outcome:
        try:
            return Outcome(self._item(task, request))
        except OutOfTimeError as error:
            return Outcome({}, error)
        except BackendError as error:
            logger.warning("project %s task %s: no prediction: %s", request.state.project, task.get("id"), error)
            return Outcome({}, error)

    def _item(self, task: Mapping[str, Any], request: _Request) -> Item:
        config, state, deadline = request.config, request.state, request.share.deadline
        data = task.get("data")
        reference = data.get(config.image_field) if isinstance(data, Mapping) else None
        if not isinstance(reference, str) or not reference:
            raise ImageError(f"wanted an image address in the task's {config.image_field!r}, found none")
        number = task.get("id")
        seen = self._flights.get(
            (state.project, state.live, state.labels, reference),
            lambda: self._see(reference, number if isinstance(number, int) else None, request),
            deadline=deadline,
        )
        regions = polygons_to_regions(
            seen.segmentation.polygons,
            config=config,
            model_labels=state.labels or config.labels,
            size_wh=seen.shown_wh,
            threshold=self._settings.model_score_threshold,
        )
        item: Item = {"result": regions, "model_version": state.live}
        if seen.segmentation.score is not None:
            item["score"] = round(seen.segmentation.score, 4)
        return item

    def _see(self, reference: str, task: int | None, request: _Request) -> _Seen:
        if time.monotonic() >= request.share.deadline:
            raise OutOfTimeError("no time was left to fetch the image")
        side = _side(self._settings.predict_side, labels=len(request.state.labels))
        image = self._images.prepared(reference, project=request.state.project, side=side, task=task)
        return _Seen(self._segment(image, request), image.shown_wh)

    def _segment(self, image: PreparedImage, request: _Request) -> Segmentation:
        """By probabilities where they fit into an answer, else by the mask of class ids."""
        state = request.state
        classes = len(state.labels) + 1
        width, height = image.sent_wh
        if state.labels and 4 * classes * width * height <= MAX_ANSWER_BYTES:
            answer = self._invoke(image, request, MEDIA_TYPE)
            return probabilities_to_polygons(decode_probabilities(answer, classes), self._fidelity)
        answer = self._invoke(image, request, "image/png")
        return mask_to_polygons(_decode_mask(answer), self._fidelity)

    def _invoke(self, image: PreparedImage, request: _Request, accept: str) -> bytes:
        """The live model's answer. Right after an update the endpoint answers by a model whose labels may be others."""
        live = request.state.live
        answer = self._patiently(
            lambda: self._inference.invoke(request.state.project, image.jpeg, accept), request.share
        )
        version = live if answer.version is None else self._settings.model_version(answer.version)
        if version != live:
            raise AwsError(f"wanted an answer of {live}, got one of {version}: the endpoint is being updated")
        return answer.body

    def _patiently(self, invoke: Callable[[], Answer], share: Share) -> Answer:
        """Ask again while the endpoint takes no more, with fewer calls at once, as long as there is time."""
        for pause in _pauses():
            with share.slot() as too_much:
                try:
                    return invoke()
                except AwsBusyError:
                    too_much()
                    if time.monotonic() + pause >= share.deadline:
                        raise
            time.sleep(pause)
        raise AssertionError("the pauses do not end")


def _side(wanted: int, *, labels: int) -> int:
    """The long side that an image is sent with: *wanted*, or less if only so the probabilities fit into an answer."""
    fits = math.isqrt(MAX_ANSWER_BYTES // (4 * (labels + 1)))
    return min(wanted, fits) if labels and fits >= _LEAST_SIDE else wanted


def _pauses() -> Iterator[float]:
    """Seconds, longer and longer, and not the same for all that were refused together."""
    for exponent in itertools.count():
        yield min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(exponent, 10)) * random.uniform(0.5, 1.5)


def _label_mismatch(config: LabelConfig, state: ProjectState) -> str:
    if not state.labels or any(config.label_for(label) for label in state.labels):
        return ""
    known, wanted = ", ".join(state.labels), ", ".join(config.labels)
    return (
        f"the model {state.live} knows {known}; the labeling interface has {wanted}: wanted a label in common; name "
        'the model\'s labels in <Label predicted_values="..."> or train a model with the new ones'
    )


def _decode_mask(body: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(body)) as image:
            return np.asarray(image if image.mode in {"P", "L"} else image.convert("L"), dtype=np.uint8)
    except UNREADABLE as error:
        raise AwsError(f"the endpoint's answer is no PNG mask: {error}") from error


def _outcome(future: Future[Outcome]) -> Outcome:
    if not future.done():
        return Outcome({}, OutOfTimeError("there was no answer in time"))
    if fault := future.exception():
        logger.error("a prediction failed unexpectedly", exc_info=fault)
        return Outcome({}, BackendError("the prediction failed unexpectedly; see the log"))
    return future.result()
