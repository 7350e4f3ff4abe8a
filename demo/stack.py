"""The four services together: brought up in order, watched, and stopped in order."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from demo import services
from demo.errors import DemoError
from demo.labelling import Labelling
from demo.ports import HOST, PREFERRED
from demo.process import Child, Service, listeners, start, sweep, wait_until_ready
from demo.services import REGION, Plan
from demo.state import Folder, load_state, only_demo
from demo.trouble import NO_GOOD_ANSWER, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

    from demo.display import Display

DEATH_S = 3.0
"""A service that was killed may let its connections go this long before it counts as ended."""

STOPS_LAST = {"sagemaker_local": 1, "s3": 2}
"""What the other services use stops after them."""

_CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})


@dataclass(slots=True)
class Stack:
    """The running services of one demo."""

    plan: Plan
    display: Display
    children: list[Child] = field(default_factory=list)

    def start(self, service: Service) -> Child:
        """Start a service; it is stopped with the others from here on."""
        child = start(service, self.plan.folder)
        self.children.append(child)
        return child

    def wait(self, child: Child) -> None:
        """Wait until the service answers and say so."""
        seconds = wait_until_ready(child, self.display, others=self.children)
        self.display.line(f"  {child.service.title:<18} up {seconds:6.1f} s   {child.service.url}")

    def stop_one(self, child: Child) -> None:
        """Stop one service before the others."""
        self.children.remove(child)
        child.stop()

    def stop(self) -> None:
        """Stop all services, those first that use the others."""
        for child in sorted(self.children, key=lambda child: STOPS_LAST.get(child.service.name, 0)):
            self.display.status(f"{child.service.title} stops ...")
            self.stop_one(child)

    @property
    def logs(self) -> str:
        """Where a person finds out more."""
        return str(self.plan.folder.path)

    def require_alive(self) -> None:
        """Raise DemoError if a service has ended by itself."""
        for child in self.children:
            child.require_alive()

    def blame(self, error: Exception) -> None:
        """Raise DemoError if *error* comes of a service that has ended, or is about to."""
        deadline = time.monotonic() + DEATH_S
        try:
            self.require_alive()
            while time.monotonic() < deadline:
                self.sleep(0.1)
        except DemoError as death:
            raise death from error

    def require_loopback(self) -> None:
        """Raise DemoError if a service, or anything that it started, can be reached from another machine."""
        for child in self.children:
            outside = [f"{host}:{port}" for host, port in listeners(child.process.pid) if not is_loopback(host)]
            if outside:
                message = f"{child.service.title} listens on {', '.join(outside)}, not only on {HOST}; it was stopped."
                raise DemoError(message)

    def sleep(self, seconds: float) -> None:
        """Wait, and notice a service that has ended before or meanwhile."""
        self.require_alive()
        time.sleep(seconds)
        self.require_alive()

    def s3(self) -> S3Client:
        """A client of the local S3."""
        return self._session().client("s3", endpoint_url=self.plan.url("s3"), config=_CLIENT_CONFIG)

    def sagemaker(self) -> SageMakerClient:
        """A client of local SageMaker."""
        url = self.plan.url("sagemaker_local")
        return self._session().client("sagemaker", endpoint_url=url, config=_CLIENT_CONFIG)

    def labelling(self) -> Labelling:
        """Label Studio as the demo's person."""
        return Labelling(self.plan.url("label_studio"), self.plan.state.secrets.label_studio_token)

    def _session(self) -> boto3.Session:
        secrets = self.plan.state.secrets
        return boto3.Session(
            aws_access_key_id=secrets.access_key_id,
            aws_secret_access_key=secrets.secret_access_key,
            region_name=REGION,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address *host*."""
    return host == "::1" or host.startswith(("127.", "::ffff:127."))


@contextmanager
def running(
    folder: Folder,
    display: Display,
    environment: Mapping[str, str],
    *,
    ports: Mapping[str, int] = PREFERRED,
    fresh: bool = False,
) -> Iterator[Stack]:
    """The whole stack of *folder*, up; stopped when the block is left, however that happens.

    *ports* are the preferred ones of a folder that has no state yet; with *fresh* the folder is emptied first.

    Raises:
        DemoError: a service did not come up, ended, or does not answer; or another demo runs in the folder.
    """
    require_programs()
    folder.make()
    with only_demo(folder):
        for name in sweep(folder):
            display.line(f"  {name}: an earlier demo was killed and left it running; stopped it")
        if fresh:
            folder.empty()
        stack = Stack(Plan(folder, load_state(folder, ports), environment), display)
        try:
            bring_up(stack)
            yield stack
        except NO_GOOD_ANSWER as error:
            stack.blame(error)
            message = f"{in_words(error)}; the services were stopped (logs: {folder.logs})."
            raise DemoError(message) from error
        finally:
            stack.stop()


def bring_up(stack: Stack) -> None:
    """Start S3, local SageMaker, Label Studio and the backend, and wait until each answers.

    Label Studio takes longest and needs nobody, so it starts first and is waited for late.
    """
    plan = stack.plan
    with stack.display.step("services up"):
        label_studio = stack.start(services.label_studio(plan))
        stack.wait(stack.start(services.seaweedfs(plan)))
        stack.wait(stack.start(services.sagemaker_local(plan)))
        stack.wait(label_studio)
        stack.wait(stack.start(services.backend(plan)))
        stack.require_loopback()


def require_programs() -> None:
    """Raise DemoError if one of the programs that the demo starts is not installed."""
    for path in (services.program("weed"), services.label_studio_program()):
        if not path.exists():
            message = f"{path.name} is not installed ({path} is missing): run `make install` again."
            raise DemoError(message)
