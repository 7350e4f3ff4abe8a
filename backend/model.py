"""The two hooks that Label Studio's users know: fit() hears every event, predict() gives the polygons."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from backend.config import NO_MODEL, Settings
from backend.errors import LabelConfigError
from backend.events import find_project_id, parse_event
from backend.listener import Background, Listener
from backend.predictor import Item, Outcome
from backend.regions import LabelConfig, parse_label_config
from backend.state import ProjectState, StateFile
from backend.trainer import Policy

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


class TaskPredictor(Protocol):
    """Predicts tasks by the project's endpoint."""

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> list[Outcome]: ...


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
        service = self.service
        listener = Listener(service.states, service.background, service.policy)
        return listener.hear(parse_event(event, data if data is not None else {}))

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
        deadline = time.monotonic() + _time_to_predict(self.service.settings.predict_timeout_seconds)
        outcomes = self.service.predictor.predict(tasks, config=config, state=state, deadline=deadline)
        return [outcome.item for outcome in outcomes]

    def process_event(self, event: str, data: Mapping[str, Any], *_: object) -> dict[str, object]:
        """How label-studio-ml 1.0.9 calls :meth:`fit`; its own version would pass the tasks first."""
        return self.fit(event, data)


def _time_to_predict(timeout_s: float) -> float:
    """Of the time for an answer a twentieth, a second at most, is for reading the request and writing the answer."""
    return timeout_s - min(1.0, timeout_s / 20)


def _project_of(tasks: Sequence[Mapping[str, Any]]) -> int | None:
    return find_project_id(tasks[0].get("project")) if tasks else None
