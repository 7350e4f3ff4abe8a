"""Every task of a project that waits gets a prediction of the model that serves, and a person sees how far it is."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from backend.config import Settings
from backend.console import Console
from backend.errors import AwayError, AwsError, BackendError, LabelConfigError
from backend.label_studio import Project
from backend.live import LiveModel, Registry, live_model
from backend.predictor import Outcome
from backend.regions import LabelConfig, parse_label_config
from backend.state import ProjectState
from backend.waiting import Done, LaterPredictor, Shelf, Storing, Task, walk

PATIENCE_SECONDS = 60.0  # while Label Studio is away
LOOK_SECONDS = 10.0  # from look to look at which version serves
LEAVE_SECONDS = 5.0  # that predictions under way are waited for after Ctrl-C
GIVE_UP = 20  # failures of the endpoint in a row
RETRY_SECONDS = 1.0
UPDATE_SECONDS = 1800.0  # that an endpoint's update is waited for; SageMaker takes some ten minutes
_RATE_SECONDS = 30.0  # that the rate is taken from
_BAR = 24  # characters


class Studio(Shelf, Protocol):
    """What is asked of Label Studio."""

    def project(self, project: int) -> Project: ...
    def count_waiting(self, project: int, model_version: str) -> tuple[int, int]: ...
    def waiting_tasks(self, project: int, model_version: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]: ...


@dataclass(slots=True)
class Tally:
    """How far it is. *failed* tasks have their reasons; *row* counts failures of the endpoint since its last answer."""

    total: int
    clock: Callable[[], float] = time.monotonic
    stored: int = 0
    others: int = 0
    failed: dict[int, BackendError] = field(default_factory=dict)
    row: int = 0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def done(self) -> int:
        """How many tasks it is through with."""
        return self.stored + self.others + len(self.failed)

    def add(self, some: Sequence[Done]) -> None:
        """Count what became of some tasks."""
        for each in some:
            if each.error is not None:
                self.failed[each.task] = each.error
                self.row = self.row + 1 if isinstance(each.error, AwsError) else 0
            else:
                self.row = 0
                self.stored += each.stored
                self.others += not each.stored
        now = self.clock()
        self._seen.append((now, self.done))
        while self._seen[0][0] < now - _RATE_SECONDS:
            self._seen.popleft()

    def rate(self) -> float:
        """Tasks a second lately; 0 where nobody knows yet."""
        if not self._seen:
            return 0.0
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def line(self) -> str:
        """How far it is, in a line."""
        total = max(self.total, self.done)  # tasks may come meanwhile
        filled = _BAR * self.done // total if total else _BAR
        parts = [f"[{'#' * filled}{'.' * (_BAR - filled)}] {self.done} of {total}"]
        if rate := self.rate():
            parts += [f"{rate:.1f}/s", f"{_duration((total - self.done) / rate)} left"]
        return ", ".join([*parts, f"{len(self.failed)} failed"] if self.failed else parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """Pre-annotates one project."""

    settings: Settings
    project: int
    studio: Studio
    registry: Registry
    predictor: LaterPredictor
    console: Console

    def run(self, interrupted: Callable[[], float] = lambda: 0.0) -> bool:
        """Predict what waits, by the version that serves, and by the next one if that comes meanwhile.

        What is predicted is stored all along, so that another run goes on with the rest. It ends early once
        *interrupted* tells a time, as ``time.monotonic`` has it. Returns whether no task failed; it was said which did.

        Raises:
            BackendError: there is no such project, no model serves, or Label Studio or the endpoint is away.
        """
        project = self.studio.project(self.project)
        config = parse_label_config(project.label_config)
        model = live_model(self.project, self.settings, self.registry)
        while True:
            waiting, lacking = self.studio.count_waiting(self.project, model.version)
            self.console.say(f"project {self.project}: {lacking} of {waiting} waiting tasks lack {model.version}")
            tally = Tally(lacking, self.console.clock)
            newer = _Pass(self, model, tally, interrupted).run(config)
            if newer is None or interrupted():
                return self._end(tally, model, left=bool(interrupted()))
            self.console.say(f"{newer.version} serves now, after {tally.stored} predictions of {model.version}")
            model = newer

    def _end(self, tally: Tally, model: LiveModel, *, left: bool) -> bool:
        for task, error in sorted(tally.failed.items()):
            self.console.say(f"task {task}: {error}")
        others = f", {tally.others} by somebody else meanwhile" if tally.others else ""
        failed = f", {len(tally.failed)} failed" if tally.failed else ""
        rest = "; run this again for the rest" if left else ""
        self.console.say(f"{tally.stored} predicted by {model.version}{others}{failed}{rest}")
        return not tally.failed


class _Pass:
    """One walk over the tasks that lack one model's prediction."""

    def __init__(self, bulk: Bulk, model: LiveModel, tally: Tally, interrupted: Callable[[], float]) -> None:
        self._bulk = bulk
        self._model = model
        self._tally = tally
        self._interrupted = interrupted
        self._over = False
        self._looked = time.monotonic()
        self._newer: LiveModel | None = None

    def run(self, config: LabelConfig) -> LiveModel | None:
        """Walk; returns the model that serves now if it is another one.

        Raises:
            BackendError: Label Studio is away, or nothing can be predicted.
        """
        bulk = self._bulk
        state = ProjectState(bulk.project, live=self._model.version, labels=self._model.labels)

        def predict(task: Task) -> Outcome:
            deadline = time.monotonic() + bulk.settings.predict_timeout_seconds
            return bulk.predictor.predict_later(task, config=config, state=state, deadline=deadline)

        storing = Storing(
            shelf=bulk.studio, project=bulk.project, version=self._model.version, patience=PATIENCE_SECONDS
        )
        for some in walk(self._tasks(), predict, storing, at_once=bulk.settings.predict_concurrency):
            self._tally.add(some)
            bulk.console.progress(self._tally.line)
            self._heed(some)
            if self._interrupted() and time.monotonic() > self._interrupted() + LEAVE_SECONDS:
                break
        if self._tally.row and self._newer is None:
            self._wait_for_update()
        if self._tally.failed and self._newer is None:
            self._look()
        self._check_endpoint()
        return self._newer

    def _tasks(self) -> Iterator[Task]:
        """The tasks that lack the model's prediction, until it is over."""
        after, end = 0, 0.0
        while True:
            try:
                for page in self._bulk.studio.waiting_tasks(self._bulk.project, self._model.version, after=after):
                    for task in page:
                        if self._over or self._interrupted():
                            return
                        after, end = task["id"], 0.0
                        yield task
            except AwayError:
                end = end or time.monotonic() + PATIENCE_SECONDS
                if time.monotonic() > end or self._over:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _heed(self, some: Sequence[Done]) -> None:
        """Whether it is worth going on."""
        for done in some:
            if isinstance(done.error, LabelConfigError):  # it is the same for all tasks
                raise done.error
        self._over |= self._tally.row >= GIVE_UP
        if time.monotonic() > self._looked + LOOK_SECONDS:
            self._look()

    def _look(self) -> None:
        """Find out whether another version serves; where that cannot be told, it is found out later."""
        self._looked = time.monotonic()
        try:
            endpoint = self._bulk.registry.endpoint(self._bulk.project)
            if endpoint is None or endpoint.status != "InService" or endpoint.version is None:
                return
            if self._bulk.settings.model_version(endpoint.version) != self._model.version:
                self._newer = live_model(self._bulk.project, self._bulk.settings, self._bulk.registry)
                self._over = True
        except BackendError:
            return

    def _wait_for_update(self) -> None:
        """An endpoint that is being updated answers by the next version before it says so: wait until it does.

        Raises:
            BackendError: it cannot be asked, or serves no model afterwards.
        """
        bulk, began = self._bulk, time.monotonic()
        while self._is_updating() and not self._interrupted() and time.monotonic() < began + UPDATE_SECONDS:
            bulk.console.progress(f"the endpoint of project {bulk.project} is being updated: waiting for it")
            time.sleep(RETRY_SECONDS)
            self._newer = live_model(bulk.project, bulk.settings, bulk.registry) if not self._is_updating() else None

    def _is_updating(self) -> bool:
        endpoint = self._bulk.registry.endpoint(self._bulk.project)
        return endpoint is not None and endpoint.status == "Updating"

    def _check_endpoint(self) -> None:
        """After too many failures, say what is wrong rather than for each task that could not be predicted."""
        if self._tally.row < GIVE_UP or self._newer is not None:
            return
        reason = list(self._tally.failed.values())[-1]
        live_model(self._bulk.project, self._bulk.settings, self._bulk.registry)
        raise AwsError(
            f"{self._tally.stored} predictions were stored; then the endpoint failed {self._tally.row} times in a row: "
            f"{reason}; run this again when it answers, and it goes on with the rest"
        )
