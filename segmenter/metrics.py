"""How good a model is: everything follows from one confusion matrix over the whole validation set. Pure."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segmenter.images import Pixels

Counts = npt.NDArray[np.int64]


@dataclass(slots=True)
class Confusion:
    """Pixels by true class (row) and predicted class (column); true ids from `num_classes` up are ignored."""

    num_classes: int
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.num_classes, self.num_classes), np.int64)

    def add(self, truth: Pixels, predicted: Pixels) -> Counts:
        """Count one image's pixels, and return this image's own matrix."""
        valid = truth < self.num_classes
        pairs = truth[valid].astype(np.int64) * self.num_classes + predicted[valid]
        counts = np.bincount(pairs, minlength=self.num_classes**2).reshape(self.counts.shape)
        self.counts += counts
        return counts


def class_iou(counts: Counts) -> list[float | None]:
    """Intersection over union of each class; None for a class in neither truth nor prediction."""
    intersection = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - intersection
    return [float(i / u) if u else None for i, u in zip(intersection, union, strict=True)]


def mean_iou(counts: Counts) -> float:
    """The mean over the classes, background included, that occur in truth or prediction; 0 where none does."""
    present = [iou for iou in class_iou(counts) if iou is not None]
    return float(np.mean(present)) if present else 0.0


def pixel_accuracy(counts: Counts) -> float:
    """The share of pixels that have their true class; 0 without a pixel."""
    total = int(counts.sum())
    return float(np.trace(counts) / total) if total else 0.0
