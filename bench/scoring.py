"""Scores: whether images that the model says it is less sure of are those that it gets wrong."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from backend.images import prepare_image
from backend.masks import probabilities_to_polygons
from bench import defaults
from bench.errors import BenchError
from bench.terminal import counted, say
from pipeline.preprocess import save_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.samples import Photo, Samples
    from segmenter.predictor import Predictor

TRAINED_ON = 16
VALIDATED_BY = 2
TRAINING_S = 60


def measure(samples: Samples) -> dict[str, Any]:
    """Train on the first photos for a minute, predict those for testing; the part `scores` of the results."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        model = _trained(Path(name), samples)
        photos = (*samples.test, *samples.train[TRAINED_ON:])
        pairs = np.array([_pair(model, photo) for photo in counted(photos, "scores: photos predicted")])
    scores, ious = pairs[: len(samples.test)].T
    found = {
        "rank_correlation": round(rank_correlation(scores, ious), 3),
        "images": len(samples.test),
        "rank_correlation_of_all": round(rank_correlation(*pairs.T), 3),
        "images_of_all": len(pairs),
        "trained_on": TRAINED_ON,
        "training_seconds": TRAINING_S,
        "mean_iou": round(float(ious.mean()), 4),
        "mean_iou_of_lowest_third": round(_mean_of_third(scores, ious, lowest=True), 4),
        "mean_iou_of_highest_third": round(_mean_of_third(scores, ious, lowest=False), 4),
    }
    say(
        f"scores: rank correlation with the true IoU {found['rank_correlation']} over {found['images']} photos, "
        f"{found['rank_correlation_of_all']} over all {len(pairs)} that were not trained on"
    )
    return found


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing theirs."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([np.mean(np.flatnonzero(np.sort(values) == value)) for value in values])


def _mean_of_third(scores: NDArray[np.float64], ious: NDArray[np.float64], *, lowest: bool) -> float:
    order = np.argsort(scores)
    third = max(1, len(order) // 3)
    return float(ious[order[:third] if lowest else order[-third:]].mean())


def _trained(base: Path, samples: Samples) -> Predictor:
    """A network of the segmenter, trained by its own program, in the way SageMaker starts it."""
    for channel, photos in (("train", samples.train[:TRAINED_ON]), ("validation", samples.train[:VALIDATED_BY])):
        _write_channel(base / "input/data", channel, photos)
    hyperparameters = {"num_classes": str(len(samples.labels) + 1), "epochs": "1000", "max_seconds": str(TRAINING_S)}
    config = base / "input/config/hyperparameters.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps(hyperparameters), encoding="utf-8")
    say(f"scores: training on {TRAINED_ON} photos for {TRAINING_S} s")
    done = subprocess.run(
        [sys.executable, "-m", "segmenter", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the training failed: {done.stdout[-500:]}")
    return _loaded(base / "model")


def _loaded(folder: Path) -> Predictor:
    # Imported here: torch takes seconds, and its threads are not wanted while the rest is timed.
    from segmenter import model_io  # noqa: PLC0415
    from segmenter.predictor import Predictor  # noqa: PLC0415

    saved = model_io.load(folder)
    return Predictor(saved.network(), saved.card.side)


def _write_channel(data: Path, channel: str, photos: Sequence[Photo]) -> None:
    images, masks = data / channel, data / f"{channel}_annotation"
    images.mkdir(parents=True)
    masks.mkdir()
    for photo in photos:
        (images / f"{photo.name}.jpg").write_bytes(photo.jpeg)
        save_mask(photo.mask, masks / f"{photo.name}.png")


def _pair(model: Predictor, photo: Photo) -> tuple[float, float]:
    """The task's score, and the true mean IoU over the classes that the photo shows."""
    prepared = prepare_image(photo.jpeg, side=defaults.settings().predict_side)
    with Image.open(io.BytesIO(prepared.jpeg)) as image:
        sent = image.convert("RGB")
    score = probabilities_to_polygons(model.probabilities(sent, prepared.sent_wh)).score
    height, width = photo.mask.shape
    return score or 0.0, mean_iou(photo.mask, model.class_ids(sent, (width, height)))


def mean_iou(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> float:
    """Intersection over union, the mean over the classes that *truth* has, background included."""
    ious = [
        np.count_nonzero((truth == class_id) & (predicted == class_id))
        / np.count_nonzero((truth == class_id) | (predicted == class_id))
        for class_id in np.unique(truth)
    ]
    return float(np.mean(ious))
