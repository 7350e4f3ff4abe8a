"""What training minimises: cross-entropy for every pixel, and Dice so that small classes count."""

import torch
from torch import Tensor
from torch.nn import functional

from segmenter.data import IGNORE

DICE_WEIGHT = 0.5


def segmentation_loss(scores: Tensor, ids: Tensor) -> Tensor:
    """Cross-entropy plus half the Dice loss, over the pixels that are not ignored.

    `scores` (N, C, h, w) are brought to half the resolution of `ids` (N, H, W), where the two are compared.
    """
    ids = ids[:, ::2, ::2]
    scores = functional.interpolate(scores, size=ids.shape[-2:], mode="bilinear", align_corners=False)
    counted = ids != IGNORE
    if not bool(counted.any()):
        return scores.sum() * 0.0
    log_probabilities = functional.log_softmax(scores, dim=1)
    cross_entropy = functional.nll_loss(log_probabilities, ids, ignore_index=IGNORE)
    return cross_entropy + DICE_WEIGHT * _dice_loss(log_probabilities.exp(), ids, counted)


def _dice_loss(probabilities: Tensor, ids: Tensor, counted: Tensor) -> Tensor:
    """One minus the Dice overlap, averaged over the classes that occur in this batch."""
    classes = probabilities.shape[1]
    truth = functional.one_hot(ids.masked_fill(~counted, 0), classes).permute(0, 3, 1, 2) * counted[:, None]
    probabilities = probabilities * counted[:, None]
    dims = (0, 2, 3)
    overlap, total = (probabilities * truth).sum(dims), probabilities.sum(dims) + truth.sum(dims)
    present = truth.sum(dims) > 0
    return torch.mean(1 - (2 * overlap[present] + 1) / (total[present] + 1))
