"""When to train, and how training is started."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from backend.aws import Execution, Failure, ModelPackage
from backend.config import Settings
from backend.dataset import Selection, Snapshot, build_snapshot, select_annotations
from backend.errors import BackendError
from backend.regions import LabelConfig, parse_label_config
from backend.warm_start import LiveModel, warm_start_files

logger = logging.getLogger(__name__)
_SHOWN = 10  # of the reasons why something was left out; the rest is much the same
ATTEMPTS = 3  # for one threshold; after that the next one is waited for


class Action(Enum):
    """What to do about training, in the words that the annotator's side gets to read."""

    WAIT = "waiting"
    RUNNING = "running"
    COOL_DOWN = "cooling down"
    DAY_LIMIT = "daily limit reached"
    NOTHING = "nothing to train on"
    START = "started"


@dataclass(frozen=True, slots=True)
class Policy:
    """How often may be trained."""

    every: int = 16
    cooldown: timedelta = timedelta(minutes=10)
    per_day: int = 24

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """As the settings say."""
        return cls(
            every=settings.start_training_each_n_updates,
            cooldown=timedelta(seconds=settings.training_cooldown_seconds),
            per_day=settings.max_trainings_per_day,
        )


@dataclass(frozen=True, slots=True)
class History:
    """What the project's executions say. *newest* is '' while there was none.

    *last_trained* is the count of annotations that the last execution used up: one that succeeded, that somebody
    stopped, or whose model was *refused*. *failures* counts those that failed after it, *failed_at* is the newest
    one's count of annotations, *failed_on* when it ended and *shortage* what to do if AWS had no room for it.
    """

    newest: str = ""
    running: bool = False
    last_trained: int = 0
    refused: bool = False
    failures: int = 0
    failed_at: int = 0
    failed_on: datetime | None = None
    shortage: str = ""
    today: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why. *train_at* is the count at which training starts by itself."""

    action: Action
    annotations: int
    train_at: int
    reason: str

    def as_json(self) -> dict[str, object]:
        """For an answer over HTTP."""
        return {
            "status": self.action.value,
            "annotations": self.annotations,
            "train_at": self.train_at,
            "message": self.reason,
        }


def read_history(
    executions: Sequence[Execution], *, now: datetime, failures: Mapping[str, Failure] | None = None
) -> History:
    """Sum up *executions*, newest first; *failures* tells, by ARN, how the failed ones ended.

    A model that was refused uses its annotations up as a good one does: the same annotations would give it again.
    """
    ends = failures or {}
    failed: list[Execution] = []
    last: Execution | None = None
    for execution in executions:
        if execution.used_up or (execution.arn in ends and ends[execution.arn].refused):
            last = execution
            break
        if not execution.running:
            failed.append(execution)
    newest = ends.get(failed[0].arn) if failed else None
    return History(
        newest=executions[0].arn if executions else "",
        running=any(execution.running for execution in executions),
        last_trained=last.annotations if last else 0,
        refused=last is not None and not last.used_up and not failed,
        failures=len(failed),
        failed_at=failed[0].annotations if failed else 0,
        failed_on=newest.ended if newest else None,
        shortage=newest.shortage if newest else "",
        today=sum(execution.started > now - timedelta(days=1) for execution in executions),
    )


def decide(annotations: int, history: History, policy: Policy, *, now: datetime, forced: bool = False) -> Decision:
    """Whether to train on *annotations* (skipped ones not counted). Pure.

    The rule is a crossing, ``annotations - last_trained >= every``, never a remainder: annotations that come two at a
    time cannot jump over it. *forced* (Start Training) asks for no count.
    """
    train_at = _train_at(history, policy)

    def decision(action: Action, reason: str) -> Decision:
        return Decision(action, annotations, train_at, reason)

    if history.running:
        return decision(Action.RUNNING, "a training is running; what is labelled meanwhile counts for the next one")
    if annotations == 0:
        return decision(Action.WAIT, f"0/{train_at} annotations")
    if forced:
        return decision(Action.START, f"asked for, with {annotations} annotations")
    if annotations < train_at:
        refused = "; the last model did not reach MINIMUM_MIOU" if history.refused else ""
        return decision(Action.WAIT, f"{annotations}/{train_at} annotations{refused}")
    if _retrying(history) and history.failed_on is not None and now < history.failed_on + policy.cooldown:
        return decision(Action.COOL_DOWN, f"the last training failed; it is tried again after {policy.cooldown}")
    if history.today >= policy.per_day:
        return decision(Action.DAY_LIMIT, f"{history.today} trainings in 24 hours (MAX_TRAININGS_PER_DAY)")
    return decision(Action.START, f"{annotations}/{train_at} annotations")


def _retrying(history: History) -> bool:
    """Whether the last failure is to be tried again with the same annotations."""
    return history.failures % ATTEMPTS != 0


def _train_at(history: History, policy: Policy) -> int:
    if history.failures and not _retrying(history):
        return history.failed_at + policy.every
    return history.last_trained + policy.every


def execution_token(pipeline: str, project: int, history: History) -> str:
    """The ``ClientRequestToken``: every execution of a project can have one successor only.

    Two workers that see the same state make the same token, and one that still sees an old state gets the execution
    that was started from it instead of a second one.
    """
    return hashlib.sha256(f"{pipeline}/{project}/{history.newest}".encode()).hexdigest()


class FailureSource(Protocol):
    """Tells how an execution failed."""

    def execution_failure(self, execution: Execution) -> Failure: ...


class Histories:
    """Sums up projects' executions; remembers how they failed and how few annotations there were meanwhile."""

    def __init__(self, source: FailureSource) -> None:
        self._source = source
        self._failures: dict[str, Failure] = {}
        self._lowest: dict[int, tuple[str, int]] = {}  # a project's newest execution, fewest annotations seen since

    def read(self, project: int, executions: Sequence[Execution], *, annotations: int | None, now: datetime) -> History:
        """The history of *project* by its *executions*, newest first, and its count of *annotations* now, if known."""
        failures: dict[str, Failure] = {}
        for execution in executions:
            if execution.used_up:
                break
            if execution.failed:
                failures[execution.arn] = failure = self._failure(execution, again=execution is executions[0])
                if failure.refused:
                    break
        return self._lowered(project, read_history(executions, now=now, failures=failures), annotations)

    def _failure(self, execution: Execution, *, again: bool) -> Failure:
        """How it ended is asked for once; for the newest *again*, which somebody may have retried."""
        if again or execution.arn not in self._failures:
            self._failures[execution.arn] = self._source.execution_failure(execution)
        return self._failures[execution.arn]

    def _lowered(self, project: int, history: History, annotations: int | None) -> History:
        """Annotations that were trained on and deleted since are not to be made up for before the next training."""
        counts = [] if annotations is None else [annotations]
        newest, lowest = self._lowest.get(project, ("", 0))
        if project in self._lowest and newest == history.newest:
            counts.append(lowest)
        if not counts:
            return history
        self._lowest[project] = (history.newest, min(counts))
        return replace(history, last_trained=min(history.last_trained, *counts))


class TrainingCloud(FailureSource, Protocol):
    """What the trainer needs of AWS."""

    def executions(self, project: int) -> list[Execution]: ...
    def ensure_package_group(self, project: int) -> str: ...
    def newest_approved(self, project: int) -> ModelPackage | None: ...
    def validation_miou(self, package: ModelPackage) -> float | None: ...
    def get_json(self, uri: str) -> Mapping[str, object]: ...
    def put_object(self, key: str, body: bytes) -> None: ...
    def start_execution(
        self, *, project: int, annotations: int, attempt: int, token: str, parameters: Mapping[str, str]
    ) -> str: ...


class LabelledProject(Protocol):
    """What the trainer has to know of a project; *annotations* are counted without skipped ones."""

    @property
    def id(self) -> int: ...
    @property
    def label_config(self) -> str: ...
    @property
    def annotations(self) -> int: ...


class AnnotationSource(Protocol):
    """Where annotations are read: from Label Studio itself, or from its target storage in S3."""

    def project(self, project: int) -> LabelledProject: ...
    def annotated_tasks(self, project: int) -> list[dict[str, Any]]: ...


class ImageKeys(Protocol):
    """Makes sure that every image lies in the bucket."""

    def keys(self, project: int, selection: Selection) -> dict[str, str]: ...


class Trainer:
    """Starts the pipeline when it is time to."""

    def __init__(
        self, settings: Settings, *, cloud: TrainingCloud, source: AnnotationSource, images: ImageKeys
    ) -> None:
        self._settings = settings
        self._cloud = cloud
        self._source = source
        self._images = images
        self._histories = Histories(cloud)
        self.policy = Policy.of(settings)

    def consider(
        self, project: int, *, forced: bool = False, told: LabelledProject | None = None
    ) -> tuple[Decision, History]:
        """Find out how things stand, and start the pipeline if it is time to.

        Args:
            project: Label Studio's project id.
            forced: whether somebody asked for it, whatever the count.
            told: the project as an event just told of it; if left out, the source of annotations is asked.

        Raises:
            BackendError: the source or SageMaker cannot be asked, or the project cannot be trained on.
        """
        now = datetime.now(UTC)
        found = told or self._source.project(project)
        config = parse_label_config(found.label_config)  # told from the start, not only at the threshold
        executions = self._cloud.executions(project)
        # An event may come late or twice: what it tells is no reason to believe that annotations were deleted since.
        counted = None if told else found.annotations
        history = self._histories.read(project, executions, annotations=counted, now=now)
        decision = decide(found.annotations, history, self.policy, now=now, forced=forced)
        if decision.action is Action.START:
            decision = self._start(found, config, history, now=now, forced=forced)
        return decision, history

    def _start(
        self, project: LabelledProject, config: LabelConfig, history: History, *, now: datetime, forced: bool
    ) -> Decision:
        """The count is taken anew from the annotations themselves, which are what will be trained on."""
        selection = select_annotations(self._source.annotated_tasks(project.id), config)
        decision = decide(selection.annotations, history, self.policy, now=now, forced=forced)
        if selection.annotations < project.annotations:
            counts = f"{project.annotations} annotations were told of, {selection.annotations} are there"
            logger.warning("project %s: %s; a target storage may want a sync", project.id, counts)
        if decision.action is not Action.START:
            return decision
        keys = self._images.keys(project.id, selection)
        usable = [task for task in selection.tasks if task.image in keys]
        if len(usable) < 2 or not any(task.shows_something for task in usable):
            reason = f"wanted two images and a polygon at least, found {len(usable)} usable images; " + (
                "; ".join(selection.skipped[:3]) or "label more"
            )
            return Decision(Action.NOTHING, selection.annotations, decision.train_at, reason)
        snapshot = build_snapshot(
            selection, project=project.id, labels=config.labels, bucket=self._settings.s3_bucket, keys=keys
        )
        arn = self._run(project.id, selection, config, snapshot, history)
        logger.info("project %s: started %s with %s annotations", project.id, arn, selection.annotations)
        if selection.skipped:
            shown = "; ".join(selection.skipped[:_SHOWN])
            logger.warning("project %s: %s not trained on: %s", project.id, len(selection.skipped), shown)
        return decision

    def _run(
        self, project: int, selection: Selection, config: LabelConfig, snapshot: Snapshot, history: History
    ) -> str:
        folder = self._settings.key("projects", str(project), "datasets", snapshot.digest)
        live = self._cloud.newest_approved(project)
        bucket = self._settings.s3_bucket
        start = warm_start_files(config, self._live_model(project, live), bucket=bucket, folder=folder)
        for name, body in {**snapshot.files, **start}.items():
            self._cloud.put_object(f"{folder}/{name}", body)
        parameters = {
            "DatasetS3Uri": f"s3://{bucket}/{folder}/",
            "ModelPackageGroupName": self._cloud.ensure_package_group(project),
            "MinimumMIoU": str(self._settings.minimum_miou),
            "ApproveMIoU": str(self._approve_from(project, live)),
        }
        return self._cloud.start_execution(
            project=project,
            annotations=selection.annotations,
            attempt=history.failures,
            token=execution_token(self._settings.sagemaker_pipeline, project, history),
            parameters=parameters,
        )

    def _live_model(self, project: int, package: ModelPackage | None) -> LiveModel | None:
        """What training may go on from; None where nothing is served, or nobody can tell its labels."""
        if package is None or not package.dataset:
            return None
        try:
            labels = self._cloud.get_json(f"{package.dataset}dataset.json").get("labels")
        except BackendError as error:
            logger.warning(
                "project %s: training begins anew, the live model's labels are not known: %s", project, error
            )
            return None
        return LiveModel(package.model_data, tuple(map(str, labels))) if isinstance(labels, list) else None

    def _approve_from(self, project: int, package: ModelPackage | None) -> float:
        """A new model is approved unless it is worse than the newest approved one by more than the tolerance."""
        try:
            live = self._cloud.validation_miou(package) if package else None
        except BackendError as error:
            logger.warning("project %s: the live model's mIoU is not known: %s", project, error)
            live = None
        floor = self._settings.minimum_miou
        return round(max(floor, (live or 0.0) - self._settings.miou_tolerance), 4)
