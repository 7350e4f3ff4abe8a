"""The endpoint serves the newest approved model package, and Label Studio is told so."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backend.aws import Endpoint, ModelPackage
from backend.config import Settings
from backend.errors import AwsError
from backend.label_studio import MlBackend, Prediction, Project
from backend.predictor import Outcome
from backend.regions import LabelConfig, parse_label_config
from backend.state import ProjectState, StateFile

logger = logging.getLogger(__name__)
PREFETCH_SECONDS = 60.0  # of one reconcile; the rest is done at the next one
PASSES = 8  # over the tasks that could not be predicted, the last of them two hours after the first
PAUSE_SECONDS = 60.0  # before the third pass; it doubles from pass to pass
_BATCH = 20


class ModelCloud(Protocol):
    """What deploying needs of AWS."""

    def newest_approved(self, project: int) -> ModelPackage | None: ...
    def endpoint(self, project: int) -> Endpoint | None: ...
    def deploy(self, project: int, package: ModelPackage, *, update: bool) -> None: ...
    def delete_endpoint(self, project: int) -> None: ...
    def reject_package(self, arn: str, reason: str) -> None: ...
    def get_json(self, uri: str) -> Mapping[str, object]: ...


class Studio(Protocol):
    """What deploying needs of Label Studio."""

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


class Deployer:
    """Makes what is served what was approved, step by step; safe to call at any time and again."""

    def __init__(
        self,
        settings: Settings,
        *,
        cloud: ModelCloud,
        studio: Studio,
        predictor: TaskPredictor,
        states: StateFile,
        authorization: str = "",
    ) -> None:
        self._settings = settings
        self._cloud = cloud
        self._studio = studio
        self._predictor = predictor
        self._states = states
        self._authorization = authorization
        self._walks: dict[int, Walk] = {}

    def reconcile(self, project: int) -> None:
        """Take the next step towards serving the newest approved package.

        Raises:
            BackendError: AWS or Label Studio cannot be asked; the next call goes on from where this one stopped.
        """
        self._secure_webhook(project)
        package = self._cloud.newest_approved(project)
        endpoint = self._cloud.endpoint(project)
        if package is None:
            self._retire(project, endpoint)
        elif endpoint is None:
            self._deploy(project, package, update=False)
        elif endpoint.status == "InService" and endpoint.version == package.version:
            self._go_live(project, package)
        elif endpoint.status == "InService":
            self._update(project, package, endpoint)
        elif endpoint.status in {"Failed", "UpdateRollbackFailed"}:
            self._replace_failed(project, package, endpoint)

    def _secure_webhook(self, project: int) -> None:
        if not self._authorization:
            return
        backend = self._studio.ml_backend(project, self._states.get(project).url)
        if backend is not None and self._studio.secure_webhook(project, backend, self._authorization):
            logger.info("project %s: gave the webhook of %s its Authorization header", project, backend.url)

    def _retire(self, project: int, endpoint: Endpoint | None) -> None:
        """Nothing is approved (any more): serve nothing, and pay for nothing."""
        if self._states.get(project).live:
            self._states.update(project, live="")
        if endpoint is not None and endpoint.status in {"InService", "Failed"}:
            logger.warning("project %s: no model is approved any more; deleting the endpoint", project)
            self._cloud.delete_endpoint(project)

    def _deploy(self, project: int, package: ModelPackage, *, update: bool) -> None:
        logger.info("project %s: deploying %s", project, package.arn)
        self._cloud.deploy(project, package, update=update)
        self._states.update(project, deploying=package.version)

    def _update(self, project: int, package: ModelPackage, endpoint: Endpoint) -> None:
        """A failed update leaves the old model in service, with the reason: do not try that package again.

        The reason stays until the next update, so it tells of *package* only if that is what was deployed last.
        """
        if endpoint.failure and self._states.get(project).deploying == package.version:
            self._reject(project, package, endpoint.failure)
        else:
            self._deploy(project, package, update=True)

    def _replace_failed(self, project: int, package: ModelPackage, endpoint: Endpoint) -> None:
        """A failed endpoint can only be deleted; what it could not serve is rejected."""
        if endpoint.version == package.version:
            self._reject(project, package, endpoint.failure)
        self._states.update(project, live="")
        self._cloud.delete_endpoint(project)

    def _reject(self, project: int, package: ModelPackage, failure: str) -> None:
        reason = f"it could not be deployed: {failure or 'no reason given'}"
        logger.error("project %s: rejecting %s: %s", project, package.arn, reason)
        self._cloud.reject_package(package.arn, reason)

    def _go_live(self, project: int, package: ModelPackage) -> None:
        version = self._settings.model_version(package.version)
        if self._states.get(project).live != version:
            self._states.update(project, live=version, labels=self._labels(package))
            logger.info("project %s: %s is in service", project, version)
        try:
            self._announce(project, version)
        finally:  # predictions are worth having whatever Label Studio says of the title
            self._prefetch(project, version)

    def _labels(self, package: ModelPackage) -> tuple[str, ...]:
        """The labels that the model was trained with, by the dataset that its package names."""
        if not package.dataset:
            return ()
        labels = self._cloud.get_json(f"{package.dataset}dataset.json").get("labels")
        if not isinstance(labels, list):
            raise AwsError(f"wanted a list of labels in {package.dataset}dataset.json")
        return tuple(str(label) for label in labels)

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
