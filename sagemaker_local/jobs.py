"""Training and processing jobs: their documents, and running one from start to end."""

from __future__ import annotations

import re
import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ApiError, JobError, StopRequested, internal, validation
from sagemaker_local.images import Metric, find_algorithm, local_command
from sagemaker_local.listing import page
from sagemaker_local.processes import Process, python_path
from sagemaker_local.transfer import S3Uri, pack
from sagemaker_local.workspace import (
    download_input,
    failure_reason,
    final_metrics,
    host_path,
    write_processing_config,
    write_training_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sagemaker_local.images import ImageTable
    from sagemaker_local.names import Names
    from sagemaker_local.settings import Settings
    from sagemaker_local.state import Document, Store
    from sagemaker_local.transfer import Transfer

_POLL_S = 0.05
_DEFAULT_LIMIT_S = 86_400


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


@dataclass(frozen=True, slots=True)
class Job:
    """One job while it runs."""

    name: str
    arn: str
    request: Document
    base: Path
    log: Path
    stop: threading.Event
    note: Callable[[Document], None]
    """Sets members of the job's document."""


class Jobs:
    """Runs jobs, a bounded number at once, and answers Describe and List."""

    def __init__(
        self, *, settings: Settings, store: Store, names: Names, transfer: Transfer, images: ImageTable
    ) -> None:
        self._settings = settings
        self._store = store
        self._names = names
        self._transfer = transfer
        self._images = images
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
        job = self._create(kind, request, stop)
        work = self._train if kind is TRAINING else self._process
        try:
            with self._slot(stop):
                job.note({kind.member("StartTime"): time.time()})
                work(job)
        except StopRequested:
            self._finish(kind, job, status="Stopped", reason=None)
            raise
        except JobError as error:
            self._finish(kind, job, status="Failed", reason=str(error))
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
            note=lambda changes: _ignore(self._store.update(kind.kind, name.lower(), changes)),
        )

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
            kept = document.get("SecondaryStatus") == "MaxRuntimeExceeded"
            changes["SecondaryStatus"] = "MaxRuntimeExceeded" if kept else status
            changes["TrainingTimeInSeconds"] = int(now - document.get("TrainingStartTime", now))
            changes["BillableTimeInSeconds"] = changes["TrainingTimeInSeconds"]
        return self._store.update(kind.kind, job.name.lower(), changes) or {}

    def _train(self, job: Job) -> None:
        request = job.request
        algorithm = find_algorithm(self._images, request["AlgorithmSpecification"].get("TrainingImage", ""))
        write_training_config(job.base, request)
        job.note({"SecondaryStatus": "Downloading"})
        for channel in request.get("InputDataConfig", []):
            self._download_channel(job, channel)
        job.note({"SecondaryStatus": "Training"})
        environment = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn}
        self._execute(
            job,
            list(algorithm.train),
            environment | python_path(algorithm.python_path, self._settings.child_environment),
        )
        job.note({"SecondaryStatus": "Uploading", "FinalMetricDataList": self._metrics(job, algorithm.metrics)})
        job.note({"ModelArtifacts": {"S3ModelArtifacts": str(self._upload_model(job))}})

    def _download_channel(self, job: Job, channel: Document) -> None:
        name, source = channel["ChannelName"], channel["DataSource"].get("S3DataSource")
        mode = channel.get("InputMode", job.request["AlgorithmSpecification"]["TrainingInputMode"])
        if source is None or mode == "Pipe":
            raise JobError(f"ClientError: channel {name!r}: sagemaker_local knows S3DataSource in File mode only")
        download_input(source, job.base / "input/data" / name, self._transfer, stopped=job.stop.is_set)

    def _metrics(self, job: Job, built_in: tuple[Metric, ...]) -> list[Document]:
        defined = job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
        metrics = [*built_in, *(Metric(name=item["Name"], pattern=item["Regex"]) for item in defined)]
        try:
            values = final_metrics(job.log, metrics)
        except re.error as error:
            raise JobError(f"ClientError: a metric's Regex cannot be read: {error}") from error
        return [{"MetricName": name, "Value": value, "Timestamp": time.time()} for name, value in values.items()]

    def _upload_model(self, job: Job) -> S3Uri:
        """model.tar.gz (and output.tar.gz, if the program left output data) to the job's place in S3."""
        root = S3Uri.parse(job.request["OutputDataConfig"]["S3OutputPath"]).below(f"{job.name}/output")
        folders = {"model": job.base / "model", "output": job.base / "output/data"}
        for name, folder in folders.items():
            if name == "model" or any(folder.iterdir()):
                archive = job.base / f"{name}.tar.gz"
                pack(folder, archive)
                self._transfer.upload(archive, root.below(archive.name))
        return root.below("model.tar.gz")

    def _process(self, job: Job) -> None:
        request = job.request
        write_processing_config(job.base, request)
        for item in request.get("ProcessingInputs", []):
            if "S3Input" not in item:
                raise JobError(f"ClientError: input {item['InputName']!r}: sagemaker_local knows S3Input only")
            folder = host_path(item["S3Input"].get("LocalPath", ""), job.base)
            download_input(item["S3Input"], folder, self._transfer, stopped=job.stop.is_set)
        specification = request["AppSpecification"]
        entrypoint = specification.get("ContainerEntrypoint", [])
        if not entrypoint:
            raise JobError("ClientError: AppSpecification has no ContainerEntrypoint: there is no program to run")
        command = local_command(entrypoint + specification.get("ContainerArguments", []), job.base)
        self._execute(job, command, {"PROCESSING_JOB_NAME": job.name, "PROCESSING_JOB_ARN": job.arn})
        for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
            target, folder = (
                S3Uri.parse(output["S3Output"]["S3Uri"]),
                host_path(output["S3Output"]["LocalPath"], job.base),
            )
            self._transfer.upload_folder(folder, target, stopped=job.stop.is_set)

    def _execute(self, job: Job, command: list[str], environment: Mapping[str, str]) -> None:
        """Run the program under the job's time limit; JobError unless it ends with 0."""
        if job.stop.is_set():
            raise StopRequested
        own = {"SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.base / "tmp")}
        process = Process.start(
            command,
            folder=job.base,
            log=job.log,
            environment={
                **self._settings.child_environment,
                **job.request.get("Environment", {}),
                **environment,
                **own,
            },
            grace_s=self._settings.grace_s,
        )
        code = self._wait(job, process)
        if code == 128 + 9:
            raise internal("the job's program was killed (signal 9), for example for lack of memory")
        if code:
            raise JobError(failure_reason(job.base, job.log, code))

    def _wait(self, job: Job, process: Process) -> int:
        """The exit code. Ends the program at a stop or when its time is over."""
        limit_s = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DEFAULT_LIMIT_S)
        deadline = time.monotonic() + limit_s
        code = process.exit_code()
        while code is None:
            if job.stop.wait(_POLL_S):
                process.end()
                raise StopRequested
            if time.monotonic() > deadline:
                process.end()
                job.note({"SecondaryStatus": "MaxRuntimeExceeded"} if "TrainingJobName" in job.request else {})
                raise JobError(f"MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds ({limit_s})")
            code = process.exit_code()
        return code


def _ignore(_: Any) -> None:  # noqa: ANN401 - whatever a callee returns
    """A result nobody wants."""
