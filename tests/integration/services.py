"""Real services as processes: SeaweedFS (S3) and sagemaker_local."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

# botocore makes its clients' methods at run time; tests call them with plain dicts.
AwsClient = Any
Json = Any

_ROOT = Path(__file__).resolve().parents[2]
_WEED_PORTS = ("master", "volume", "filer", "s3", "admin")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "integration", "AWS_SECRET_ACCESS_KEY": "integration-secret"}
NO_PROXY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free right now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def wait_for(what: Callable[[], Json], *, timeout_s: float = 60, every_s: float = 0.05) -> Json:
    """The first true answer; fails the test when the time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = what()
        if answer:
            return answer
        time.sleep(every_s)
    return pytest.fail(f"not within {timeout_s} s")


def answers(url: str) -> bool:
    """Whether something speaks HTTP there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def start_weed(folder: Path) -> tuple[subprocess.Popen[bytes], str] | None:
    """SeaweedFS on loopback ports; None if one of them was taken meanwhile."""
    ports = free_ports(2 * len(_WEED_PORTS))
    options = [f"-{name}.port={port}" for name, port in zip(_WEED_PORTS, ports, strict=False)]
    options += [f"-{name}.port.grpc={port}" for name, port in zip(_WEED_PORTS, ports[len(_WEED_PORTS) :], strict=False)]
    config = folder / "s3.json"
    identity = {"name": "integration", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    keys = {"accessKey": CREDENTIALS["AWS_ACCESS_KEY_ID"], "secretKey": CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}
    config.write_text(json.dumps({"identities": [{**identity, "credentials": [keys]}]}))
    command = [str(Path(sys.executable).with_name("weed")), "mini", f"-dir={folder}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", f"-s3.config={config}", "-webdav=false", "-admin.ui=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.allowDeleteBucketNotEmpty=false"]
    # A bucket takes seven volumes at its first object. By default their number is what free space has room for if
    # all of them were full, which a small disk passes after some twenty buckets; these stay nearly empty.
    command += ["-volume.max=2000", "-master.volumePreallocate=false", "-master.telemetry=false", *options]
    with (folder / "weed.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    url = f"http://127.0.0.1:{ports[_WEED_PORTS.index('s3')]}"
    deadline = time.monotonic() + 40
    while process.poll() is None and time.monotonic() < deadline:
        if answers(url) and _s3_works(url):
            return process, url
        time.sleep(0.1)
    end(process)
    return None


def _s3_works(url: str) -> bool:
    try:
        s3_client(url).list_buckets()
    except (BotoCoreError, ClientError):  # still starting
        return False
    return True


def s3_client(url: str) -> AwsClient:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=10),
    )


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)


@dataclass
class LocalSageMaker:
    """sagemaker_local as a process of its own, with the test algorithm `tests/integration/fake_algorithm.py`."""

    data: Path
    environment: dict[str, str]
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.data.parent / f"{self.data.name}.log").read_text()

    def start(self) -> LocalSageMaker:
        """Start it (again, on the same port) and wait until it answers."""
        for _ in range(5):
            self.port = self.port or free_ports(1)[0]
            self.process = self.spawn(self.port)
            wait_for(lambda: answers(f"{self.url}/livez") or self._ended(), timeout_s=30)
            if not self._ended():
                return self
            self.port = 0  # somebody took it in between
        return pytest.fail(f"sagemaker_local did not start: {self.log}")

    def spawn(self, port: int) -> subprocess.Popen[bytes]:
        """Start a process and do not wait."""
        command = [sys.executable, "-m", "tests.integration.fake_sagemaker", "--data", str(self.data)]
        command += ["--port", str(port), "--grace", "1", "--startup", "15", *self.options]
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=_ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL, to the process alone."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(30)

    def client(self, service: Literal["sagemaker", "sagemaker-runtime"] = "sagemaker") -> AwsClient:
        """A boto3 client of it."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"max_attempts": 0}, read_timeout=70, max_pool_connections=32),
        )

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None
