"""`python -m bench.learning`: how well the segmenter learns from few photos; `bench/segmenter.json` and its table.

Trained on the first N photos, tested on those that are for testing, at their own size: mean IoU over the classes with
the background, from the pixels of all photos together.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from bench import machine, samples
from bench.errors import BenchError
from bench.learning_table import with_table
from bench.terminal import say
from bench.training import model_of, predictor_of, train
from segmenter import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.samples import Samples
    from segmenter.predictor import Predictor

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
LEAST_CORES, ATTEMPTS = 1.6, 5  # of two cores; a training's first two seconds want one alone


@dataclass(frozen=True, slots=True)
class Job:
    """Train on the first *n* photos for so many seconds, from the model of an earlier job if there is one."""

    n: int
    seconds: float
    earlier: Job | None = None


COLD_16, COLD_8 = Job(16, 60), Job(8, 20)
WARM_32 = Job(32, 20, COLD_16)
WARM_48 = Job(48, 20, WARM_32)
JOBS = (
    Job(16, 20),
    COLD_16,
    Job(32, 60),
    Job(64, 60),
    WARM_32,
    WARM_48,
    Job(64, 20, WARM_48),
    COLD_8,
    Job(16, 10, COLD_8),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a job with one seed; *warm* is how many photos the earlier model had been trained on."""

    set: str
    n: int
    seed: int
    warm: int | None
    seconds_budget: float
    seconds: float
    cpu_seconds: float
    peak_mb: float
    miou: float
    per_class: list[float]
    infer_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the results and the README's table."""
    parser = argparse.ArgumentParser(prog="python -m bench.learning", description=__doc__)
    parser.add_argument("--realset", type=Path, default=Path("../shared/realset"), help="folder of real photos")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=SEEDS, help="run each job with these; the results of others stay"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "bench/segmenter.json", help="where to write")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="whose table to write")
    chosen = parser.parse_args(arguments)
    known = samples.load(chosen.realset)
    try:
        runs = [asdict(run) for seed in chosen.seeds for run in measure(known, seed)]
    except BenchError as error:
        say(f"failed: {error}")
        return 1
    kept = [run for run in _earlier(chosen.results) if run["seed"] not in chosen.seeds and run["set"] == known.source]
    runs = sorted(kept + runs, key=lambda run: run["seed"])
    results = {"runs": runs, "machine": machine.describe()}
    chosen.results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    chosen.readme.write_text(with_table(chosen.readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    say(f"wrote {chosen.results} and the table of {chosen.readme}")
    return 0


def _earlier(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["runs"]) if path.exists() else []


def measure(known: Samples, seed: int) -> list[Run]:
    """All jobs with one seed; later ones go on from the models of earlier ones."""
    runs = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folders = {job: Path(name) / str(number) for number, job in enumerate(JOBS)}
        for job in JOBS:
            took = _trained(known, job, seed, folders)
            counts, infer_ms = _tested(predictor_of(folders[job]), known)
            run = Run(
                set=known.source,
                n=min(job.n, len(known.train)),
                seed=seed,
                warm=None if job.earlier is None else job.earlier.n,
                seconds_budget=job.seconds,
                **took,
                miou=round(metrics.mean_iou(counts), 4),
                per_class=[round(iou or 0.0, 4) for iou in metrics.class_iou(counts)],
                infer_ms=round(infer_ms, 1),
            )
            runs.append(run)
            start = "" if run.warm is None else f", from the model of {run.warm}"
            say(f"seed {seed}: {run.n} photos, {run.seconds_budget:g} s{start}: mIoU {run.miou:.3f}")
    return runs


def _trained(known: Samples, job: Job, seed: int, folders: Mapping[Job, Path]) -> dict[str, float]:
    """Do the job, and again where something else had the cores meanwhile: what counts is what a time is good for."""
    folder = folders[job]
    earlier = None if job.earlier is None else model_of(folders[job.earlier])
    for _ in range(ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        took = train(folder, known, count=job.n, seconds=job.seconds, seed=seed, earlier=earlier)
        if took["cpu_seconds"] >= LEAST_CORES * took["seconds"]:
            return took
        say(f"seed {seed}: {job.n} photos, {job.seconds:g} s: something else was busy here, so once more")
    raise BenchError(f"wanted {LEAST_CORES:g} cores for the training all the time, got fewer: end what else runs here")


def _tested(model: Predictor, known: Samples) -> tuple[metrics.Counts, float]:
    """The confusion over all photos that are for testing, and the median of ms that the network took for one."""
    confusion, times = metrics.Confusion(len(known.labels) + 1), []
    for photo in known.test:
        with Image.open(io.BytesIO(photo.jpeg)) as opened:
            image = opened.convert("RGB")
        began = time.perf_counter()
        predicted = model.class_ids(image, image.size)
        times.append((time.perf_counter() - began) * 1000)
        confusion.add(photo.mask, predicted)
    return confusion.counts, statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
