"""What the endpoints serve right now: deployments of model servers, switched without a gap."""

from __future__ import annotations

import logging
import random
import shutil
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagemaker_local.errors import JobError
from sagemaker_local.images import find_algorithm
from sagemaker_local.model_server import ModelServer, Program
from sagemaker_local.processes import python_path
from sagemaker_local.transfer import S3Uri, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sagemaker_local.images import ImageTable
    from sagemaker_local.models import Variant
    from sagemaker_local.settings import Settings
    from sagemaker_local.transfer import Transfer

logger = logging.getLogger(__name__)

_COMPLETE = ".complete"


class Deployment:
    """The model servers of one endpoint configuration, and how many requests are in them."""

    def __init__(self, servers: dict[str, ModelServer], weights: dict[str, float]) -> None:
        self._servers = servers
        self._weights = weights
        self._busy = 0
        self._idle = threading.Condition()

    def choose(self, target: str | None) -> tuple[str, ModelServer] | None:
        """The variant asked for, else one at random by weight; None if there is no such variant."""
        if target is not None:
            return (target, self._servers[target]) if target in self._servers else None
        names = list(self._servers)
        weights = [self._weights[name] for name in names]
        name = random.choices(names, weights if any(weights) else None)[0]
        return name, self._servers[name]

    def acquire(self) -> None:
        """Count a request in, so that closing waits for it."""
        with self._idle:
            self._busy += 1

    def release(self) -> None:
        """Count a request out."""
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def close(self, *, drain_s: float) -> None:
        """Wait for the requests inside, then end the servers."""
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, timeout=drain_s)
        for server in self._servers.values():
            server.close()


class Hosting:
    """Live deployments by endpoint name."""

    def __init__(self, *, settings: Settings, transfer: Transfer, images: ImageTable) -> None:
        self._settings = settings
        self._transfer = transfer
        self._images = images
        self._live: dict[str, Deployment] = {}
        self._starting: set[ModelServer] = set()
        self._lock = threading.Lock()

    @contextmanager
    def deployment(self, endpoint: str) -> Iterator[Deployment | None]:
        """The endpoint's live deployment, held open while it is used; None if it has none."""
        with self._lock:
            live = self._live.get(endpoint)
            if live:
                live.acquire()
        try:
            yield live
        finally:
            if live:
                live.release()

    def deploy(
        self, endpoint: str, config: str, variants: Sequence[Variant], *, fresh: bool, on_failure: Callable[[str], None]
    ) -> None:
        """Start the servers, then let them take over from those that serve now; JobError if they cannot.

        `fresh` fetches the models anew; otherwise what an earlier run of the service unpacked is used again.
        """
        servers: dict[str, ModelServer] = {}
        try:
            for variant in variants:
                folder = self._settings.data / "endpoints" / endpoint / config / variant.name
                servers[variant.name] = self._start(endpoint, variant, folder, fresh=fresh, on_failure=on_failure)
        except JobError:
            for server in servers.values():
                server.close()
            raise
        self._switch(endpoint, Deployment(servers, {variant.name: variant.weight for variant in variants}))

    def remove(self, endpoint: str) -> None:
        """End the endpoint's servers and drop its files."""
        self._switch(endpoint, None)
        shutil.rmtree(self._settings.data / "endpoints" / endpoint, ignore_errors=True)

    def drop_config(self, endpoint: str, config: str) -> None:
        """Drop the files of a configuration that the endpoint no longer serves."""
        shutil.rmtree(self._settings.data / "endpoints" / endpoint / config, ignore_errors=True)

    def close(self) -> None:
        """End all servers, also those that are being started."""
        with self._lock:
            names, starting = list(self._live), list(self._starting)
        for server in starting:
            server.close()
        threads = [threading.Thread(target=self._switch, args=(name, None)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _switch(self, endpoint: str, new: Deployment | None) -> None:
        with self._lock:
            old = self._live.pop(endpoint, None)
            if new:
                self._live[endpoint] = new
        if old:
            old.close(drain_s=self._settings.invoke_s if new else 0.0)

    def _start(
        self, endpoint: str, variant: Variant, folder: Path, *, fresh: bool, on_failure: Callable[[str], None]
    ) -> ModelServer:
        algorithm = find_algorithm(self._images, variant.image)
        self._fetch_model(variant, folder, fresh=fresh)
        settings = self._settings
        program = Program(
            command=algorithm.serve,
            folder=folder,
            log=settings.log_path(f"endpoint-{endpoint}"),
            environment={
                **settings.child_environment,
                **variant.environment,
                **python_path(algorithm.python_path, settings.child_environment),
                "SAGEMAKER_BASE_DIR": str(folder),
            },
            startup_s=settings.startup_s,
            grace_s=settings.grace_s,
        )
        server = ModelServer(program, on_failure=on_failure)
        started = time.monotonic()
        with self._lock:
            self._starting.add(server)
        try:
            server.start()
        finally:
            with self._lock:
                self._starting.discard(server)
        logger.info("endpoint %s: variant %s serves after %.1f s", endpoint, variant.name, time.monotonic() - started)
        return server

    def _fetch_model(self, variant: Variant, folder: Path, *, fresh: bool) -> None:
        if not fresh and (folder / _COMPLETE).exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        archive = folder / "model.tar.gz"
        self._transfer.download(S3Uri.parse(variant.model_data), archive)
        unpack(archive, folder / "model")
        archive.unlink()
        (folder / _COMPLETE).touch()
