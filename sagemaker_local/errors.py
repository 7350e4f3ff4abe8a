"""The errors that reach a client: SageMaker's own codes, messages and HTTP status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(Exception):
    """An answer other than 200: AWS's error code, a message for a person, and members of the error's shape."""

    def __init__(self, code: str, message: str, *, status: int = 400, members: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = dict(members or {})


class JobError(Exception):
    """Why a job or a step failed, as its FailureReason says it.

    `kind` is what a retry policy names: `SageMaker.JOB_INTERNAL_ERROR` and the like, or "" for a failure that
    no policy retries (the job's own program failed, a request is wrong).
    """

    def __init__(self, reason: str, *, kind: str = "") -> None:
        super().__init__(reason)
        self.kind = kind


class TimeLimitError(JobError):
    """The job ran longer than it may."""


class StopRequested(Exception):  # noqa: N818 - not a fault: somebody asked the job to stop
    """The execution is being stopped."""


class StartError(Exception):
    """The service cannot start; the message is one sentence for the person who started it."""


def validation(message: str) -> ApiError:
    """The request breaks a rule, or names something that is not there (as most of SageMaker says it)."""
    return ApiError("ValidationException", message)


def not_found(message: str) -> ApiError:
    """A pipeline or an execution that is not there."""
    return ApiError("ResourceNotFound", message)


def conflict(message: str) -> ApiError:
    """The thing is in a state that does not allow this."""
    return ApiError("ConflictException", message)


def internal(message: str) -> JobError:
    """A failure that a second attempt may not meet again (S3 away, a process taken by the system)."""
    return JobError(f"InternalServerError: {message}", kind="SageMaker.JOB_INTERNAL_ERROR")
