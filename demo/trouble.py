"""What the clients of the services raise, in a sentence."""

from __future__ import annotations

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from label_studio_sdk.core.api_error import ApiError

NO_GOOD_ANSWER = (httpx.HTTPError, ApiError, BotoCoreError, ClientError)
"""Label Studio's, S3's or SageMaker's client got no answer, or one that says no."""


def in_words(error: Exception) -> str:
    """What the client was told, without the headers and the whole page that may come with it."""
    if isinstance(error, ApiError):
        return f"Label Studio answered {reason(error)}"
    if isinstance(error, httpx.HTTPError):
        return f"Label Studio gave no good answer ({str(error) or type(error).__name__})"
    return str(error).strip().rstrip(".")


def reason(error: ApiError) -> str:
    """The status and the beginning of what Label Studio says about it."""
    body = error.body
    detail = body.get("detail") or body.get("validation_errors") or body if isinstance(body, dict) else body
    return f"{error.status_code}: {str(detail)[:300]}"
