"""The two hooks that Label Studio's users know: fit() hears every event, predict() gives the polygons."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from backend.config import NO_MODEL, Settings
from backend.errors import LabelConfigError, RequestError
from backend.events import Event, Kind, find_project_id, parse_event
from backend.predictor import Item, Outcome
from backend.regions import LabelConfig, parse_label_config
from backend.state import ProjectState, StateFile
from backend.trainer import Action, Decision, History, Policy, decide

if TYPE_CHECKING:

    class LabelStudioMLBase:
        """As much as mypy is to know of the class below."""

        def __init__(self, **kwargs: Any) -> None: ...  # noqa: ANN401

else:
    # PyPI has 1.0.9, which pins a Flask of 2021 and so is installed without its dependencies; the 2.x line is on
    # GitHub alone. Servers of both load that package before their model, and want a subclass of its class. The service
    # itself (backend.app) needs nothing of it, and importing it here would load torch, where there is one: 200 MB.
    _host = sys.modules.get("label_studio_ml.model")
    LabelStudioMLBase = _host.LabelStudioMLBase if _host else object

logger = logging.getLogger(__name__)
# New tasks, and a labeling interface that may name the model's labels otherwise.
NEW_TO_PREDICT = {"TASKS_CREATED", "PROJECT_UPDATED"}
NOT_FORCED = (
    "START_TRAINING counts as a saved annotation, not as Start Training: Label Studio sends the same for both while "
    "'Start model training on annotation submission' is on; turn it off there to train at once"
)


class TaskPredictor(Protocol):
    """Predicts tasks by the project's endpoint."""

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> list[Outcome]: ...


class Background(Protocol):
    """Does behind the request what takes time."""

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Service:
    """What the hooks work with."""

    settings: Settings
    states: StateFile
    predictor: TaskPredictor
    background: Background
    policy: Policy


class SageMakerSegmentation(LabelStudioMLBase):
    """Image segmentation by a SageMaker endpoint, trained by a SageMaker pipeline.

    Hosts make an instance a request and pass it what they have: the project's id (label-studio-ml 2.x and backend.app)
    and its labeling interface. What it works with belongs to the class: see :meth:`bound`.
    """

    service: ClassVar[Service]

    @classmethod
    def bound(cls, service: Service) -> "type[SageMakerSegmentation]":
        """This class with something to work with, for a host that makes its own instances."""
        return type(cls.__name__, (cls,), {"service": service})

    def __init__(
        self,
        project_id: object = None,
        label_config: str | None = None,
        **_: Any,  # noqa: ANN401  # hosts pass more
    ) -> None:
        # The base classes of both lines parse the whole interface or open a cache file: nothing that is used here.
        self.project_id = find_project_id(project_id)
        self.label_config = label_config or ""

    @property
    def model_version(self) -> str:
        """The live model's version, from memory."""
        live = self.service.states.get(self.project_id).live if self.project_id else ""
        return live or NO_MODEL

    def fit(self, event: str, data: Mapping[str, Any] | None = None, **_: object) -> dict[str, object]:
        """Hear an event: answers at once how things stand; training is decided on and started behind.

        Start Training forces a training, but not while Label Studio's switch *Start model training on annotation
        submission* is on: see :func:`backend.events.parse_event`. The answer and the log say so then.

        Raises:
            RequestError: *data* is not what Label Studio sends.
        """
        parsed = parse_event(event, data if data is not None else {})
        if parsed.kind is Kind.OTHER:
            return {"status": "ignored", "message": f"{parsed.action} does not change what is trained on"}
        if parsed.project is None:
            return self._fit_all(parsed)
        self.service.background.wake(
            parsed.project, forced=parsed.kind is Kind.TRAIN_NOW, tasks_changed=parsed.action in NEW_TO_PREDICT
        )
        answer = self._status(parsed, parsed.project)
        if parsed.kind is Kind.MAYBE_SAVED:
            logger.info("project %s: %s", parsed.project, NOT_FORCED)
            answer["note"] = NOT_FORCED
        return answer

    def _fit_all(self, event: Event) -> dict[str, object]:
        """A webhook without payload does not tell its project, so every known one is looked at."""
        if event.kind is Kind.TRAIN_NOW:
            raise RequestError('wanted "project" with an "id" in the body of START_TRAINING, found none')
        projects = self.service.states.projects()
        for project in projects:
            self.service.background.wake(project)
        return {"status": "noted", "message": f"{event.action} named no project; looking at {len(projects)}"}

    def _status(self, event: Event, project: int) -> dict[str, object]:
        """What the background will most likely decide, from memory alone."""
        if event.annotations is None:
            return {"status": "noted", "message": event.action}
        state = self.service.states.get(project)
        decision = decide(
            event.annotations,
            _history(state),
            self.service.policy,
            now=datetime.now(UTC),
            forced=event.kind is Kind.TRAIN_NOW,
        )
        if event.annotations == 0 and event.kind is Kind.TRAIN_NOW:
            decision = Decision(Action.NOTHING, 0, decision.train_at, "label some images first")
        answer = decision.as_json()
        if decision.action is Action.START:
            answer["status"] = "starting"
        if problem := state.problem or state.serving_problem:
            answer["problem"] = problem
        return answer

    def predict(self, tasks: Sequence[Mapping[str, Any]], **_: object) -> list[Item]:
        """One item a task, in order: a prediction, or ``{}`` where there is none yet: Label Studio will ask again.

        The context of interactive drawing is not used: the model needs no hint.
        """
        project = self.project_id or _project_of(tasks)
        state = self.service.states.get(project) if project else ProjectState(0)
        if not state.live:
            return [{} for _ in tasks]
        try:
            config = parse_label_config(self.label_config)
        except LabelConfigError as error:
            logger.warning("project %s: no predictions: %s", project, error)
            return [{} for _ in tasks]
        deadline = time.monotonic() + self.service.settings.predict_timeout_seconds
        outcomes = self.service.predictor.predict(tasks, config=config, state=state, deadline=deadline)
        return [outcome.item for outcome in outcomes]

    def process_event(self, event: str, data: Mapping[str, Any], *_: object) -> dict[str, object]:
        """How label-studio-ml 1.0.9 calls :meth:`fit`; its own version would pass the tasks first."""
        return self.fit(event, data)


def _project_of(tasks: Sequence[Mapping[str, Any]]) -> int | None:
    return find_project_id(tasks[0].get("project")) if tasks else None


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
