"""The way of a prediction through the backend, beside a bare loop of InvokeEndpoint calls.

The endpoint is another process that answers after a given time, so that what is left is the backend's own.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
from botocore.config import Config
from PIL import Image, ImageFilter

from backend.app import build, create_app
from backend.images import prepare_image
from backend.recordio import MEDIA_TYPE
from bench import defaults
from bench.samples import bird
from bench.terminal import say
from demo.birds import LABELS
from pipeline.preprocess import polygons_to_mask
from segmenter import recordio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

    from bench.samples import Photo

PROJECT = 1
SIZE_WH = (1152, 864)  # a megapixel
ALONE = 60
THROUGHPUT_TASKS = 120
LATENCIES_S = (0.05, 0.2)
ROUNDS = 3
BULK = 350
DEADLINE_S = 20.0
HANGS_S = 3600.0
INTERFACE = (
    '<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</PolygonLabels></View>"
)


@dataclass(frozen=True, slots=True)
class Ways:
    """The backend's application, and the client, with the bytes, of somebody who does without it."""

    app: FlaskClient
    runtime: SageMakerRuntimeClient
    prepared: bytes
    endpoint: str
    concurrency: int

    def predict(self, count: int, *, first: int = 0) -> int:
        """One `/predict` with *count* tasks, each with an image of its own; how many have a prediction."""
        tasks = [{"id": n, "data": {"image": f"s3://bench/{n}.jpg"}} for n in range(first, first + count)]
        body = {"tasks": tasks, "project": f"{PROJECT}.0", "label_config": INTERFACE, "params": {}}
        answer = self.app.post("/predict", json=body).get_json()
        return sum(bool(item) for item in answer["results"])

    def invoke(self) -> int:
        """One bare call; the bytes of the answer."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=self.endpoint, ContentType="image/jpeg", Accept=MEDIA_TYPE, Body=self.prepared
        )
        return len(answer["Body"].read())

    def invoke_many(self, count: int) -> None:
        """The bare loop, as many calls at once as the backend makes."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            list(pool.map(lambda _: self.invoke(), range(count)))


def measure() -> dict[str, Any]:
    """The part `predict` of the results."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _lay_out(folder, bird(0, size_wh=SIZE_WH))
        alone, throughput = [_overhead(folder)], []
        for seconds in LATENCIES_S:
            throughput.append(_throughput(folder, seconds))
            alone.append(_overhead(folder))
        bulk = [_bulk(folder, seconds) for seconds in (0.05, 1.0, HANGS_S)]
    return {
        "throughput_ratio": throughput[0]["ratio"],
        **min(alone, key=lambda found: found["overhead_ms"]),  # what else the machine does only adds to it
        "bulk_350_seconds": bulk[0]["seconds"],
        "bulk_350_answered": bulk[0]["answered"],
        "concurrency": defaults.settings().predict_concurrency,
        "throughput": throughput,
        "bulk": bulk,
    }


def _lay_out(folder: Path, picture: Photo) -> None:
    """The photo, and class probabilities of it as a network has them: sure inside, less so along the edges."""
    (folder / "image.jpg").write_bytes(picture.jpeg)
    width, height = prepare_image(picture.jpeg, side=defaults.settings().predict_side).sent_wh
    mask = polygons_to_mask([(each.class_id, each.points) for each in picture.polygons], (width, height))
    planes = [
        np.asarray(Image.fromarray((mask == class_id).astype(np.uint8) * 250).filter(ImageFilter.GaussianBlur(3)))
        for class_id in range(len(LABELS) + 1)
    ]
    weights = np.stack(planes).astype(np.float32) + 1
    (folder / "answer.recordio").write_bytes(recordio.encode((weights / weights.sum(axis=0))[np.newaxis]))


def _overhead(folder: Path) -> dict[str, float]:
    """What a task takes by itself, less what a bare call does, turn by turn: medians, wall and CPU."""
    wall, cpu = [], []
    with _ways(folder, 0.0) as ways:
        _warm(ways)
        for number in range(ALONE):
            with_us, bare = _clocked(lambda n=number: ways.predict(1, first=1000 + n)), _clocked(ways.invoke)
            wall.append((with_us[0] - bare[0]) * 1000)
            cpu.append((with_us[1] - bare[1]) * 1000)
    found = {
        "overhead_ms": round(float(np.median(wall)), 2),
        "overhead_cpu_ms": round(float(np.median(cpu)), 2),
    }
    say(f"predict: a task by itself takes {found['overhead_ms']} ms more than a bare call")
    return found


def _throughput(folder: Path, seconds: float) -> dict[str, float]:
    """Tasks a second beside calls a second, of an endpoint that takes *seconds*; the best of some rounds each."""
    rounds = []
    with _ways(folder, seconds) as ways:
        _warm(ways)
        for number in range(ROUNDS):
            first = 10_000 * (number + 1)
            with_us = _clocked(lambda f=first: ways.predict(THROUGHPUT_TASKS, first=f))[0]
            rounds.append((with_us, _clocked(lambda: ways.invoke_many(THROUGHPUT_TASKS))[0]))
    with_us, bare = (min(times) for times in zip(*rounds, strict=True))
    row = {
        "endpoint_seconds": seconds,
        "tasks_per_second": round(THROUGHPUT_TASKS / with_us, 2),
        "bare_per_second": round(THROUGHPUT_TASKS / bare, 2),
        "ratio": round(bare / with_us, 3),
    }
    say(f"predict: {row['tasks_per_second']} tasks/s, a bare loop {row['bare_per_second']}/s, endpoint of {seconds} s")
    return row


def _bulk(folder: Path, seconds: float) -> dict[str, float | None]:
    """350 tasks in one request."""
    with _ways(folder, seconds) as ways:
        if seconds < 1:
            _warm(ways)
        began = time.monotonic()
        answered = ways.predict(BULK)
        took = time.monotonic() - began
    hangs = seconds == HANGS_S
    what = "that never answers" if hangs else f"of {seconds:g} s"
    say(f"predict: {answered} of {BULK} tasks in {took:.2f} s, endpoint {what}, deadline {DEADLINE_S:g} s")
    return {
        "endpoint_seconds": None if hangs else seconds,
        "seconds": round(took, 2),
        "answered": answered,
        "deadline_seconds": DEADLINE_S,
    }


def _warm(ways: Ways) -> None:
    ways.predict(2 * ways.concurrency, first=100_000)
    ways.invoke_many(2 * ways.concurrency)


def _clocked(work: Any) -> tuple[float, float]:  # noqa: ANN401  # anything that can be called
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def _ways(folder: Path, seconds: float) -> Iterator[Ways]:
    with _serving(folder, seconds) as url, _environment(url), tempfile.TemporaryDirectory(prefix="bench-") as cache:
        settings = replace(defaults.settings(url=url, timeout_s=DEADLINE_S), model_dir=Path(cache))
        parts = replace(build(settings), start=None)
        parts.service.states.update(PROJECT, live=settings.model_version(1), labels=LABELS)
        config = Config(max_pool_connections=64, read_timeout=65, retries={"total_max_attempts": 1})
        yield Ways(
            create_app(parts).test_client(),
            boto3.session.Session(region_name="us-east-1").client("sagemaker-runtime", config=config),
            prepare_image((folder / "image.jpg").read_bytes(), side=settings.predict_side).jpeg,
            settings.project_name(PROJECT),
            settings.predict_concurrency,
        )


@contextmanager
def _serving(folder: Path, seconds: float) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.endpoint", str(folder), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int((process.stdout or io.StringIO()).readline())}"
        finally:
            process.kill()


@contextmanager
def _environment(url: str) -> Iterator[None]:
    """boto3's own variables, for as long as it takes."""
    before = dict(os.environ)
    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="none",
        AWS_SECRET_ACCESS_KEY="none",  # noqa: S106
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
