"""Botocore's errors as this package's own; for the adapters to AWS alone."""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from backend.errors import AwsAccessError, AwsAwayError, AwsError
from backend.shortages import shortage

P = ParamSpec("P")
R = TypeVar("R")

# Each service has words of its own; an answer to HEAD has no body, so its code is the bare status.
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_DENIED |= {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
_BUSY = {429, 503}
_BUSY_CODES = {"Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"}
_BUSY_CODES |= {"ModelNotReadyException", "RequestLimitExceeded", "ServiceUnavailable", "ServiceUnavailableException"}
_LACKING = re.compile(r'is not authorized to perform: (\S+)(?: on resource: "?([^\s"]+))?')
_DENIED_IN_STACK = re.compile(r"API: ([a-z0-9-]+:\w+) Access Denied")  # how CloudFormation tells of S3
_EXPLICIT = re.compile(r"with an explicit deny in an? ((?:[a-z-]+ )*?(?:policy|boundary))")
_NOT_ALLOWED = re.compile(r"because no ((?:[A-Za-z-]+ )*?(?:policy|boundary)) allows")
# Answers to HEAD have no body, so that AWS says nothing of what is lacking.
_HEAD = {
    "HeadBucket": "allow s3:ListBucket on the bucket in a policy of whoever runs this; or it is somebody else's",
    "HeadObject": "allow s3:GetObject on the object and s3:ListBucket on its bucket in a policy of whoever runs this",
}


def translated(call: Callable[P, R]) -> Callable[P, R]:
    """Botocore's errors do not leave an adapter."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except ClientError as error:
            raise _client_error(error) from error
        except (NoConnectionError, HTTPClientError) as error:
            raise AwsAwayError(f"AWS cannot be reached: {error}") from error
        except BotoCoreError as error:
            raise AwsError(f"AWS cannot be asked: {error}") from error

    return wrapper


def _client_error(error: ClientError) -> AwsError:
    code, told = error_code(error), error_message(error)
    if code in _DENIED:
        advice = lacking_permission(told) or _HEAD.get(error.operation_name) or "check the credentials and policy"
        return AwsAccessError(f"AWS denied {error.operation_name} ({code}): {told}; {advice}")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = AwsAwayError if status >= 500 else AwsError
    advice = shortage(f"{code}: {told}")
    return kind(f"{error.operation_name} failed ({code}): {f'{advice} (AWS: {told})' if advice else told}")


def lacking_permission(told: str) -> str:
    """What to do where AWS says which permission is lacking; '' where it does not say."""
    found = _LACKING.search(told)
    if found is None:
        short = _DENIED_IN_STACK.search(told)
        return f"allow {short[1]} in a policy of whoever runs this" if short else ""
    what = found[1].rstrip(".,") + (f" on {found[2].rstrip('.,')}" if found[2] else "")
    if explicit := _EXPLICIT.search(told):
        return f"the {explicit[1]} denies {what}: have that taken out of it"
    lacks = _NOT_ALLOWED.search(told)
    whose = f"the {lacks[1]}" if lacks and lacks[1] != "identity-based policy" else "a policy of whoever runs this"
    return f"allow {what} in {whose}"


def error_code(error: ClientError) -> str:
    """Such as ``AccessDenied``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """What AWS says of it."""
    return str(error.response.get("Error", {}).get("Message", ""))


def absent(error: ClientError) -> bool:
    """Whether AWS says that the thing asked for is not there; each service has words of its own for that."""
    return error_code(error) in {"404", "NoSuchEntity", "NoSuchKey", "NotFound", "ResourceNotFound"} or (
        error_code(error) == "ValidationException"
        and any(phrase in error_message(error) for phrase in ("Could not find", "does not exist", "not found"))
    )


def is_there(ask: Callable[[], object]) -> bool:
    """Whether what is asked for is there; other answers of AWS are raised."""
    try:
        ask()
    except ClientError as error:
        if absent(error):
            return False
        raise
    return True


def busy(error: ClientError) -> bool:
    """Whether a service is asked too much at once, or is not ready yet; an endpoint's container may say so, too."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return bool({status, error.response.get("OriginalStatusCode")} & _BUSY) or error_code(error) in _BUSY_CODES


def exists_already(error: ClientError) -> bool:
    """Whether AWS says that the thing to be made is there."""
    return "already exist" in error_message(error)
