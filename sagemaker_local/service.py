"""Builds the service from its parts and answers operations by name."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from typing import TYPE_CHECKING

from sagemaker_local.containers import Containers
from sagemaker_local.endpoints import Endpoints
from sagemaker_local.errors import ApiError, StartError
from sagemaker_local.executions import Executions
from sagemaker_local.hosting import Hosting
from sagemaker_local.invocations import Invocations
from sagemaker_local.jobs import Jobs
from sagemaker_local.models import Models
from sagemaker_local.names import Names
from sagemaker_local.packages import Packages
from sagemaker_local.pipelines import Pipelines
from sagemaker_local.protocol import Protocol
from sagemaker_local.runner import Runner
from sagemaker_local.state import Store
from sagemaker_local.steps import Steps
from sagemaker_local.tags import Tags
from sagemaker_local.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from sagemaker_local.images import ImageTable
    from sagemaker_local.settings import Settings
    from sagemaker_local.state import Document

logger = logging.getLogger(__name__)


class Service:
    """SageMaker: everything but HTTP."""

    def __init__(self, settings: Settings, *, images: ImageTable, make_s3_client: Callable[[], S3Client]) -> None:
        self._lock = DataLock(settings.data)
        for folder in ("logs", "jobs", "endpoints"):
            (settings.data / folder).mkdir(exist_ok=True)
        self.settings = settings
        self._closing = threading.Event()
        self.names = Names(region=settings.region)
        self._protocol = Protocol()
        self._store = Store(settings.data / "state.sqlite3")
        transfer = Transfer(make_s3_client)
        store, names, protocol = self._store, self.names, self._protocol
        containers = Containers(settings=settings, transfer=transfer, images=images)
        jobs = Jobs(settings=settings, store=store, names=names, containers=containers, closing=self._closing)
        steps = Steps(protocol=protocol, names=names, jobs=jobs, call=self.call)
        self._runner = Runner(store=store, steps=steps, transfer=transfer, closing=self._closing)
        pipelines = Pipelines(store=store, names=names, protocol=protocol, transfer=transfer)
        packages = Packages(store=store, names=names)
        models = Models(store=store, names=names, packages=packages)
        hosting = Hosting(settings=settings, transfer=transfer, images=images)
        self._endpoints = Endpoints(store=store, names=names, models=models, hosting=hosting)
        self.invocations = Invocations(store=store, hosting=hosting, account=names.account, timeout_s=settings.invoke_s)
        executions = Executions(store=store, names=names, pipelines=pipelines, runner=self._runner)
        self._operations: dict[str, Callable[[Document], Document]] = {
            **pipelines.operations(),
            **executions.operations(),
            **jobs.operations(),
            **packages.operations(),
            **models.operations(),
            **self._endpoints.operations(),
            **Tags(store=store).operations(),
        }

    def start(self) -> None:
        """Tidy up what an earlier run left unfinished and serve its endpoints again."""
        self._runner.mark_cut_off()
        shutil.rmtree(self.settings.data / "jobs", ignore_errors=True)
        (self.settings.data / "jobs").mkdir(exist_ok=True)
        self._endpoints.recover()

    def close(self) -> None:
        """End all child processes; what ran is marked as cut off. Jobs and model servers share one grace."""
        self._closing.set()
        endpoints = threading.Thread(target=self._endpoints.close, name="endpoints")
        endpoints.start()
        self._runner.close()
        endpoints.join()
        self._endpoints.close()  # what a pipeline's step made meanwhile
        self._store.close()
        self._lock.release()

    def answer(self, operation: str, body: bytes) -> bytes:
        """The JSON answer to an operation's JSON request."""
        if operation not in self._operations:
            raise self._unknown(operation)
        request = self._protocol.parse(operation, body)
        return self._protocol.render(operation, self._operations[operation](request))

    def call(self, operation: str, request: Document) -> Document:
        """An operation called by the service itself, as a pipeline step does."""
        return self._operations[operation](request)

    def _unknown(self, operation: str) -> ApiError:
        if self._protocol.knows(operation):
            return ApiError("UnknownOperationException", f"sagemaker_local does not know the operation {operation}.")
        return ApiError("UnknownOperationException", f"SageMaker has no operation {operation!r}.")


class DataLock:
    """One service per data folder; the lock goes with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "lock").open("a")
        except OSError as error:
            raise StartError(f"cannot write to the data folder {folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise StartError(f"another sagemaker_local already uses the data folder {folder}") from error

    def release(self) -> None:
        """Let another service use the folder."""
        self._file.close()
