"""Progress of a training that a person can read, and the early stop."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from segmenter.clock import Clock
from segmenter.config import Hyperparameters
from segmenter.data import Sample
from segmenter.evaluate import evaluate
from segmenter.fit import Progress
from segmenter.network import SegmentationNetwork

logger = logging.getLogger(__name__)

# Seconds between two lines of progress.
REPORT_SECONDS = 5.0
# An evaluation while training looks at this many validation images; the final one at all.
GLANCE = 8


@dataclass(slots=True)
class Watch:
    """Called after each epoch; answers whether to go on."""

    samples: Sequence[Sample]
    wanted: Hyperparameters
    clock: Clock
    reported: float = 0.0
    best: float = -1.0
    epochs_without_gain: int = 0

    def __call__(self, progress: Progress, average: SegmentationNetwork) -> bool:
        """Report when it is time to; False when early stopping says that nothing more is gained."""
        if self.wanted.early_stopping:
            return self._look(progress, average, samples=self.samples)
        if self.clock.elapsed() - self.reported >= REPORT_SECONDS:
            self._look(progress, average, samples=self.samples[:GLANCE])
        return True

    def _look(self, progress: Progress, average: SegmentationNetwork, *, samples: Sequence[Sample]) -> bool:
        score = evaluate(average, samples, side=self.wanted.light_side).mean_iou
        self.reported = self.clock.elapsed()
        logger.info(
            "epoch %s/%s, step %s, %.0f s: loss %.3f, mIOU of %s validation images so far %.3f",
            progress.epoch,
            self.wanted.epochs,
            progress.step,
            self.reported,
            progress.loss,
            len(samples),
            score,
        )
        return not self._has_stalled(progress.epoch, score)

    def _has_stalled(self, epoch: int, score: float) -> bool:
        if score > self.best + self.wanted.early_stopping_tolerance:
            self.best, self.epochs_without_gain = score, 0
            return False
        self.epochs_without_gain += 1
        return (
            epoch >= self.wanted.early_stopping_min_epochs
            and self.epochs_without_gain >= self.wanted.early_stopping_patience
        )
