"""Writes down which AWS calls a program makes: a line of JSON for each, with names of things, never their contents.

    {"program": "-m backend status", "service": "sagemaker", "operation": "DescribePipeline", "parameters": {...}}

For programs that a test starts: with this folder on PYTHONPATH and AWS_CALLS_FILE set, every Python that finds
botocore writes itself down (sitecustomize.py sees to it), whoever made its clients. One without site-packages is
started as ``python -S aws_calls.py MODULE ARGUMENTS``. It needs nothing of the repository.
"""

import contextlib
import json
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FILE = "AWS_CALLS_FILE"
# What a policy looks at. Bodies, definitions and payloads are left out.
NAMES = frozenset(
    {
        *("Bucket", "Key", "Prefix"),
        *("PipelineName", "PipelineExecutionArn", "RoleArn", "ExecutionRoleArn"),
        *("ModelPackageGroupName", "ModelPackageName", "ModelPackageArn", "TrainingJobName"),
        *("ModelName", "EndpointName", "EndpointConfigName"),
        *("SecretId", "FunctionName"),
        *("StackName", "PolicyArn", "RoleName", "UserName", "GroupName"),
    }
)
Handler = Callable[..., None]


def environment(path: Path) -> dict[str, str]:
    """The variables with which a program that is started writes itself down to *path*."""
    return {FILE: str(path), "PYTHONPATH": str(Path(__file__).parent)}


def install() -> None:
    """Record this process, if it is to be recorded and has botocore."""
    path = os.environ.get(FILE)
    if not path:
        return
    with contextlib.suppress(ImportError):
        from botocore import handlers  # noqa: PLC0415  # what is not recorded need not have it

        handlers.BUILTIN_HANDLERS.append(("before-parameter-build", recorder(Path(path))))


def recorder(path: Path) -> Handler:
    """A handler of botocore's event before-parameter-build that adds lines to *path*."""

    def record(params: Mapping[str, Any], model: Any, **_: object) -> None:
        line = {"program": _program(), **as_line(params, model)}
        # One write of less than a page: lines of several processes do not get mixed up.
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return record


def as_line(params: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """What of a call is written down."""
    return {
        "service": model.service_model.service_name,
        "operation": model.name,
        "parameters": {name: value for name, value in params.items() if name in NAMES and isinstance(value, str)},
    }


def _program() -> str:
    """What was started: a module or a program. Not what follows ``-c``, which is a whole program."""
    words = sys.orig_argv[1:5]
    return " ".join(words[: words.index("-c")] if "-c" in words else words)[:200]


if __name__ == "__main__":
    install()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
