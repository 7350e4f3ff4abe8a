"""Training and processing jobs: their documents, and running one from start to end."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sagemaker_local.containers import DEFAULT_LIMIT_S, Job
from sagemaker_local.errors import ApiError, JobError, StopRequested, TimeLimitError, internal, validation
from sagemaker_local.listing import page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sagemaker_local.containers import Containers
    from sagemaker_local.names import Names
    from sagemaker_local.settings import Settings
    from sagemaker_local.state import Document, Store

logger = logging.getLogger(__name__)
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class JobKind:
    """The two kinds of job differ in the names of the same members."""

    kind: str
    prefix: str

    def member(self, suffix: str) -> str:
        """`TrainingJobName`, `ProcessingEndTime`, ..."""
        return self.prefix + suffix


TRAINING = JobKind(kind="training-job", prefix="Training")
PROCESSING = JobKind(kind="processing-job", prefix="Processing")


def spot_problem(request: Document) -> str:
    """What SageMaker refuses of managed spot training; '' for a request that it takes."""
    limit = request.get("StoppingCondition", {})
    wait, spot = limit.get("MaxWaitTimeInSeconds"), request.get("EnableManagedSpotTraining", False)
    if not spot:
        return "MaxWaitTimeInSeconds is for managed spot training: EnableManagedSpotTraining is not set" if wait else ""
    if wait is None:
        return "EnableManagedSpotTraining wants MaxWaitTimeInSeconds in StoppingCondition"
    runtime = limit.get("MaxRuntimeInSeconds", DEFAULT_LIMIT_S)
    if wait < runtime:
        return f"MaxWaitTimeInSeconds ({wait}) must be equal to or greater than MaxRuntimeInSeconds ({runtime})"
    return ""


class Jobs:
    """Runs jobs, a bounded number at once, and answers Describe and List."""

    def __init__(
        self, *, settings: Settings, store: Store, names: Names, containers: Containers, closing: threading.Event
    ) -> None:
        self._settings = settings
        self._store = store
        self._names = names
        self._containers = containers
        self._closing = closing
        self._slots = threading.Semaphore(settings.jobs_at_once)

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on jobs."""
        return {
            "DescribeTrainingJob": self.describe_training,
            "DescribeProcessingJob": self.describe_processing,
            "ListTrainingJobs": lambda request: self._list(TRAINING, request),
            "ListProcessingJobs": lambda request: self._list(PROCESSING, request),
        }

    def describe_training(self, request: Document) -> Document:
        """DescribeTrainingJob."""
        job = self._store.get(TRAINING.kind, request["TrainingJobName"].lower())
        if job is None:
            raise validation("Requested resource not found.")
        return job

    def describe_processing(self, request: Document) -> Document:
        """DescribeProcessingJob."""
        job = self._store.get(PROCESSING.kind, request["ProcessingJobName"].lower())
        if job is None:
            raise validation(f"Could not find requested job with name: {request['ProcessingJobName']}")
        return job

    def _list(self, kind: JobKind, request: Document) -> Document:
        documents = self._store.documents(kind.kind)
        shown, token = page(documents, request, name=kind.member("JobName"), status=kind.member("JobStatus"))
        return {kind.member("JobSummaries"): shown, "NextToken": token}

    def run(self, kind: JobKind, request: Document, stop: threading.Event) -> Document:
        """Run a job to its end; its document. JobError if it failed, StopRequested if it was stopped."""
        if problem := spot_problem(request):
            raise JobError(f"ClientError: {problem}")
        if request.get("EnableManagedSpotTraining"):
            logger.info(
                "%s: there are no spot instances here: it runs at once, and nothing interrupts it",
                request[kind.member("JobName")],
            )
        job = self._create(kind, request, stop)
        work = self._containers.train if kind is TRAINING else self._containers.process
        try:
            with self._slot(stop):
                job.note({kind.member("StartTime"): time.time()})
                work(job)
        except StopRequested:
            if not self._closing.is_set():  # then the job counts as cut off
                self._finish(kind, job, status="Stopped", reason=None)
            raise
        except JobError as error:
            status = "Stopped" if isinstance(error, TimeLimitError) else "Failed"  # so says AWS of a time limit
            self._finish(kind, job, status=status, reason=str(error))
            raise
        except OSError as error:
            reason = internal(f"this machine refused: {error}")
            self._finish(kind, job, status="Failed", reason=str(reason))
            raise reason from error
        finally:
            shutil.rmtree(job.base, ignore_errors=True)
        return self._finish(kind, job, status="Completed", reason=None)

    def _create(self, kind: JobKind, request: Document, stop: threading.Event) -> Job:
        name = request[kind.member("JobName")]
        arn = self._names.arn(kind.kind, name)
        document = request | {"_name": name.lower(), kind.member("JobArn"): arn, kind.member("JobStatus"): "InProgress"}
        if kind is TRAINING:
            document["SecondaryStatus"] = "Starting"
        if not self._store.insert(kind.kind, name.lower(), document):
            raise ApiError("ResourceInUse", f"Job name must be unique within an AWS account and region: {name}")
        return Job(
            name=name,
            arn=arn,
            request=request,
            base=self._settings.data / "jobs" / name,
            log=self._settings.log_path(name),
            stop=stop,
            note=partial(self._note, kind, name),
        )

    def _note(self, kind: JobKind, name: str, changes: Document) -> None:
        self._store.update(kind.kind, name.lower(), changes)

    @contextmanager
    def _slot(self, stop: threading.Event) -> Iterator[None]:
        """Wait until fewer than the allowed number of jobs run."""
        while not self._slots.acquire(timeout=_POLL_S):
            if stop.is_set():
                raise StopRequested
        try:
            yield
        finally:
            self._slots.release()

    def _finish(self, kind: JobKind, job: Job, *, status: str, reason: str | None) -> Document:
        now = time.time()
        changes = {kind.member("JobStatus"): status, kind.member("EndTime"): now, "FailureReason": reason}
        document = self._store.get(kind.kind, job.name.lower()) or {}
        if kind is TRAINING:
            changes["SecondaryStatus"] = "MaxRuntimeExceeded" if status == "Stopped" and reason else status
            changes["TrainingTimeInSeconds"] = int(now - document.get("TrainingStartTime", now))
            changes["BillableTimeInSeconds"] = changes["TrainingTimeInSeconds"]
        return self._store.update(kind.kind, job.name.lower(), changes) or {}
