"""What the first process of a container owes the others: it passes signals on and buries orphans."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def run_below(work: Callable[[], int]) -> int:
    """Run the work in a child process; its exit status, 128 + the signal's number if a signal ended it.

    Programs whose parent has ended become the first process's children. Left alone they would stay in the table of
    processes as zombies, one for each job that had to be killed. To be called before any thread is started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # so that none gets lost until it is waited for
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return work()
    while (status := _reap(child)) is None:
        number = signal.sigwait(_SIGNALS)
        if number != signal.SIGCHLD:
            os.kill(child, number)
    return status


def _reap(child: int) -> int | None:
    """Take leave of all processes that have ended; the child's exit status, None while it runs."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
