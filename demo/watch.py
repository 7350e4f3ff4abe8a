"""What the loop is doing: looked up in Label Studio and SageMaker, and told as changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from demo.execution import ATTEMPTS, Execution, StepState
from demo.limits import TRAIN_AT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import PipelineExecutionStepTypeDef

    from demo.labelling import Labelling

MIOU = "validation:mIOU"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a project's loop at one moment."""

    tasks: int = 0
    annotated: int = 0
    execution: Execution | None = None
    package: int | None = None
    endpoint: str = ""
    model_version: str = ""
    stored: int = 0

    @property
    def waiting(self) -> int:
        """Tasks that nobody has annotated."""
        return self.tasks - self.annotated

    @property
    def served(self) -> bool:
        """Whether a model serves and every waiting task has its prediction."""
        return self.endpoint == "InService" and bool(self.model_version) and self.stored >= self.waiting


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks at one project's loop."""

    labelling: Labelling
    sagemaker: SageMakerClient
    project: int
    pipeline: str
    train_at: int = TRAIN_AT

    def look(self) -> Progress:
        """The state of the loop now."""
        tasks = self.labelling.tasks(self.project)
        version = live_version(self.labelling.backend_title(self.project))
        return Progress(
            tasks=len(tasks),
            annotated=sum(task.annotations > 0 for task in tasks),
            execution=self._newest_execution(),
            package=self._newest_package(),
            endpoint=self._endpoint_status(),
            model_version=version,
            stored=self.labelling.prediction_counts(self.project).get(version, 0),
        )

    def executions(self) -> list[str]:
        """The ARNs of the project's executions, newest first; none if there is no pipeline yet."""
        try:
            answer = self.sagemaker.list_pipeline_executions(
                PipelineName=self.pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=100
            )
        except ClientError as error:
            if is_missing(error):
                return []
            raise
        mine = f"p{self.project}-"
        return [
            summary["PipelineExecutionArn"]
            for summary in answer["PipelineExecutionSummaries"]
            if summary.get("PipelineExecutionDisplayName", "").startswith(mine)
        ]

    def _newest_execution(self) -> Execution | None:
        arns = self.executions()
        return self.execution(arns[0]) if arns else None

    def execution(self, arn: str) -> Execution:
        """An execution with its steps."""
        known = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        steps = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
        found = steps["PipelineExecutionSteps"]
        return Execution(
            name=known.get("PipelineExecutionDisplayName", arn),
            status=known["PipelineExecutionStatus"],
            steps=tuple(_step_state(step) for step in found),
            miou=self._miou(found),
            reason=known.get("FailureReason", ""),
            arn=arn,
        )

    def _miou(self, steps: Sequence[PipelineExecutionStepTypeDef]) -> float | None:
        for step in steps:
            arn = step.get("Metadata", {}).get("TrainingJob", {}).get("Arn")
            if arn and step.get("StepStatus") == "Succeeded":
                job = self.sagemaker.describe_training_job(TrainingJobName=arn.rpartition("/")[2])
                metrics = job.get("FinalMetricDataList", [])
                return next((metric["Value"] for metric in metrics if metric.get("MetricName") == MIOU), None)
        return None

    @property
    def _served_name(self) -> str:
        """The name of the project's endpoint and of its model package group."""
        return f"{self.pipeline}-p{self.project}"

    def _newest_package(self) -> int | None:
        try:
            answer = self.sagemaker.list_model_packages(
                ModelPackageGroupName=self._served_name,
                ModelApprovalStatus="Approved",
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=1,
            )
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        packages = answer["ModelPackageSummaryList"]
        return packages[0].get("ModelPackageVersion") if packages else None

    def _endpoint_status(self) -> str:
        try:
            return self.sagemaker.describe_endpoint(EndpointName=self._served_name)["EndpointStatus"]
        except ClientError as error:
            if is_missing(error):
                return ""
            raise


def is_missing(error: ClientError) -> bool:
    """Whether SageMaker says that the thing asked for is not there (it has more than one way to say so)."""
    code = error.response["Error"]["Code"]
    text = error.response["Error"]["Message"].lower()
    absent = ("does not exist", "could not find", "not found")
    return code == "ResourceNotFound" or (code == "ValidationException" and any(sign in text for sign in absent))


def _step_state(step: PipelineExecutionStepTypeDef) -> StepState:
    start, end = step.get("StartTime"), step.get("EndTime")
    seconds = (end - start).total_seconds() if start and end else None
    return StepState(step.get("StepName", "?"), step.get("StepStatus", "?"), seconds, step.get("FailureReason", ""))


def live_version(title: str) -> str:
    """The model version that serves, which the backend takes as its title in Label Studio; "" while there is none."""
    return title if re.search(r" v\d+$", title) else ""


def changes(before: Progress, after: Progress) -> list[str]:
    """What happened between two looks, a line for each thing; the counts that run up are not among them."""
    lines = _execution_changes(before.execution, after.execution)
    if after.package is not None and after.package != before.package:
        lines.append(f"  model       version {after.package} registered, approved")
    if after.endpoint and after.endpoint != before.endpoint:
        lines.append(f"  endpoint    {after.endpoint}")
    if after.served and (not before.served or after.model_version != before.model_version):
        lines.append(f"  predictions {after.stored}/{after.waiting} stored by {after.model_version}")
    return lines


def _execution_changes(before: Execution | None, after: Execution | None) -> list[str]:
    if after is None:
        return []
    same = before if before is not None and (before.arn, before.name) == (after.arn, after.name) else None
    lines = [] if same else [f"  pipeline    execution {after.name} started"]
    known = {step.name: step for step in same.steps} if same else {}
    lines += [_step_line(step) for step in after.steps if known.get(step.name) != step]
    if after.miou is not None and (same is None or same.miou is None):
        lines.append(f"  training    validation mIoU {after.miou:.3f}")
    if after.status != "Executing" and (same is None or same.status != after.status):
        reason = f": {after.reason}" if after.reason else ""
        lines.append(f"  pipeline    execution {after.name} {after.status}{reason}")
        lines += [f"  pipeline    {_attempts(after)}: it is tried again in a moment"] if after.retried else []
    return lines


def _attempts(execution: Execution) -> str:
    """Such as `attempt 1 of 3`; more annotations bring three more attempts, counted on by the names."""
    return f"attempt {(execution.attempt - 1) % ATTEMPTS + 1} of {ATTEMPTS}"


def _step_line(step: StepState) -> str:
    seconds = f" ({step.seconds:.0f} s)" if step.seconds is not None else ""
    reason = f": {step.reason}" if step.reason else ""
    return f"    {step.name:<18} {step.status}{seconds}{reason}"


def now(progress: Progress, *, threshold: int) -> str:
    """What the loop waits for at the moment, in a few words."""
    if progress.served:
        return f"  {progress.annotated} of {progress.tasks} tasks annotated; {progress.model_version} serves"
    running = progress.execution is not None and progress.execution.status == "Executing"
    if progress.execution is None and progress.annotated >= threshold:
        return "  the backend is about to start an execution ..."
    if progress.execution is not None and progress.execution.retried:
        return f"  {progress.execution.name} failed, the backend is about to try again ..."
    if progress.execution is None or progress.execution.failed:
        return f"  annotations {progress.annotated}/{threshold}"
    if running:
        active = [step.name for step in progress.execution.steps if step.status in {"Starting", "Executing"}]
        return f"  {progress.execution.name}: {', '.join(active) or 'between steps'} ..."
    if progress.endpoint == "InService":
        return f"  predictions {progress.stored}/{progress.waiting}"
    return f"  endpoint {progress.endpoint or 'not there yet'} ..."
