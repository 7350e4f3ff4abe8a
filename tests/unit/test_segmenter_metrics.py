"""What mIOU means: one confusion matrix over all images; classes in neither truth nor prediction are left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segmenter import metrics
from segmenter.images import Pixels
from segmenter.metrics import Confusion, Counts

MASKS = arrays.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 255]))
PREDICTIONS = arrays.arrays(np.uint8, (4, 5), elements=st.integers(0, 2))


def confusion(truth: list[int], predicted: list[int], num_classes: int = 3) -> Counts:
    return Confusion(num_classes).add(np.array(truth, np.uint8), np.array(predicted, np.uint8))


def test_a_perfect_prediction_scores_one():
    counts = confusion([0, 1, 2], [0, 1, 2])
    assert metrics.mean_iou(counts) == metrics.pixel_accuracy(counts) == 1


def test_iou_is_intersection_over_union_of_each_class():
    counts = confusion([0, 0, 1, 1], [0, 1, 1, 1])
    assert metrics.class_iou(counts) == [0.5, pytest.approx(2 / 3), None]
    assert metrics.pixel_accuracy(counts) == 0.75


def test_a_class_in_neither_truth_nor_prediction_does_not_count():
    assert metrics.mean_iou(confusion([0, 0, 1, 1], [0, 1, 1, 1])) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_class_that_is_only_predicted_counts_as_zero():
    assert metrics.mean_iou(confusion([0, 0], [0, 2])) == 0.25


def test_ignored_pixels_do_not_count():
    assert metrics.mean_iou(confusion([0, 255, 255], [0, 1, 2])) == 1


def test_nothing_but_ignored_pixels_scores_zero():
    counts = confusion([255, 255], [0, 1])
    assert (metrics.mean_iou(counts), metrics.pixel_accuracy(counts)) == (0, 0)


@given(st.lists(st.tuples(MASKS, PREDICTIONS), min_size=1, max_size=4))
def test_the_whole_sets_matrix_is_the_sum_of_the_images(pairs: list[tuple[Pixels, Pixels]]):
    whole = Confusion(3)
    parts = [whole.add(truth, predicted) for truth, predicted in pairs]
    assert np.array_equal(whole.counts, np.sum(parts, axis=0))
    assert whole.counts.sum() == sum(int((truth != 255).sum()) for truth, _ in pairs)
    assert 0 <= metrics.mean_iou(whole.counts) <= 1
