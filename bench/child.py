"""`python -m bench.child LOG PROGRAM ARGUMENT...`: run a program; say what it took, by what the system counts.

A process of its own, and a small one: to the system the largest memory of a program that was just started is at least
that of the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Write the seconds and the megabytes as JSON; the exit code is the program's."""
    log, *command = arguments
    opened = os.open(log, os.O_WRONLY | os.O_CREAT)
    began = time.monotonic()
    to_log = [(os.POSIX_SPAWN_DUP2, opened, stream) for stream in (1, 2)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=to_log)
    _, status, usage = os.wait4(process, 0)
    found = {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
    }
    sys.stdout.write(json.dumps(found))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
