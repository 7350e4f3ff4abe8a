"""A model against a set of samples: the numbers that decide whether it is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from segmenter import metrics
from segmenter.data import Sample
from segmenter.metrics import Confusion, Counts
from segmenter.network import SegmentationNetwork
from segmenter.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The confusion over all samples, and each sample's own mean IoU by name."""

    counts: Counts
    images: dict[str, float]

    @property
    def mean_iou(self) -> float:
        """`validation:mIOU`."""
        return metrics.mean_iou(self.counts)

    @property
    def pixel_accuracy(self) -> float:
        """`validation:pixel_accuracy`."""
        return metrics.pixel_accuracy(self.counts)

    @property
    def class_iou(self) -> list[float | None]:
        """IoU of each class; None for one that is in neither truth nor prediction."""
        return metrics.class_iou(self.counts)

    def as_json(self) -> dict[str, Any]:
        """The part of evaluation.json that is about the model; rows of the confusion are the true classes."""
        return {
            "mean_iou": round(self.mean_iou, 6),
            "pixel_accuracy": round(self.pixel_accuracy, 6),
            "class_iou": [None if iou is None else round(iou, 6) for iou in self.class_iou],
            "true_class_pixels": [int(count) for count in self.counts.sum(axis=1)],
            "confusion": self.counts.tolist(),
            "images": {name: round(iou, 6) for name, iou in self.images.items()},
        }


def evaluate(network: SegmentationNetwork, samples: Sequence[Sample], *, side: int) -> Evaluation:
    """Predict every sample and compare; the network is left in evaluation mode."""
    predictor = Predictor(network.eval(), side)
    confusion = Confusion(network.num_classes)
    images = {}
    for sample in samples:
        height, width = sample.mask.shape
        predicted = predictor.class_ids(Image.fromarray(sample.image), (width, height))
        images[sample.name] = metrics.mean_iou(confusion.add(sample.mask, predicted))
    return Evaluation(np.array(confusion.counts), images)
