"""`python -m backend setup` for the demo's services, as a person calls it, its lines among the demo's own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from demo import services
from demo.errors import DemoError
from demo.process import tail
from demo.services import BackendSettings
from demo.state import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.stack import Stack

MAX_TRAINING_SECONDS = 75
"""Time for the training of 16 small images; the 120 s from the last annotation to predictions count on it."""

PARAMETERS = (f"MaxTrainingSeconds={MAX_TRAINING_SECONDS}",)
WAIT_S = 30


def set_up(
    stack: Stack,
    *,
    title: str,
    labels: Sequence[str],
    prefix: str,
    settings: BackendSettings | None = None,
    parameters: Sequence[str] = PARAMETERS,
) -> None:
    """Bucket, pipeline, project, storages, webhook and ML backend are there, or made.

    Raises:
        DemoError: the command failed; the message has what it said.
    """
    chosen = settings or BackendSettings()
    service = services.backend(stack.plan, chosen)
    command = [sys.executable, "-m", "backend", "setup", "--create-bucket", "--storage-keys", "--presign"]
    command += ["--title", title, "--labels", ",".join(labels), "--images-prefix", prefix]
    command += ["--backend-url", service.url, "--wait", str(WAIT_S)]
    command += ["--warm-start"]
    for parameter in parameters:
        command += ["--set", parameter]
    log = stack.plan.folder.logs / "setup.log"
    stack.display.status("The project is being set up ...", waited_s=0)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    _follow(stack, process)
    if process.returncode:
        stack.require_alive()
        message = "\n".join(["`python -m backend setup` failed:", *(f"    {line}" for line in tail(log, 8))])
        raise DemoError(message)


def _follow(stack: Stack, process: subprocess.Popen[str]) -> None:
    """Show what the command did; what a person is to do next comes after an empty line, and the demo does it itself."""
    with process:
        try:
            done = False
            for line in process.stdout or ():
                done = done or not line.strip()
                if not done:
                    stack.display.line(f"  {line.rstrip()}")
        except BaseException:
            process.kill()
            raise
