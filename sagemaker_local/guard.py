"""Runs one command and ends it when the service that started it is gone. Run by path, standard library only.

    python guard.py GRACE_SECONDS COMMAND...

Standard input is a pipe whose other end the service holds. When it closes (the service ended, however: also by SIGKILL)
the process group gets SIGTERM, and SIGKILL after the grace. No pid is remembered on disk, so none can be mistaken
for ours later. Ends with the command's own exit status; a command killed by a signal is 128 + its number.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time


def _end_group(grace_s: float) -> None:
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(grace_s)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _watch(pipe: int, grace_s: float) -> None:
    while os.read(pipe, 1):
        pass
    _end_group(grace_s)


def main() -> int:
    """Run the command of the command line."""
    # A handler, unlike SIG_IGN, is not inherited: the command itself may be ended by SIGTERM, the guard outlives it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    pipe = os.dup(0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"cannot run {command[0]}: {error}", flush=True)
        return 127
    threading.Thread(target=_watch, args=(pipe, grace_s), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main())  # at once: the watching thread sits in a read that only the service can end
