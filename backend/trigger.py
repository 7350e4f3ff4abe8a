"""The trigger without a service: trains as the service does, whenever somebody calls, and deploys if that is wanted.

A webhook is answered at once, since Label Studio waits for a second and the annotator with it. What takes time is done
behind, in an asynchronous call that the function makes to itself: Lambda stops a function as soon as it has answered,
but keeps such a call, and repeats it where it fails. Whatever is called for twice is done once: an execution has its
token, and deploying takes the step that is next.

Annotations are read from Label Studio's target storage, and Label Studio itself is never called: so no model is named
there, and no predictions are stored. Only images that lie in the bucket are trained on.

An endpoint costs all day long, and nothing of this calls it: so there is none unless ``DEPLOY_ENDPOINTS`` says so.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from backend.aws import Aws
from backend.aws_functions import Functions
from backend.bucket_images import BucketImages, no_copy
from backend.config import Settings
from backend.deployer import Deployer
from backend.errors import BackendError
from backend.events import Event, parse_event
from backend.lambda_events import TrainRequest
from backend.listener import Listener
from backend.poller import Rounds, safely
from backend.s3_annotations import S3Annotations, ToldProject
from backend.state import ProjectState, StateFile
from backend.trainer import Policy, Trainer

logger = logging.getLogger(__name__)


class FunctionCaller(Protocol):
    """Calls Lambda functions."""

    def call_later(self, arn: str, event: Mapping[str, object]) -> None: ...


class Annotations(Protocol):
    """What is known of projects where annotations are read."""

    def projects(self) -> list[int]: ...
    def remember(self, told: ToldProject) -> None: ...


@dataclass(frozen=True, slots=True)
class Behind:
    """What the work behind an answer is done with."""

    annotations: Annotations
    rounds: Rounds


@dataclass(frozen=True, slots=True)
class Later:
    """Has a project looked after in a call of its own, which takes along what *event* told of it."""

    functions: FunctionCaller
    function: str
    event: Event

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None:  # noqa: ARG002
        """Have training decided on; there are no predictions that changed tasks would want anew."""
        request = TrainRequest(project, forced, self.event.label_config, self.event.annotations)
        self.functions.call_later(self.function, request.as_event())


class Trigger:
    """What the function does; one for each of its instances, which Lambda starts and ends as it likes."""

    def __init__(
        self,
        settings: Settings,
        *,
        states: StateFile,
        functions: FunctionCaller,
        behind: Callable[[], Behind],
    ) -> None:
        """*behind* is called when it is needed: answering a webhook must not wait for clients that it does not use."""
        self._states = states
        self._functions = functions
        self._behind = behind
        self._policy = Policy.of(settings)
        self._deploys = settings.deploy_endpoints

    def hear(self, body: Mapping[str, object], *, function: str) -> dict[str, object]:
        """Answer a webhook's *body*; *function* is the ARN by which this very function is called.

        Raises:
            RequestError: it is not what Label Studio sends.
            BackendError: AWS does not take the call that is to do the work.
        """
        event = parse_event(body.get("action"), body)
        answer = Listener(self, Later(self._functions, function, event), self._policy).hear(event)
        told = (event.action[:40], event.project, event.annotations, answer["status"])
        logger.info("%r of project %s with %s annotations: %s", *told)
        return answer

    def get(self, project: int) -> ProjectState:
        """What this instance knows of a project."""
        return self._states.get(project)

    def projects(self) -> list[int]:
        """Every project that is known."""
        return self._behind().annotations.projects()

    def train(self, request: TrainRequest) -> None:
        """Start an execution if it is time to.

        Raises:
            BackendError: one was asked for by a person, and it could not be found out how things stand.
        """
        told = _told(request)
        if told is not None:
            self._remember(told)
        decided = self._behind().rounds.train(request.project, forced=request.forced, told=told)
        if request.forced and not decided:
            raise BackendError(f"project {request.project}: the training that was asked for could not be started yet")

    def look_after(self, project: int | None = None) -> None:
        """Start what is to be tried again, and take the next step of deploying, if there is to be an endpoint.

        For all projects if none is named.

        Raises:
            BackendError: it cannot be found out which there are, or something unexpected happened.
        """
        went_well = [
            safely(f"{what} of project {each}", work, each)
            for each in (self.projects() if project is None else [project])
            for what, work in self._work()
        ]
        if not all(went_well):
            raise BackendError("something failed unexpectedly, as the log tells; the next look tries it again")

    def _work(self) -> Iterator[tuple[str, Callable[[int], object]]]:
        rounds = self._behind().rounds
        yield "training", rounds.train
        if self._deploys:
            yield "deployment", rounds.deploy

    def _remember(self, told: ToldProject) -> None:
        """Without it a later look will lack the labeling interface; this one has it."""
        try:
            self._behind().annotations.remember(told)
        except BackendError as error:
            logger.warning("project %s: its labeling interface is not kept: %s", told.id, error)


def _told(request: TrainRequest) -> ToldProject | None:
    if not request.label_config or request.annotations is None:
        return None
    return ToldProject(request.project, request.label_config, request.annotations)


def build(settings: Settings) -> Trigger:
    """The real one. Calls nothing yet."""
    states = StateFile(settings.model_dir / "projects.json")

    @functools.cache
    def behind() -> Behind:
        cloud = Aws(settings)
        annotations = S3Annotations(settings, store=cloud)
        images = BucketImages(settings, store=cloud, copy=no_copy)
        trainer = Trainer(settings, cloud=cloud, source=annotations, images=images)
        deployer = Deployer(settings, cloud=cloud, states=states)
        return Behind(annotations, Rounds(trainer=trainer, deployer=deployer, states=states))

    return Trigger(settings, states=states, functions=Functions(), behind=behind)
