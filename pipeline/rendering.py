"""definition.json: rendered anew from definition.py, and read by everybody else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("definition.json")
# The SDK makes clients when it is imported, which wants a region, and looks for an instance's credentials.
_OFFLINE = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


class RenderError(Exception):
    """definition.py cannot be rendered."""


def rendered_definition() -> str:
    """The text that definition.py makes, in a process of its own: the SDK is large and changes logging.

    Raises:
        RenderError: it failed, for example because the sagemaker SDK is not installed.
    """
    command = [sys.executable, "-m", "pipeline.definition"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=PATH.parents[1], env={**os.environ, **_OFFLINE}
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RenderError(f"pipeline/definition.py cannot be rendered ({last[0]}); `make install` installs its SDK")
    return done.stdout


def committed_definition() -> dict[str, Any]:
    """The definition as it is committed."""
    definition: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return definition
