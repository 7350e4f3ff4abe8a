"""The credentials of a profile in ``~/.aws``, for containers that cannot read that folder.

A profile may mean keys, a role to assume, IAM Identity Center (SSO) or a ``credential_process``; boto3 knows them all,
but only a process that runs as the folder's owner may read it. This one does, and hands on what it is given by the
protocol that SDKs know from Amazon ECS [1]: they ask ``http://169.254.170.2`` +
``AWS_CONTAINER_CREDENTIALS_RELATIVE_URI``, with ``AWS_CONTAINER_AUTHORIZATION_TOKEN`` in the header ``Authorization``,
and ask again before the answer expires.

[1] https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html

Run by ``gunicorn 'backend.credentials:create_app()'``, see ``compose.aws-profile.yml``.
"""

import hmac
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from gunicorn.arbiter import Arbiter

# Keys of a user do not expire. They are asked for again as often as those of a role are, in case they were exchanged.
LIFETIME = timedelta(hours=1)
ROUTE = "/credentials"
logger = logging.getLogger(__name__)


class Profile:
    """A profile's credentials. Safe to use from several threads."""

    def __init__(self, load: Callable[[], Credentials | None]) -> None:
        self._load = load
        self._held: Credentials | None = None
        self._lock = Lock()

    def answer(self) -> dict[str, str | None]:
        """Credentials in the form of the protocol, good for five minutes at least.

        Raises:
            BotoCoreError: they cannot be had, such as after the end of an SSO session.
            ClientError: AWS refuses them, such as a role that the user may not assume.
            ValueError: what a ``credential_process`` prints is no JSON.
            LookupError: the profile has none.
        """
        with self._lock:
            # What expires renews itself in time; what does not is read again.
            if getattr(self._held, "_expiry_time", None) is None:
                self._held = self._load()
            if self._held is None:
                raise LookupError("the profile has no credentials")
            keys = self._held.get_frozen_credentials()
            # botocore tells the expiry by this name alone; the AWS CLI's export-credentials reads it too.
            expiry: datetime = getattr(self._held, "_expiry_time", None) or datetime.now(UTC) + LIFETIME
        return {
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret_key,
            "Token": keys.token,
            "Expiration": expiry.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def of_the_environment() -> Credentials | None:
    """What boto3 finds by ``AWS_PROFILE``."""
    found: Credentials | None = boto3.session.Session().get_credentials()
    return found


def create_app(profile: Profile | None = None) -> Flask:
    """The WSGI application: ``/credentials``, and ``/livez`` that is 200 while there are credentials."""
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if not token:
        sys.stderr.write("cannot start: AWS_CONTAINER_AUTHORIZATION_TOKEN is not set; without it everybody may ask\n")
        sys.exit(Arbiter.APP_LOAD_ERROR)
    source = profile or Profile(of_the_environment)
    app = Flask("credentials")

    @app.get(ROUTE)
    def credentials() -> ResponseReturnValue:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return _refusal(401, "wanted AWS_CONTAINER_AUTHORIZATION_TOKEN in the header Authorization")
        return _answer(source)

    @app.get("/livez")
    def livez() -> ResponseReturnValue:
        answer = _answer(source)
        return jsonify(status="UP") if answer.status_code == 200 else answer

    return app


def _answer(profile: Profile) -> Response:
    name = os.environ.get("AWS_PROFILE", "default")
    try:
        return jsonify(profile.answer())
    except (BotoCoreError, ClientError, LookupError, ValueError, EOFError, OSError) as error:
        reason = str(error) or type(error).__name__
        message = f"no credentials from the profile {name!r}: {reason}. {_cure(error, name)}"
        logger.warning("%s", message)
        return _refusal(503, message)


def _cure(error: Exception, name: str) -> str:
    kind = type(error).__name__
    if "SSO" in kind or "SSO" in str(error) or "Token" in kind:
        return f"On the host: aws sso login --profile {name}"
    if isinstance(error, EOFError):
        return "A profile that asks for a code (mfa_serial) cannot be used by services"
    if isinstance(error, (BotoCoreError, ClientError, ValueError)) and not isinstance(error, ProfileNotFound):
        return f"On the host, for comparison: aws sts get-caller-identity --profile {name}"
    # botocore passes over a file that it may not read.
    return (
        f"Wanted the profile in a folder that user {os.getuid()} may read (AWS_CONFIG_DIR, AWS_CONFIG_UID, AWS_PROFILE)"
    )


def _refusal(status: int, message: str) -> Response:
    """An error as the protocol has it."""
    response: Any = jsonify(code=str(status), message=message)
    response.status_code = status
    return response  # type: ignore[no-any-return]
