"""What a job does from its first download to its last upload: SageMaker's training and processing containers."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_local.errors import JobError, StopRequested, TimeLimitError, internal
from sagemaker_local.images import Metric, find_algorithm, local_command
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
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sagemaker_local.images import ImageTable
    from sagemaker_local.settings import Settings
    from sagemaker_local.state import Document
    from sagemaker_local.transfer import Transfer

_POLL_S = 0.05
DEFAULT_LIMIT_S = 86_400


@dataclass(frozen=True, slots=True)
class Job:
    """One job while it runs."""

    name: str
    arn: str
    request: Document
    base: Path
    """What stands for /opt/ml."""
    log: Path
    stop: threading.Event
    note: Callable[[Document], None]
    """Sets members of the job's document."""


class Containers:
    """Runs jobs' programs between download and upload; JobError if one fails, StopRequested if it was stopped."""

    def __init__(self, *, settings: Settings, transfer: Transfer, images: ImageTable) -> None:
        self._settings = settings
        self._transfer = transfer
        self._images = images

    def train(self, job: Job) -> None:
        """A training job: channels in, the image's program, metrics and model.tar.gz out."""
        algorithm = find_algorithm(self._images, job.request["AlgorithmSpecification"].get("TrainingImage", ""))
        write_training_config(job.base, job.request)
        job.note({"SecondaryStatus": "Downloading"})
        for channel in job.request.get("InputDataConfig", []):
            self._download_channel(job, channel)
        job.note({"SecondaryStatus": "Training"})
        environment = python_path(algorithm.python_path, self._settings.child_environment)
        environment |= {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn}
        self._execute(job, algorithm.train, environment)
        job.note({"SecondaryStatus": "Uploading", "FinalMetricDataList": _metrics(job, algorithm.metrics)})
        job.note({"ModelArtifacts": {"S3ModelArtifacts": str(self._upload_model(job))}})

    def process(self, job: Job) -> None:
        """A processing job: inputs in, the container's own command, outputs out."""
        write_processing_config(job.base, job.request)
        for item in job.request.get("ProcessingInputs", []):
            self._download_input(job, item)
        environment = {"PROCESSING_JOB_NAME": job.name, "PROCESSING_JOB_ARN": job.arn}
        self._execute(job, _processing_command(job), environment)
        for output in job.request.get("ProcessingOutputConfig", {}).get("Outputs", []):
            place = output["S3Output"]
            folder = host_path(place["LocalPath"], job.base)
            self._transfer.upload_folder(folder, S3Uri.parse(place["S3Uri"]), stopped=job.stop.is_set)

    def _download_channel(self, job: Job, channel: Document) -> None:
        name, source = channel["ChannelName"], channel["DataSource"].get("S3DataSource")
        mode = channel.get("InputMode", job.request["AlgorithmSpecification"]["TrainingInputMode"])
        if source is None or mode == "Pipe":
            raise JobError(f"ClientError: channel {name!r}: sagemaker_local knows S3DataSource in File mode only")
        download_input(source, job.base / "input/data" / name, self._transfer, stopped=job.stop.is_set)

    def _download_input(self, job: Job, item: Document) -> None:
        if "S3Input" not in item:
            raise JobError(f"ClientError: input {item['InputName']!r}: sagemaker_local knows S3Input only")
        folder = host_path(item["S3Input"].get("LocalPath", ""), job.base)
        download_input(item["S3Input"], folder, self._transfer, stopped=job.stop.is_set)

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

    def _execute(self, job: Job, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run the program under the job's time limit; JobError unless it ends with 0."""
        if job.stop.is_set():
            raise StopRequested
        given = {**self._settings.child_environment, **job.request.get("Environment", {}), **environment}
        process = Process.start(
            command,
            folder=job.base,
            log=job.log,
            environment={**given, "SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.base / "tmp")},
            grace_s=self._settings.grace_s,
        )
        code = _wait(job, process)
        if code == 128 + 9:
            raise internal("the job's program was killed (signal 9), for example for lack of memory")
        if code:
            raise JobError(failure_reason(job.base, job.log, code))


def _wait(job: Job, process: Process) -> int:
    """The exit code. Ends the program at a stop or when its time is over."""
    limit_s = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_LIMIT_S)
    deadline = time.monotonic() + limit_s
    while (code := process.exit_code()) is None:
        if job.stop.wait(_POLL_S):
            process.end()
            raise StopRequested
        if time.monotonic() > deadline:
            process.end()
            raise TimeLimitError(f"MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds ({limit_s})")
    return code


def _processing_command(job: Job) -> list[str]:
    specification = job.request["AppSpecification"]
    entrypoint = specification.get("ContainerEntrypoint", [])
    if not entrypoint:
        raise JobError("ClientError: AppSpecification has no ContainerEntrypoint: there is no program to run")
    return local_command(entrypoint + specification.get("ContainerArguments", []), job.base)


def _metrics(job: Job, built_in: tuple[Metric, ...]) -> list[Document]:
    defined = job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
    metrics = [*built_in, *(Metric(name=item["Name"], pattern=item["Regex"]) for item in defined)]
    try:
        values = final_metrics(job.log, metrics)
    except re.error as error:
        raise JobError(f"ClientError: a metric's Regex cannot be read: {error}") from error
    return [{"MetricName": name, "Value": value, "Timestamp": time.time()} for name, value in values.items()]
