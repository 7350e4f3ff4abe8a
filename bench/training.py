"""One training job of `segmenter`, in the way SageMaker starts it: channels in, a model's files out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.errors import BenchError
from pipeline.preprocess import save_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.samples import Photo, Samples
    from segmenter.predictor import Predictor

VALIDATED_BY = 2


def train(
    base: Path, samples: Samples, *, count: int, seconds: float, seed: int = 0, earlier: Path | None = None
) -> dict[str, float]:
    """Train below *base* on the first *count* photos, from the model in the folder *earlier* if one is given.

    Returns:
        What it took: `seconds`, `cpu_seconds`, `peak_mb`.

    Raises:
        BenchError: the job failed.
    """
    for channel, photos in (("train", samples.train[:count]), ("validation", samples.train[:VALIDATED_BY])):
        _write_channel(base / "input/data", channel, photos)
    if earlier is not None:
        shutil.copytree(earlier, base / "input/data/model")
    wanted = {"num_classes": len(samples.labels) + 1, "epochs": 100_000, "max_seconds": seconds, "seed": seed}
    config = base / "input/config/hyperparameters.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({name: str(value) for name, value in wanted.items()}), encoding="utf-8")
    log = base / "log"
    done = subprocess.run(
        [sys.executable, "-m", "bench.child", str(log), sys.executable, "-m", "segmenter", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the training failed: {log.read_text(encoding='utf-8')[-500:]}")
    return dict(json.loads(done.stdout))


def model_of(base: Path) -> Path:
    """The folder with the model of the job below *base*."""
    return base / "model"


def predictor_of(base: Path) -> Predictor:
    """What predicts with that model."""
    # Imported here: torch takes seconds, and its threads are not wanted while the rest is timed.
    from segmenter import model_io  # noqa: PLC0415
    from segmenter.predictor import Predictor  # noqa: PLC0415

    saved = model_io.load(model_of(base))
    return Predictor(saved.network(), saved.card.side)


def _write_channel(data: Path, channel: str, photos: Sequence[Photo]) -> None:
    images, masks = data / channel, data / f"{channel}_annotation"
    images.mkdir(parents=True)
    masks.mkdir()
    for photo in photos:
        (images / f"{photo.name}.jpg").write_bytes(photo.jpeg)
        save_mask(photo.mask, masks / f"{photo.name}.png")
