"""The processing step's script in a process of its own: time and memory by the number of annotations."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bench.errors import BenchError
from bench.samples import bird
from bench.terminal import say
from pipeline import preprocess

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.samples import Photo

COUNTS = (100, 1_000, 10_000)
PICTURES = 32
SIZE_WH = (320, 240)
LARGE_WH = (4000, 3000)
LARGE_RUNS = 5
NOISE = 6.0  # of 255


def measure() -> list[dict[str, Any]]:
    """The part `preprocess` of the results: small pictures, so that the annotations count."""
    pictures = [bird(seed, size_wh=SIZE_WH) for seed in range(PICTURES)]
    rows = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _lay_out(Path(folder), pictures, count)
            rows.append({"annotations": count, **_run(Path(folder))})
        say(f"preprocess: {count} annotations in {rows[-1]['seconds']} s, {rows[-1]['peak_mb']} MB at most")
    return rows


def _lay_out(base: Path, pictures: list[Photo], count: int) -> None:
    """A snapshot of *count* tasks that share a few files."""
    folders = preprocess.Folders.below(base)
    folders.dataset.mkdir(parents=True)
    folders.images.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        (folders.images / f"{index}.jpg").write_bytes(picture.jpeg)
    (folders.dataset / "dataset.json").write_text(json.dumps({"labels": ["a", "b", "c", "d"]}), encoding="utf-8")
    with (folders.dataset / "tasks.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(count):
            lines.write(_line(number, pictures[number % len(pictures)], f"{number % len(pictures)}.jpg") + "\n")


def _line(number: int, picture: Photo, image: str) -> str:
    regions = [{"class_id": each.class_id, "points": each.points} for each in picture.polygons]
    split = "validation" if number % 5 == 0 else "train"
    return json.dumps({"task": number, "image": image, "split": split, "regions": regions})


def _run(base: Path) -> dict[str, float]:
    """Wall and CPU seconds and the largest memory of the script."""
    log = base / "log"
    done = subprocess.run(
        [sys.executable, "-m", "bench.child", str(log), sys.executable, preprocess.__file__],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"pipeline/preprocess.py failed: {log.read_text()[-500:]}")
    return dict(json.loads(done.stdout))


def measure_large() -> dict[str, Any]:
    """A photo of 12 megapixels: CPU ms of its whole task, and of decoding alone, best of some runs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folders = preprocess.Folders.below(Path(folder))
        for path in (folders.images, folders.output / "train", folders.output / "train_annotation"):
            path.mkdir(parents=True)
        picture = bird(0, size_wh=(LARGE_WH[0] // 4, LARGE_WH[1] // 4))
        image = folders.images / "large.jpg"
        _enlarged(picture).save(image, "JPEG", quality=90)
        polygons = tuple((each.class_id, np.array(each.points)) for each in picture.polygons)
        task = preprocess.Task(1, "large.jpg", "train", polygons)
        row = {
            "megapixels": LARGE_WH[0] * LARGE_WH[1] / 1e6,
            "task_ms": _best(lambda: preprocess.process_task(task, folders, max_side=1024)),
            "decode_ms": _best(lambda: _decode(image)),
        }
    say(f"preprocess: a photo of 12 megapixels in {row['task_ms']} ms, decoding alone {row['decode_ms']} ms")
    return row


def _enlarged(picture: Photo) -> Image.Image:
    """As large as a camera's, and with a sensor's noise, without which a file would be small and soon decoded."""
    with Image.open(io.BytesIO(picture.jpeg)) as small:
        pixels = np.asarray(small.resize(LARGE_WH, Image.Resampling.BICUBIC), dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, NOISE, pixels.shape[:2]).astype(np.float32)
    return Image.fromarray((pixels + noise[..., np.newaxis]).clip(0, 255).astype(np.uint8))


def _best(work: Callable[[], object]) -> float:
    ms = []
    for _ in range(LARGE_RUNS):
        began = time.process_time()
        work()
        ms.append((time.process_time() - began) * 1000)
    return round(min(ms), 1)


def _decode(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
