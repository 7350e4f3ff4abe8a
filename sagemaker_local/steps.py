"""What each type of step does when its turn comes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.arguments import REQUESTS, named_request
from sagemaker_local.conditions import holds_all
from sagemaker_local.errors import ApiError, JobError, StopRequested
from sagemaker_local.expressions import ExpressionError, Scope, evaluate
from sagemaker_local.jobs import PROCESSING, TRAINING
from sagemaker_local.names import job_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sagemaker_local.definition import Step
    from sagemaker_local.jobs import JobKind, Jobs
    from sagemaker_local.names import Names
    from sagemaker_local.protocol import Protocol
    from sagemaker_local.state import Document

_ENDPOINT_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step leaves: properties for references, metadata for the list of steps, a Condition's outcome."""

    properties: Document = field(default_factory=dict)
    metadata: Document = field(default_factory=dict)
    outcome: bool | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one step."""

    step: Step
    execution_id: str
    scope: Scope
    stop: threading.Event
    announce: Callable[[Document], None]
    """Publishes metadata (a job's ARN) while the step still runs."""

    def arguments(self, extra: Document | None = None) -> Any:  # noqa: ANN401 - any JSON value
        """The step's arguments with every expression evaluated."""
        scope = self.scope
        if extra:
            execution = {**scope.execution, **extra}
            scope = Scope(scope.parameters, execution, scope.step, scope.property_file, scope.s3_object)
        return evaluate(self.step.arguments, scope)


class Steps:
    """Runs one attempt of a step of any type."""

    def __init__(
        self, *, protocol: Protocol, names: Names, jobs: Jobs, call: Callable[[str, Document], Document]
    ) -> None:
        self._protocol = protocol
        self._names = names
        self._jobs = jobs
        self._call = call
        self._types: dict[str, Callable[[Attempt], StepResult]] = {
            "Processing": lambda attempt: self._job(attempt, PROCESSING, "ProcessingJob"),
            "Training": lambda attempt: self._job(attempt, TRAINING, "TrainingJob"),
            "Condition": self._condition,
            "Fail": self._fail,
            "RegisterModel": self._register,
            "Model": lambda attempt: self._create(attempt, "ModelName", "DescribeModel", "ModelArn"),
            "EndpointConfig": lambda attempt: self._create(
                attempt, "EndpointConfigName", "DescribeEndpointConfig", "EndpointConfigArn"
            ),
            "Endpoint": self._endpoint,
        }

    def run(self, attempt: Attempt) -> StepResult:
        """Do what the step says; JobError with the reason if it failed, StopRequested if it was stopped."""
        try:
            return self._types[attempt.step.type](attempt)
        except ExpressionError as error:
            raise JobError(f"ClientError: Failed to evaluate the step's arguments: {error}") from error
        except ApiError as error:
            raise JobError(f"ClientError: {error.message}") from error

    def _request(self, attempt: Attempt, extra: Document | None = None) -> Document:
        """The request that the step makes, checked against its shape."""
        name = job_name(attempt.execution_id, attempt.step.name)
        kind = attempt.step.type
        request = named_request(kind, attempt.arguments(extra), name)
        self._protocol.check(REQUESTS[kind], request)
        return request

    def _job(self, attempt: Attempt, kind: JobKind, metadata_key: str) -> StepResult:
        name = job_name(attempt.execution_id, attempt.step.name)
        request = self._request(attempt, {kind.member("JobName"): name})
        request[kind.member("JobName")] = name
        metadata = {metadata_key: {"Arn": self._names.arn(kind.kind, name)}}
        attempt.announce(metadata)
        return StepResult(properties=self._jobs.run(kind, request, attempt.stop), metadata=metadata)

    def _condition(self, attempt: Attempt) -> StepResult:
        outcome = holds_all(attempt.step.arguments["Conditions"], attempt.scope)
        text = "True" if outcome else "False"
        return StepResult(properties={"Outcome": text}, metadata={"Condition": {"Outcome": text}}, outcome=outcome)

    def _fail(self, attempt: Attempt) -> StepResult:
        message = str(attempt.arguments()["ErrorMessage"])
        attempt.announce({"Fail": {"ErrorMessage": message}})
        raise JobError(message)

    def _register(self, attempt: Attempt) -> StepResult:
        request = self._request(attempt)
        group = request.get("ModelPackageGroupName")
        if group:
            self._make_group(group)
        arn = self._call("CreateModelPackage", request)["ModelPackageArn"]
        package = self._call("DescribeModelPackage", {"ModelPackageName": arn})
        return StepResult(properties=package, metadata={"RegisterModel": {"Arn": arn}})

    def _make_group(self, group: str) -> None:
        """RegisterModel makes the group if it is not there."""
        try:
            self._call("CreateModelPackageGroup", {"ModelPackageGroupName": group})
        except ApiError as error:
            if "already exists" not in error.message:
                raise

    def _create(self, attempt: Attempt, name: str, describe: str, arn: str) -> StepResult:
        request = self._request(attempt)
        self._call(REQUESTS[attempt.step.type], request)
        made = self._call(describe, {name: request[name]})
        return StepResult(properties=made, metadata={attempt.step.type: {"Arn": made[arn]}})

    def _endpoint(self, attempt: Attempt) -> StepResult:
        """Creates or updates the endpoint and waits until it serves."""
        request = self._request(attempt)
        name = {"EndpointName": request["EndpointName"]}
        try:
            self._call("CreateEndpoint", request)
        except ApiError as error:
            if "already existing" not in error.message:
                raise
            self._call("UpdateEndpoint", {key: value for key, value in request.items() if key != "Tags"})
        while (made := self._call("DescribeEndpoint", name))["EndpointStatus"] in ("Creating", "Updating"):
            if attempt.stop.wait(_ENDPOINT_POLL_S):
                raise StopRequested
        metadata = {"Endpoint": {"Arn": made["EndpointArn"]}}
        if made["EndpointStatus"] != "InService" or made.get("FailureReason"):
            raise JobError(f"ClientError: {made.get('FailureReason', made['EndpointStatus'])}")
        return StepResult(properties=made, metadata=metadata)


class Retries:
    """Counts a step's attempts against its retry policies."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._used = [0] * len(step.retry_policies)
        self._started = time.monotonic()

    @property
    def used(self) -> int:
        """How many retries there were."""
        return sum(self._used)

    def delay_s(self, error: JobError) -> float | None:
        """Seconds to wait before the next attempt, or None if no policy allows one."""
        for index, policy in enumerate(self._step.retry_policies):
            if error.kind not in policy.kinds or self._used[index] >= policy.attempts:
                continue
            delay_s = policy.interval_s * policy.backoff ** self._used[index]
            if time.monotonic() - self._started + delay_s > policy.expire_s:
                continue
            self._used[index] += 1
            return delay_s
        return None
