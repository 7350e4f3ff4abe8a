"""Child processes: each in a process group of its own, with a small environment, never outliving the service."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "SSL_CERT_FILE", "LD_LIBRARY_PATH")
_THREAD_CAPS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def child_environment(environ: Mapping[str, str], *, region: str) -> dict[str, str]:
    """What a job or a model server gets of the service's own environment: the basics and the way to S3."""
    passed = {key: value for key, value in environ.items() if key in _PASSED_ON or key.startswith("AWS_")}
    caps = {key: environ.get(key, str(os.cpu_count() or 1)) for key in _THREAD_CAPS}
    return caps | {"PYTHONUNBUFFERED": "1"} | passed | {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}


@dataclass(slots=True)
class Process:
    """A running command and everything it started."""

    _popen: subprocess.Popen[bytes]
    _grace_s: float
    _ended: bool = False

    @classmethod
    def start(
        cls, command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str], grace_s: float
    ) -> Process:
        """Start the command in the folder; both its outputs are appended to the log."""
        guarded = [sys.executable, "-I", "-S", str(_GUARD), str(grace_s), *command]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                guarded,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        return cls(_popen=popen, _grace_s=grace_s)

    def exit_code(self) -> int | None:
        """None while it runs; 128 + the signal's number if a signal ended it."""
        code = self._popen.poll()
        if code is None:
            return None
        self._sweep()
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """SIGTERM to the whole group, SIGKILL to what is left after the grace."""
        if self._ended:
            return
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        while self._popen.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self._sweep()
        self._popen.wait()

    def _sweep(self) -> None:
        """Kill what the command left behind in its group; once, since later the number may be another's."""
        if self._ended:
            return
        self._ended = True
        self._signal(signal.SIGKILL)
        if self._popen.stdin:
            self._popen.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        # PermissionError is what macOS says of a group that holds ended processes only.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def python_path(first: str, environment: Mapping[str, str]) -> dict[str, str]:
    """PYTHONPATH with a folder before what it held; nothing to set if both are empty."""
    parts = [part for part in (first, environment.get("PYTHONPATH", "")) if part]
    return {"PYTHONPATH": os.pathsep.join(parts)} if parts else {}
