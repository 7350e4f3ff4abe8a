"""Label Studio gets to know the model that serves: its name, and its predictions for the tasks that wait."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backend.config import Settings
from backend.errors import LabelStudioError
from backend.label_studio import MlBackend, Project
from backend.predictor import Outcome
from backend.regions import LabelConfig, parse_label_config
from backend.state import ProjectState, StateFile
from backend.waiting import BATCH, Done, LaterPredictor, Shelf, Storing, Task, walk

logger = logging.getLogger(__name__)
PREFETCH_SECONDS = 60.0  # of a look at all projects, which share it; the rest is done at the next one
PASSES = 8  # over the tasks that could not be predicted, the last of them two hours after the first
PAUSE_SECONDS = 60.0  # before the third pass; it doubles from pass to pass


class Studio(Shelf, Protocol):
    """What pre-annotating needs of Label Studio."""

    def project(self, project: int) -> Project: ...
    def waiting_tasks(self, project: int, model_version: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]: ...
    def ml_backend(self, project: int, url: str) -> MlBackend | None: ...
    def set_title(self, project: int, backend: MlBackend, title: str) -> None: ...
    def secure_webhook(self, project: int, backend: MlBackend, authorization: str) -> bool: ...


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
        predictor: LaterPredictor,
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
        state = self._states.get(project)
        if state.prefetched == version:
            self._walks.pop(project, None)
            return
        progress = self._walk(project, version)
        if time.monotonic() < progress.resume:
            return
        config = parse_label_config(self._studio.project(project).label_config)
        if not self._predict_waiting(state, config, progress):
            return
        if not progress.end_pass() and self._states.get(project).tasks_changed == progress.changed:
            self._states.update(project, prefetched=version)

    def _walk(self, project: int, version: str) -> Walk:
        changed = self._states.get(project).tasks_changed
        progress = self._walks.get(project)
        if progress is None or progress.version != version:
            progress = self._walks[project] = Walk(version, changed)
        progress.heed(changed)
        return progress

    def _predict_waiting(self, state: ProjectState, config: LabelConfig, progress: Walk) -> bool:
        """Go on with the walk for this project's share of the time. Returns whether it came to the last task."""
        start = time.monotonic()

        def predict(task: Task) -> Outcome:
            deadline = min(start + PREFETCH_SECONDS, time.monotonic() + self._settings.predict_timeout_seconds)
            return self._predictor.predict_later(task, config=config, state=state, deadline=deadline)

        handed = _Handed(self._batches(state.project, progress), until=start + self.share())
        clean, progress.clean = progress.clean, False  # so it stays if storing them fails
        storing = Storing(shelf=self._studio, project=state.project, version=progress.version)
        for some in walk(handed, predict, storing, at_once=self._settings.predict_concurrency):
            clean = clean and not any(done.outcome.retry for done in some)
            _log(state.project, progress.version, some)
        progress.clean = clean
        return handed.all and self._states.get(state.project).live == progress.version

    def _batches(self, project: int, progress: Walk) -> Iterator[list[dict[str, Any]]]:
        """The tasks that wait, until another version is live."""
        for page in self._studio.waiting_tasks(project, progress.version, after=progress.after):
            for start in range(0, len(page), BATCH):
                if self._states.get(project).live != progress.version:
                    return
                batch = page[start : start + BATCH]
                progress.after = batch[-1]["id"]
                yield batch

    def share(self) -> float:
        """The seconds that a project gets of a look, now that it is its turn."""
        states = map(self._states.get, self._states.projects())
        return PREFETCH_SECONDS / max(1, sum(bool(state.live) and state.prefetched != state.live for state in states))


def _log(project: int, version: str, some: Sequence[Done]) -> None:
    if stored := sum(done.stored for done in some):
        logger.info("project %s: stored %s predictions of %s", project, stored, version)
    for done in some:
        if isinstance(done.error, LabelStudioError):  # the predictor tells of what is its own
            logger.warning("project %s task %s: the prediction was not stored: %s", project, done.task, done.error)


class _Handed:
    """The tasks of *batches*, and no more of these after *until*; *all* once the last one was handed out."""

    def __init__(self, batches: Iterator[list[dict[str, Any]]], *, until: float) -> None:
        self._batches = batches
        self._until = until
        self.all = False

    def __iter__(self) -> Iterator[Task]:
        for batch in self._batches:
            yield from batch
            if time.monotonic() > self._until:
                return
        self.all = True
