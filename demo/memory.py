"""Memory of the services, as the system counts it: resident pages, shared ones included."""

from __future__ import annotations

import psutil

from demo.errors import DemoError


def process_mb(pid: int) -> float:
    """The resident memory of one process, without its children, in MB.

    Raises:
        DemoError: it has ended.
    """
    try:
        return round(psutil.Process(pid).memory_info().rss / 1e6, 1)
    except psutil.NoSuchProcess as error:
        message = f"Process {pid} ended before its memory was measured."
        raise DemoError(message) from error


def largest_child_mb(pid: int) -> float:
    """The resident memory of the largest child process: of gunicorn's master, its largest worker.

    Raises:
        DemoError: it has no children.
    """
    children = psutil.Process(pid).children()
    if not children:
        message = f"Process {pid} has no workers whose memory could be measured."
        raise DemoError(message)
    return max(process_mb(child.pid) for child in children)
