"""The trigger as a Lambda function, ``backend.aws_lambda.handler``: how it is called. What it does is in trigger.py.

Label Studio's webhook comes through API Gateway, which has checked the password, as ``POST /webhook``. EventBridge
calls regularly, and when an execution or a model package has changed its state; the function calls itself, too.

Environment: ``S3_BUCKET`` and ``SAGEMAKER_ROLE_ARN``; ``MODEL_DIR``, below ``/tmp``, where alone a function can write;
where they differ from the defaults ``S3_PREFIX``, ``ANNOTATIONS_PREFIX``, ``SAGEMAKER_PIPELINE``, ``MODEL_NAME``,
``SAGEMAKER_INSTANCE_TYPE``, ``DEPLOY_ENDPOINTS``, ``LOG_LEVEL`` and the settings of training. Nothing of Label
Studio's.
"""

import functools
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from backend.config import Settings
from backend.errors import BackendError, RequestError, SettingsError
from backend.lambda_events import Call, TrainRequest, WebRequest, parse_call

if TYPE_CHECKING:
    from backend.trigger import Trigger

logger = logging.getLogger(__name__)
_WEBHOOK = ("POST", "/webhook")


class Context(Protocol):
    """What Lambda tells of a call, as far as it is used here."""

    invoked_function_arn: str


class CallError(Exception):
    """A call that EventBridge or the function itself made did not do what it was for; Lambda makes it again."""


def handler(event: object, context: Context) -> dict[str, object]:
    """Answer a request over HTTP, whatever becomes of it; do what any other event asks for.

    Raises:
        CallError: it could not be done; the log says why.
    """
    if isinstance(event, Mapping) and "httpMethod" in event:
        return _answer(*_http(event, context))
    try:
        _work(event)
    except BackendError as error:
        logger.warning("%s", error)
        raise CallError(str(error)) from None
    except Exception:
        logger.exception("unexpected error")
        raise CallError("unexpected error; see the function's log") from None
    return {"status": "done"}


@functools.cache
def _settings() -> Settings:
    settings = Settings.from_env(label_studio=False)
    logging.getLogger("backend").setLevel(settings.log_level)
    return settings


@functools.cache
def _trigger() -> "Trigger":
    from backend.trigger import build  # noqa: PLC0415  # with it comes boto3, which a refused request does not need

    return build(_settings())


def _http(event: Mapping[str, object], context: Context) -> tuple[int, dict[str, object]]:
    """Status and body of the answer. An error is a short text; what is wrong inside is for the log alone."""
    try:
        call = _parsed(event)
        if not isinstance(call, WebRequest) or (call.method, call.path) != _WEBHOOK:
            return _error(404, "there is nothing here but POST /webhook")
        return 201, _trigger().hear(call.json(), function=context.invoked_function_arn)
    except RequestError as error:
        return _error(400, str(error))
    except SettingsError as error:
        logger.error("%s", error)  # noqa: TRY400  # its text says all
        return _error(500, "the function is not set up; see its log")
    except BackendError as error:
        logger.warning("webhook: %s", error)
        return _error(503, str(error))
    except Exception:
        logger.exception("unexpected error in a request")
        return _error(500, "unexpected error; see the function's log")


def _work(event: object) -> None:
    call = _parsed(event)
    if isinstance(call, TrainRequest):
        _trigger().train(call)
    elif call is not None and not isinstance(call, WebRequest):
        _trigger().look_after(call.project)


def _parsed(event: object) -> Call | None:
    return parse_call(event, pipeline=_settings().sagemaker_pipeline)


def _error(code: int, message: str) -> tuple[int, dict[str, object]]:
    return code, {"error": {"code": code, "message": message}}


def _answer(code: int, body: dict[str, object]) -> dict[str, object]:
    return {
        "statusCode": code,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
