"""Scores: whether images that the model says it is less sure of are those that it gets wrong."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from backend.images import prepare_image
from backend.masks import probabilities_to_polygons
from bench import defaults
from bench.terminal import counted, say
from bench.training import predictor_of, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.samples import Photo, Samples
    from segmenter.predictor import Predictor

TRAINED_ON = 16
TRAINING_S = 60


def measure(samples: Samples) -> dict[str, Any]:
    """Train on the first photos for a minute, predict those for testing; the part `scores` of the results."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        say(f"scores: training on {TRAINED_ON} photos for {TRAINING_S} s")
        train(Path(name), samples, count=TRAINED_ON, seconds=TRAINING_S)
        model = predictor_of(Path(name))
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
