"""The threads behind the requests: decide on training when woken, and look after everything now and then."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol

from backend.errors import BackendError
from backend.state import Leadership, StateFile
from backend.trainer import Action, Decision, History, LabelledProject

P = ParamSpec("P")
logger = logging.getLogger(__name__)
FORCED_SECONDS = 600.0  # how long Start Training is tried again while Label Studio or AWS does not answer


class ProjectTrainer(Protocol):
    """Starts the pipeline when it is time to."""

    def consider(
        self, project: int, *, forced: bool = False, told: LabelledProject | None = None
    ) -> tuple[Decision, History]: ...


class Reconciler(Protocol):
    """Serves the newest approved model."""

    def reconcile(self, project: int) -> None: ...


class SettingsCheck(Protocol):
    """Finds out whether the settings work; one process of a host is to tell of it."""

    def __call__(self, *, tell: bool) -> None: ...


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

    def train(self, project: int, *, forced: bool = False, told: LabelledProject | None = None) -> bool:
        """Decide on training, and start it if it is time to. Returns whether it could be decided on."""
        try:
            decision, history = self._trainer.consider(project, forced=forced, told=told)
        except BackendError as error:
            self._remember(project, "problem", str(error))
            return False
        if self._observe is not None:
            self._observe(decision)
        self._remember(project, "problem", _problem(decision, history))
        self._states.update(
            project,
            running=history.running or decision.action is Action.START,
            last_trained=history.last_trained,
            refused=history.refused,
            today=history.today,
            failures=history.failures,
            failed_at=history.failed_at,
            failed_on=history.failed_on.timestamp() if history.failed_on else 0.0,
        )
        return True

    def deploy(self, project: int) -> None:
        """Take the next step towards serving the newest approved model."""
        try:
            self._deployer.reconcile(project)
        except BackendError as error:
            self._remember(project, "serving_problem", str(error))
        else:
            self._remember(project, "serving_problem", "")

    def _remember(self, project: int, field: str, problem: str) -> None:
        if problem and getattr(self._states.get(project), field) != problem:  # once, not at every look
            logger.warning("project %s: %s", project, problem)
        self._states.update(project, **{field: problem})


def _problem(decision: Decision, history: History) -> str:
    """What a person has to do about the project's training, '' where nothing."""
    if decision.action is Action.NOTHING:
        return decision.reason
    if decision.action is Action.START or history.running or not history.shortage:
        return ""
    return f"the last training failed: {history.shortage}"


class Poller(threading.Thread):
    """Runs the rounds: at once for a project that was woken, for all of them every *interval* seconds.

    Webhooks get lost (Label Studio waits a second and never repeats one, and sends none for imported annotations), so
    the regular look is what makes sure that no threshold is missed. One process of a host does it, the leader.
    Deploying has a thread of its own: predicting what waits takes minutes, and no decision on training waits for that.
    """

    def __init__(
        self,
        rounds: Rounds,
        *,
        states: StateFile,
        leadership: Leadership,
        interval: float,
        check: SettingsCheck | None = None,
    ) -> None:
        super().__init__(name="trainer", daemon=True)
        self._rounds = rounds
        self._states = states
        self._leadership = leadership
        self._interval = interval
        self._check = check
        self._wishes: dict[int, Wish] = {}
        self._forced: dict[int, float] = {}  # projects to be trained whatever the count, and until when that is tried
        self._condition = threading.Condition()
        self._stopped = threading.Event()

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None:
        """Look at *project* soon. Returns at once."""
        with self._condition:
            wish = self._wishes.setdefault(project, Wish())
            wish.forced |= forced
            wish.tasks_changed |= tasks_changed
            self._condition.notify()

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopped.set()
        with self._condition:
            self._condition.notify()

    def run(self) -> None:
        """The thread's loop."""
        threading.Thread(target=self._deploy_regularly, name="deployer", daemon=True).start()
        due = 0.0
        while not self._stopped.is_set():
            wishes = self._take(until=due)
            regular = time.monotonic() >= due
            safely("a look at what is to be trained", self._look, wishes, regular=regular)
            if regular:
                due = time.monotonic() + self._interval

    def _look(self, wishes: dict[int, Wish], *, regular: bool) -> None:
        """What was asked for comes first: it does not depend on finding out about the rest."""
        for project, wish in wishes.items():
            safely(f"training of project {project}", self._train, project, wish)
        for project in self._regular() - wishes.keys() if regular else ():
            safely(f"training of project {project}", self._train, project, Wish())

    def _take(self, *, until: float) -> dict[int, Wish]:
        with self._condition:
            if not self._wishes and not self._stopped.is_set():
                self._condition.wait(timeout=max(0.0, until - time.monotonic()))
            wishes, self._wishes = self._wishes, {}
            return wishes

    def _regular(self) -> set[int]:
        """The projects of a regular look: all for the leader, for others those that could not be decided on."""
        return {*self._forced, *(self._states.projects() if self._leadership.held() else ())}

    def _train(self, project: int, wish: Wish) -> None:
        """A forced training that meets an error is tried again at the next looks; it would be lost otherwise."""
        if wish.tasks_changed:
            self._states.update(project, prefetched="", tasks_changed=time.time())
        if wish.forced:
            self._forced[project] = time.monotonic() + FORCED_SECONDS
        forced = self._forced.get(project, 0.0) > time.monotonic()
        if self._rounds.train(project, forced=forced) or not forced:
            self._forced.pop(project, None)

    def _deploy_regularly(self) -> None:
        while not self._stopped.is_set():
            due = time.monotonic() + self._interval
            safely("a look at what is to be deployed", self._look_after_endpoints)
            self._stopped.wait(max(0.0, due - time.monotonic()))  # a long one is followed at once

    def _look_after_endpoints(self) -> None:
        leads = self._leadership.held()
        if self._check is not None:
            safely("the check of the settings", self._check, tell=leads)
        for project in self._states.projects() if leads else ():
            safely(f"deployment of project {project}", self._rounds.deploy, project)


def safely(what: str, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """A fault in one round ends neither the thread nor the other projects' rounds. Returns whether there was none."""
    try:
        work(*args, **kwargs)
    except Exception:
        logger.exception("%s failed unexpectedly; the next look tries it again", what)
        return False
    return True


class Inline:
    """The same without a thread, for a host that runs fit() in a process of its own."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None:  # noqa: ARG002
        """Decide on training now, and go a step further in serving what was trained."""
        self._rounds.train(project, forced=forced)
        self._rounds.deploy(project)
