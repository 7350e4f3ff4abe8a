"""Label Studio gets to know the model that serves: its name, and its predictions for the tasks that wait."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backend.config import Settings
from backend.label_studio import MlBackend, Prediction, Project
from backend.predictor import Outcome
from backend.regions import LabelConfig, parse_label_config
from backend.state import ProjectState, StateFile

logger = logging.getLogger(__name__)
PREFETCH_SECONDS = 60.0  # of one reconcile; the rest is done at the next one
PASSES = 8  # over the tasks that could not be predicted, the last of them two hours after the first
PAUSE_SECONDS = 60.0  # before the third pass; it doubles from pass to pass
_BATCH = 20


class Studio(Protocol):
    """What pre-annotating needs of Label Studio."""

    def project(self, project: int) -> Project: ...
    def waiting_tasks(self, project: int, model_version: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]: ...
    def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None: ...
    def ml_backend(self, project: int, url: str) -> MlBackend | None: ...
    def set_title(self, project: int, backend: MlBackend, title: str) -> None: ...
    def secure_webhook(self, project: int, backend: MlBackend, authorization: str) -> bool: ...


class TaskPredictor(Protocol):
    """Predicts tasks by the project's endpoint."""

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> list[Outcome]: ...


@dataclass(slots=True)
class Walk:
    """How far the waiting tasks of a project have been predicted: in passes, by the order of their ids.

    A look has little time, so the next one goes on *after* the last task asked for, whatever became of it: tasks whose
    images cannot be had would keep all later ones waiting. They are asked for again in the next pass.
    """

    version: str
    changed: float  # ProjectState.tasks_changed, as the walk knows it
    after: int = 0
    clean: bool = True  # nothing in this pass is worth another try
    passes: int = 0
    resume: float = 0.0

    def heed(self, changed: float) -> None:
        """Something is new since: go on here, but what was passed already counts for nothing."""
        if changed != self.changed:
            self.changed, self.clean, self.passes, self.resume = changed, self.after == 0, 0, 0.0

    def end_pass(self) -> bool:
        """Back to the first task. Returns whether another pass is worth it."""
        again = not self.clean and self.passes + 1 < PASSES
        self.resume = time.monotonic() + PAUSE_SECONDS * (2**self.passes - 1)
        self.after, self.clean, self.passes = 0, True, self.passes + 1
        return again


class Preannotator:
    """Keeps the ML backend that Label Studio knows, and its predictions, up with the endpoint."""

    def __init__(
        self,
        settings: Settings,
        *,
        studio: Studio,
        predictor: TaskPredictor,
        states: StateFile,
        authorization: str = "",
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._predictor = predictor
        self._states = states
        self._authorization = authorization
        self._walks: dict[int, Walk] = {}

    def secure_webhook(self, project: int) -> None:
        """See to it that events come with the password that this backend asks for."""
        if not self._authorization:
            return
        backend = self._studio.ml_backend(project, self._states.get(project).url)
        if backend is not None and self._studio.secure_webhook(project, backend, self._authorization):
            logger.info("project %s: gave the webhook of %s its Authorization header", project, backend.url)

    def present(self, project: int, version: str) -> None:
        """The model *version* serves: name it, and predict the tasks that wait, as many as there is time for."""
        try:
            self._announce(project, version)
        finally:  # predictions are worth having whatever Label Studio says of the title
            self._prefetch(project, version)

    def _announce(self, project: int, version: str) -> None:
        """Asked each time, since somebody may connect the backend anew; it is one cheap call."""
        backend = self._studio.ml_backend(project, self._states.get(project).url)
        if backend is not None and backend.title != version:
            self._studio.set_title(project, backend, version)
            logger.info("project %s: the ML backend's title in Label Studio is now %s", project, version)

    def _prefetch(self, project: int, version: str) -> None:
        """Predict the tasks that wait, so that they open with their polygons there."""
        if self._states.get(project).prefetched == version:
            self._walks.pop(project, None)
            return
        walk = self._walk(project, version)
        if time.monotonic() < walk.resume:
            return
        config = parse_label_config(self._studio.project(project).label_config)
        stop = time.monotonic() + PREFETCH_SECONDS
        for tasks in self._batches(project, walk):
            self._predict_batch(project, tasks, config, walk=walk, stop=stop)
            if time.monotonic() > stop or self._states.get(project).live != version:
                return
        if not walk.end_pass() and self._states.get(project).tasks_changed == walk.changed:
            self._states.update(project, prefetched=version)

    def _walk(self, project: int, version: str) -> Walk:
        changed = self._states.get(project).tasks_changed
        walk = self._walks.get(project)
        if walk is None or walk.version != version:
            walk = self._walks[project] = Walk(version, changed)
        walk.heed(changed)
        return walk

    def _batches(self, project: int, walk: Walk) -> Iterator[list[dict[str, Any]]]:
        for page in self._studio.waiting_tasks(project, walk.version, after=walk.after):
            for start in range(0, len(page), _BATCH):
                yield page[start : start + _BATCH]

    def _predict_batch(
        self, project: int, tasks: Sequence[dict[str, Any]], config: LabelConfig, *, walk: Walk, stop: float
    ) -> None:
        """Predict and store *tasks* until *stop*."""
        state = self._states.get(project)
        clean, walk.clean, walk.after = walk.clean, False, tasks[-1]["id"]  # so it stays if storing them fails
        deadline = min(stop, time.monotonic() + self._settings.predict_timeout_seconds)
        outcomes = self._predictor.predict(tasks, config=config, state=state, deadline=deadline)
        predictions = [_prediction(task, each) for task, each in zip(tasks, outcomes, strict=True) if each.item]
        if predictions:
            self._studio.store_predictions(project, predictions)
            logger.info("project %s: stored %s predictions of %s", project, len(predictions), state.live)
        walk.clean = clean and not any(outcome.retry for outcome in outcomes)


def _prediction(task: Mapping[str, Any], outcome: Outcome) -> Prediction:
    item: dict[str, Any] = outcome.item
    return Prediction(
        task=int(task["id"]), result=item["result"], score=item.get("score"), model_version=item["model_version"]
    )
