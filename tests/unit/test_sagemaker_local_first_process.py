"""As the first process of a container."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# A process to whom orphans come need not be the first one: Linux lets any process ask for them.
PROGRAM = """
import ctypes, os, subprocess, sys, time
import psutil
from sagemaker_local.first_process import run_below
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

def work():
{work}

sys.exit(run_below(work))
"""
LEAVE_ORPHANS = """
    for _ in range(3):
        subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if [each.pid for each in psutil.Process(os.getppid()).children()] == [os.getpid()]:
            return 0
        time.sleep(0.05)
    return 1
"""
WAIT = """
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        return 5
"""


def start(work: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM.format(work=work)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_orphans_do_not_stay_as_zombies() -> None:
    with start(LEAVE_ORPHANS) as process:
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 5, id="what the work returns"),
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, id="the work does not heed it"),
    ],
)
def test_signals_reach_the_work_and_its_status_comes_back(number: signal.Signals, status: int) -> None:
    with start(WAIT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)

        assert process.wait(30) == status
