"""How gunicorn runs the service: `gunicorn 'backend.app:create_app()'` reads this file by itself."""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Any


def _number(name: str, default: int) -> int:
    """A wrong value is told by the service itself, together with everything else that is wrong (backend.config)."""
    value = os.environ.get(name, "").strip()
    return int(value) if value.isdecimal() and int(value) < 65536 else default


# Loopback unless told otherwise; the container image sets BIND_ADDRESS=0.0.0.0.
bind = f"{os.environ.get('BIND_ADDRESS', '127.0.0.1')}:{_number('PORT', 9090)}"
workers = _number("WORKERS", 1)
threads = _number("THREADS", 8)
worker_class = "gthread"
# A thread may wait for an endpoint as long as Label Studio waits for us (100 s).
timeout = 120
graceful_timeout = 30
keepalive = 5
control_socket_disable = True

_shared = Path(os.environ.get("MODEL_DIR", ".cache")).expanduser() / "metrics"
# prometheus-client sums the workers' numbers up through files in this folder; it looks at the variable when it is
# imported, so nothing here may import it before.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_shared))


# glibc gives each thread a heap of its own and keeps what they grew to while images were decoded; two heaps for all
# keep a worker about 40 MB smaller and cost no time. Other C libraries have no such setting.
_M_ARENA_MAX = -8  # malloc.h
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def on_starting(_server: Any) -> None:  # noqa: ANN401  # gunicorn has no types
    """Numbers begin at zero with the service."""
    with contextlib.suppress(OSError):  # a folder that cannot be made is told by the service itself
        _shared.mkdir(parents=True, exist_ok=True)
        for numbers in _shared.glob("*.db"):
            numbers.unlink()


def child_exit(_server: Any, worker: Any) -> None:  # noqa: ANN401
    """Keep what a worker counted after it is gone."""
    from prometheus_client import multiprocess  # noqa: PLC0415  # not before the variable above is set

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
