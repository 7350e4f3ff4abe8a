"""The thread behind the requests: decides on training when it is woken, and looks after everything now and then."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backend.errors import BackendError
from backend.state import Leadership, StateFile
from backend.trainer import Action, Decision, History

logger = logging.getLogger(__name__)


class ProjectTrainer(Protocol):
    """Starts the pipeline when it is time to."""

    def consider(self, project: int, *, forced: bool = False) -> tuple[Decision, History]: ...


class Reconciler(Protocol):
    """Serves the newest approved model."""

    def reconcile(self, project: int) -> None: ...


@dataclass(slots=True)
class Wish:
    """What a project was woken for; wishes that come while one waits become one."""

    forced: bool = False
    tasks_changed: bool = False


class Rounds:
    """What is done for a project, and what is remembered of it. Raises nothing: a problem is logged and remembered."""

    def __init__(
        self,
        *,
        trainer: ProjectTrainer,
        deployer: Reconciler,
        states: StateFile,
        observe: Callable[[Decision], None] | None = None,
    ) -> None:
        self._trainer = trainer
        self._deployer = deployer
        self._states = states
        self._observe = observe

    def train(self, project: int, *, forced: bool = False) -> None:
        """Decide on training, and start it if it is time to."""
        try:
            decision, history = self._trainer.consider(project, forced=forced)
        except BackendError as error:
            self._remember_problem(project, str(error))
            return
        if self._observe is not None:
            self._observe(decision)
        if decision.action is Action.NOTHING:
            self._remember_problem(project, decision.reason)
        self._states.update(
            project,
            running=history.running or decision.action is Action.START,
            last_trained=history.last_trained,
            failures=history.failures,
            failed_at=history.failed_at,
            failed_on=history.failed_on.timestamp() if history.failed_on else 0.0,
            **({} if decision.action is Action.NOTHING else {"problem": ""}),
        )

    def deploy(self, project: int) -> None:
        """Take the next step towards serving the newest approved model."""
        try:
            self._deployer.reconcile(project)
        except BackendError as error:
            self._remember_problem(project, str(error))

    def _remember_problem(self, project: int, problem: str) -> None:
        if self._states.get(project).problem != problem:  # once, not at every look
            logger.warning("project %s: %s", project, problem)
        self._states.update(project, problem=problem)


class Poller(threading.Thread):
    """Runs the rounds: at once for a project that was woken, for all of them every *interval* seconds.

    Webhooks get lost (Label Studio waits a second and never repeats one, and sends none for imported annotations), so
    the regular look is what makes sure that no threshold is missed. One process of a host does it, the leader.
    """

    def __init__(
        self,
        rounds: Rounds,
        *,
        states: StateFile,
        leadership: Leadership,
        interval: float,
        check: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name="poller", daemon=True)
        self._rounds = rounds
        self._states = states
        self._leadership = leadership
        self._interval = interval
        self._check = check
        self._wishes: dict[int, Wish] = {}
        self._condition = threading.Condition()
        self._stopped = False

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None:
        """Look at *project* soon. Returns at once."""
        with self._condition:
            wish = self._wishes.setdefault(project, Wish())
            wish.forced |= forced
            wish.tasks_changed |= tasks_changed
            self._condition.notify()

    def stop(self) -> None:
        """End after what is being done now."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def run(self) -> None:
        """The thread's loop; a fault in one round does not end it."""
        due = 0.0
        while not self._stopped:
            wishes = self._take(until=due)
            try:
                self._serve(wishes)
                if time.monotonic() >= due:
                    self._look_after_all()
            except Exception:
                logger.exception("a round failed unexpectedly; the next one goes on")
            if time.monotonic() >= due:
                due = time.monotonic() + self._interval

    def _take(self, *, until: float) -> dict[int, Wish]:
        with self._condition:
            if not self._wishes and not self._stopped:
                self._condition.wait(timeout=max(0.0, until - time.monotonic()))
            wishes, self._wishes = self._wishes, {}
            return wishes

    def _serve(self, wishes: dict[int, Wish]) -> None:
        for project, wish in wishes.items():
            if wish.tasks_changed:
                self._states.update(project, prefetched="")  # the new tasks are to be predicted as well
            self._rounds.train(project, forced=wish.forced)

    def _look_after_all(self) -> None:
        if not self._leadership.held():
            return
        if self._check is not None:
            self._check()
        for project in self._states.projects():
            self._rounds.train(project)
            self._rounds.deploy(project)


class Inline:
    """The same without a thread, for a host that runs fit() in a process of its own."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None:  # noqa: ARG002
        """Decide on training now."""
        self._rounds.train(project, forced=forced)
