"""What becomes of an event of Label Studio: somebody is woken, and an answer given at once, from memory."""

import logging
from datetime import UTC, datetime
from typing import Protocol

from backend.errors import RequestError
from backend.events import Event, Kind
from backend.state import ProjectState
from backend.trainer import Action, Decision, History, Policy, decide

logger = logging.getLogger(__name__)
# New tasks, and a labeling interface that may name the model's labels otherwise.
NEW_TO_PREDICT = {"TASKS_CREATED", "PROJECT_UPDATED"}
NOT_FORCED = (
    "START_TRAINING counts as a saved annotation, not as Start Training: Label Studio sends the same for both while "
    "'Start model training on annotation submission' is on; turn it off there to train at once"
)


class Background(Protocol):
    """Does behind the request what takes time."""

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None: ...


class KnownProjects(Protocol):
    """What is known of the projects, in memory."""

    def get(self, project: int) -> ProjectState: ...
    def projects(self) -> list[int]: ...


class Listener:
    """Hears events."""

    def __init__(self, known: KnownProjects, background: Background, policy: Policy) -> None:
        self._known = known
        self._background = background
        self._policy = policy

    def hear(self, event: Event) -> dict[str, object]:
        """Wake who looks after the event's project. Returns how things stand, as an answer over HTTP.

        Raises:
            RequestError: a training is asked for, but not for which project.
        """
        if event.kind is Kind.OTHER:
            return {"status": "ignored", "message": f"{event.action} does not change what is trained on"}
        if event.project is None:
            return self._wake_all(event)
        self._background.wake(
            event.project, forced=event.kind is Kind.TRAIN_NOW, tasks_changed=event.action in NEW_TO_PREDICT
        )
        answer = self._status(event, event.project)
        if event.kind is Kind.MAYBE_SAVED:
            logger.info("project %s: %s", event.project, NOT_FORCED)
            answer["note"] = NOT_FORCED
        return answer

    def _wake_all(self, event: Event) -> dict[str, object]:
        """A webhook without payload does not tell its project, so every known one is looked at."""
        if event.kind is Kind.TRAIN_NOW:
            raise RequestError('wanted "project" with an "id" in the body of START_TRAINING, found none')
        projects = self._known.projects()
        for project in projects:
            self._background.wake(project)
        return {"status": "noted", "message": f"{event.action} named no project; looking at {len(projects)}"}

    def _status(self, event: Event, project: int) -> dict[str, object]:
        """What the background will most likely decide, from memory alone."""
        if event.annotations is None:
            return {"status": "noted", "message": event.action}
        state, forced = self._known.get(project), event.kind is Kind.TRAIN_NOW
        decision = decide(event.annotations, _history(state), self._policy, now=datetime.now(UTC), forced=forced)
        if event.annotations == 0 and forced:
            decision = Decision(Action.NOTHING, 0, decision.train_at, "label some images first")
        answer = decision.as_json()
        if decision.action is Action.START:
            answer["status"] = "starting"
        if problem := state.problem or state.serving_problem:
            answer["problem"] = problem
        return answer


def _history(state: ProjectState) -> History:
    return History(
        running=state.running,
        last_trained=state.last_trained,
        refused=state.refused,
        today=state.today,
        failures=state.failures,
        failed_at=state.failed_at,
        failed_on=datetime.fromtimestamp(state.failed_on, UTC) if state.failed_on else None,
    )
