"""Writes the settings of a deployment into a file that only its owner can read."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from backend.config import Settings
from backend.errors import BackendError

SECRETS = ("LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS")
# `docker run --env-file` takes a value as it stands; Docker Compose fills in variables, and drops quotes and comments.
_READ_OTHERWISE = re.compile(r"""[$\\'"`\r\n]|(?:^|\s)#|^\s|\s$""")
_LINE = re.compile(r"\s*(?:export\s+)?(\w+)\s*=")


def service_env(settings: Settings, region: str) -> dict[str, str]:
    """The variables that the service needs for this deployment, the secret ones last."""
    return {
        "AWS_REGION": region,
        "S3_BUCKET": settings.s3_bucket,
        "S3_PREFIX": settings.s3_prefix,
        "SAGEMAKER_ROLE_ARN": settings.sagemaker_role_arn,
        "SAGEMAKER_PIPELINE": settings.sagemaker_pipeline,
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.label_studio_api_key,
        "BASIC_AUTH_USER": settings.basic_auth_user,
        "BASIC_AUTH_PASS": settings.basic_auth_pass,
    }


def check_values(values: Mapping[str, str]) -> None:
    """Raise BackendError for a value that not all programs would read from the file as it is."""
    if wrong := [name for name, value in values.items() if _READ_OTHERWISE.search(value)]:
        # The value is not shown: it may be a password.
        raise BackendError(
            f"--write-env: {', '.join(wrong)}: wanted a value that `docker run` and `docker compose` read alike, "
            "without $, \\, quotes, line breaks and a # that begins a word: choose another, or leave --write-env out"
        )


def check_writable(path: Path) -> None:
    """Raise BackendError where :func:`write_env` could not write this file."""
    try:
        if path.exists():
            path.read_text(encoding="utf-8")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise BackendError(
                f"--write-env {path}: wanted a folder to write to, but {path.parent} is not there or not yours"
            )
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"--write-env {path}: {error}") from error


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Set these variables in the file, which is made if it is not there; its other lines stay.

    Raises:
        BackendError: it cannot be written, or a value would be read otherwise.
    """
    check_values(values)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if not ((match := _LINE.match(line)) and match[1] in values)]
        text = "".join(f"{line}\n" for line in (*kept, *(f"{name}={value}" for name, value in values.items())))
        _write_private(path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"--write-env {path}: {error}") from error


def _write_private(path: Path, text: str) -> None:
    """All of it or nothing, and at no time open to others."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
