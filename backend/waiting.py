"""The tasks that wait: predicted as many at once as the endpoint takes, and stored while others are predicted."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backend.errors import AwayError, BackendError, LabelStudioError
from backend.label_studio import Prediction
from backend.patience import patiently
from backend.predictor import Outcome
from backend.regions import LabelConfig
from backend.state import ProjectState

Task = Mapping[str, Any]
BATCH = 20  # predictions that are stored by one call
STORE_SECONDS = 2.0  # what is predicted waits no longer than that for others to be stored with
_AHEAD = 4 * BATCH  # predictions that may wait for Label Studio before no more are made
_TICK_S = 0.2


class LaterPredictor(Protocol):
    """Predicts a task by the project's endpoint, when it has nothing to do for those who wait."""

    def predict_later(self, task: Task, *, config: LabelConfig, state: ProjectState, deadline: float) -> Outcome: ...


class Shelf(Protocol):
    """Where predictions are stored."""

    def lacking(self, project: int, model_version: str, tasks: Sequence[int]) -> set[int]: ...
    def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None: ...
    def delete_doubles(self, project: int, model_version: str, tasks: Sequence[int]) -> int: ...


@dataclass(frozen=True, slots=True)
class Done:
    """A task and what became of it: stored, or an error that says why not."""

    task: int
    outcome: Outcome
    stored: bool = False

    @property
    def error(self) -> BackendError | None:
        """Why there is no prediction."""
        return self.outcome.error


def walk(
    tasks: Iterable[Task],
    predict: Callable[[Task], Outcome],
    store: Callable[[Sequence[Done]], Sequence[Done]],
    *,
    at_once: int,
) -> Iterator[list[Done]]:
    """What became of *tasks*, a few at a time as soon as they are stored; an empty list now and then meanwhile.

    So many are at the endpoint *at_once*, and as many images are made ready for it; the next task is taken when one is
    predicted. All that were taken are predicted and stored before an error in taking them is raised; after an error in
    storing no more are taken.
    """
    line = _Line(tasks, predict, threads=2 * at_once)
    try:
        for some in line.batches():
            yield list(store(some)) if some else []
    finally:
        line.stop()
    if line.fault is not None:
        raise line.fault


class _Line:
    """Threads that predict. They end with the tasks, or with the process."""

    def __init__(self, tasks: Iterable[Task], predict: Callable[[Task], Outcome], *, threads: int) -> None:
        self._tasks = iter(tasks)
        self._predict = predict
        self._taking = threading.Lock()
        self._room = threading.Semaphore(threads + _AHEAD)
        self._results: queue.SimpleQueue[Done | None] = queue.SimpleQueue()  # None: a thread has ended
        self._stopped = threading.Event()
        self._running = self._threads = threads
        self.fault: Exception | None = None
        for number in range(threads):
            threading.Thread(target=self._work, name=f"waiting-{number}", daemon=True).start()

    def stop(self) -> None:
        """Take no more tasks."""
        self._stopped.set()

    def batches(self) -> Iterator[list[Done]]:
        """What was predicted, enough of it to be stored at a time; an empty list meanwhile."""
        ready: list[Done] = []
        since = time.monotonic()
        while self._running:
            done = self._next()
            since = since if ready else time.monotonic()
            ready += [] if done is None else [done]
            patience = STORE_SECONDS if self._running == self._threads else _TICK_S  # the last ones
            if len(ready) >= BATCH or (ready and time.monotonic() >= since + patience):
                yield ready
                ready = []
            elif done is None:
                yield []
        if ready:
            yield ready

    def _next(self) -> Done | None:
        try:
            done = self._results.get(timeout=_TICK_S)
        except queue.Empty:
            return None
        if done is None:
            self._running -= 1
        else:
            self._room.release()
        return done

    def _work(self) -> None:
        try:
            while (task := self._take()) is not None:
                self._results.put(Done(int(task["id"]), self._predict(task)))
        except Exception as error:  # noqa: BLE001  # raised again by walk(), where somebody waits for it
            self.fault = error
            self.stop()
        finally:
            self._results.put(None)

    def _take(self) -> Task | None:
        while not self._stopped.is_set():
            if self._room.acquire(timeout=_TICK_S):
                with self._taking:
                    return None if self._stopped.is_set() else next(self._tasks, None)
        return None


@dataclass(slots=True, kw_only=True)
class Storing:
    """Stores predictions of one version, such that a task has one of them, whoever else predicts it too.

    Who stores at the same moment is Label Studio itself, for a person that opens the task, and another of these: so
    what was stored is looked at again when the next is. For *patience* seconds it is tried again while Label Studio is
    away.
    """

    shelf: Shelf
    project: int
    version: str
    patience: float = 0.0
    _last: tuple[int, ...] = ()

    def __call__(self, some: Sequence[Done]) -> list[Done]:
        """Store what can be stored, and tell what became of each.

        Raises:
            BackendError: Label Studio is away, or takes none of them.
        """
        predicted = [done for done in some if done.outcome.item]
        failed = [done for done in some if not done.outcome.item]
        return failed + (patiently(lambda: self._store(predicted), seconds=self.patience) if predicted else [])

    def _store(self, predicted: Sequence[Done]) -> list[Done]:
        numbers = [done.task for done in predicted]
        lacking = self.shelf.lacking(self.project, self.version, numbers)
        stored = self._store_all([done for done in predicted if done.task in lacking])
        self.shelf.delete_doubles(self.project, self.version, [*self._last, *numbers])
        self._last = tuple(numbers)
        return [done for done in predicted if done.task not in lacking] + stored

    def _store_all(self, lacking: Sequence[Done]) -> list[Done]:
        """In one call; where Label Studio refuses that, one by one: a bad prediction harms no other."""
        if not lacking:
            return []
        try:
            self.shelf.store_predictions(self.project, [_prediction(done) for done in lacking])
        except AwayError:
            raise
        except LabelStudioError as error:
            return self._store_each(lacking, error)
        return [Done(done.task, done.outcome, stored=True) for done in lacking]

    def _store_each(self, lacking: Sequence[Done], refused: LabelStudioError) -> list[Done]:
        if len(lacking) == 1:
            return [Done(lacking[0].task, Outcome({}, refused))]
        each = list(itertools.chain.from_iterable(self._store_all([done]) for done in lacking))
        if not any(done.stored for done in each):
            raise refused
        return each


def _prediction(done: Done) -> Prediction:
    item: dict[str, Any] = done.outcome.item
    return Prediction(
        task=done.task, result=item["result"], score=item.get("score"), model_version=item["model_version"]
    )
