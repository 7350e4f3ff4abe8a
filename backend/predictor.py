"""Tasks -> predictions, by the project's endpoint."""

import io
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.aws import Answer
from backend.config import Settings
from backend.errors import AwsError, BackendError, ImageAwayError, ImageError, LabelConfigError
from backend.image_cache import PreparedImage
from backend.images import UNREADABLE
from backend.masks import Segmentation, mask_to_polygons, probabilities_to_polygons
from backend.recordio import MEDIA_TYPE, decode_probabilities
from backend.regions import LabelConfig, polygons_to_regions
from backend.state import ProjectState

logger = logging.getLogger(__name__)

# InvokeEndpoint's answer ends at 6 MB in the service model; four bytes a class and pixel must stay below that.
MAX_ANSWER_BYTES = 5_500_000
Item = dict[str, object]


class Inference(Protocol):
    """What predicting needs of AWS."""

    def invoke(self, project: int, jpeg: bytes, accept: str) -> Answer: ...


class ImageSource(Protocol):
    """Where images come from."""

    def prepared(self, reference: str, *, project: int, task: int | None = None) -> PreparedImage: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task's prediction: *item* is ``{}`` where there is none, then *error* says why."""

    item: Item
    error: BackendError | None = None

    @property
    def retry(self) -> bool:
        """Whether it is worth asking again: what failed was the endpoint or the way to the image."""
        return isinstance(self.error, AwsError | ImageAwayError)


class Predictor:
    """Predicts tasks in parallel, each on its own: one bad task harms no other."""

    def __init__(self, settings: Settings, *, inference: Inference, images: ImageSource) -> None:
        self._settings = settings
        self._inference = inference
        self._images = images
        self._pool = ThreadPoolExecutor(settings.predict_concurrency, thread_name_prefix="predict")
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
        futures = [self._pool.submit(self._predict_one, task, config, state, deadline) for task in tasks]
        wait(futures, timeout=max(0.0, deadline - time.monotonic()))
        return [_outcome(future) for future in futures]

    def _mismatch(self, config: LabelConfig, state: ProjectState) -> str:
        """Why the model cannot predict for this interface, '' where it can; logged when that changes."""
        mismatch = _label_mismatch(config, state)
        if mismatch and self._mismatches.get(state.project) != mismatch:
            logger.warning("project %s: no predictions: %s", state.project, mismatch)
        self._mismatches[state.project] = mismatch
        return mismatch

    def _predict_one(
        self, task: Mapping[str, Any], config: LabelConfig, state: ProjectState, deadline: float
    ) -> Outcome:
        if time.monotonic() >= deadline:
            return Outcome({}, AwsError("no time was left to ask the endpoint"))
        number = task.get("id")
        try:
            return Outcome(self._item(task, config, state))
        except BackendError as error:
            logger.warning("project %s task %s: no prediction: %s", state.project, number, error)
            return Outcome({}, error)

    def _item(self, task: Mapping[str, Any], config: LabelConfig, state: ProjectState) -> Item:
        data = task.get("data")
        reference = data.get(config.image_field) if isinstance(data, Mapping) else None
        if not isinstance(reference, str) or not reference:
            raise ImageError(f"wanted an image address in the task's {config.image_field!r}, found none")
        number = task.get("id")
        image = self._images.prepared(
            reference, project=state.project, task=number if isinstance(number, int) else None
        )
        segmentation = self._segment(image, state)
        regions = polygons_to_regions(
            segmentation.polygons,
            config=config,
            model_labels=state.labels or config.labels,
            size_wh=image.shown_wh,
            threshold=self._settings.model_score_threshold,
        )
        item: Item = {"result": regions, "model_version": state.live}
        if segmentation.score is not None:
            item["score"] = round(segmentation.score, 4)
        return item

    def _segment(self, image: PreparedImage, state: ProjectState) -> Segmentation:
        """By probabilities where they fit into an answer, else by the mask of class ids."""
        classes = len(state.labels) + 1
        width, height = image.sent_wh
        if state.labels and 4 * classes * width * height <= MAX_ANSWER_BYTES:
            answer = self._invoke(image, state, MEDIA_TYPE)
            return probabilities_to_polygons(decode_probabilities(answer, classes))
        answer = self._invoke(image, state, "image/png")
        return mask_to_polygons(_decode_mask(answer))

    def _invoke(self, image: PreparedImage, state: ProjectState, accept: str) -> bytes:
        """The live model's answer. Right after an update the endpoint answers by a model whose labels may be others."""
        answer = self._inference.invoke(state.project, image.jpeg, accept)
        version = state.live if answer.version is None else self._settings.model_version(answer.version)
        if version != state.live:
            raise AwsError(f"wanted an answer of {state.live}, got one of {version}: the endpoint is being updated")
        return answer.body


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
        future.cancel()
        return Outcome({}, AwsError("the endpoint did not answer in time"))
    if fault := future.exception():
        logger.error("a prediction failed unexpectedly", exc_info=fault)
        return Outcome({}, BackendError("the prediction failed unexpectedly; see the log"))
    return future.result()
