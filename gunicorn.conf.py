"""How gunicorn runs the service: `gunicorn 'backend.app:create_app()'` reads this file by itself."""

import os
import shutil
from pathlib import Path
from typing import Any

from prometheus_client import multiprocess

# Loopback unless told otherwise; the container image sets BIND_ADDRESS=0.0.0.0.
bind = f"{os.environ.get('BIND_ADDRESS', '127.0.0.1')}:{os.environ.get('PORT', '9090')}"
workers = int(os.environ.get("WORKERS", "1"))
threads = int(os.environ.get("THREADS", "8"))
worker_class = "gthread"
# A thread may wait for an endpoint as long as Label Studio waits for us (100 s).
timeout = 120
graceful_timeout = 30
keepalive = 5
control_socket_disable = True

_shared = Path(os.environ.get("MODEL_DIR", ".cache")).expanduser() / "metrics"
# prometheus-client sums the workers' numbers up through files in this folder.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_shared))


def on_starting(_server: Any) -> None:  # noqa: ANN401  # gunicorn has no types
    """Numbers begin at zero with the service."""
    shutil.rmtree(_shared, ignore_errors=True)
    _shared.mkdir(parents=True, exist_ok=True)


def child_exit(_server: Any, worker: Any) -> None:  # noqa: ANN401
    """Keep what a worker counted after it is gone."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
