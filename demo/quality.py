"""How well predicted polygons agree with the known ones: intersection over union of the parts, in pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.preprocess import polygons_to_mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Regions = list[dict[str, Any]]


@dataclass(slots=True)
class Agreement:
    """Pixels in both and in either, summed over images for each label.

    The sums are divided at the end, so an image counts as much as its parts are large, and a part that an image does
    not show neither helps nor harms. The mean is over the labels that were seen in either.
    """

    labels: Sequence[str]
    both: NDArray[np.int64] = field(init=False)
    either: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.both = np.zeros(len(self.labels), np.int64)
        self.either = np.zeros(len(self.labels), np.int64)

    def add(self, predicted: Regions, known: Regions, size_wh: tuple[int, int]) -> None:
        """Count the pixels of one image."""
        masks = [regions_to_mask(regions, self.labels, size_wh) for regions in (predicted, known)]
        for index in range(len(self.labels)):
            first, second = (mask == index + 1 for mask in masks)
            self.both[index] += np.count_nonzero(first & second)
            self.either[index] += np.count_nonzero(first | second)

    def per_label(self) -> Mapping[str, float]:
        """The intersection over union of each label that was seen."""
        return {
            label: float(both / either)
            for label, both, either in zip(self.labels, self.both, self.either, strict=True)
            if either
        }

    def mean(self) -> float:
        """The mean over the labels that were seen; 0 if none was."""
        values = self.per_label().values()
        return sum(values) / len(values) if values else 0.0


def regions_to_mask(regions: Regions, labels: Sequence[str], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids (0 background, then *labels* in order) of Label Studio's polygons, drawn as the pipeline does."""
    polygons = [
        (labels.index(label) + 1, region["value"]["points"])
        for region in regions
        for label in region["value"].get("polygonlabels", [])[:1]
        if label in labels
    ]
    return polygons_to_mask(polygons, size_wh)
