"""The parts of training: views, loss, pace, early stopping."""

import math
import time

import numpy as np
import pytest
import torch

from segmenter.augment import Views
from segmenter.backbone import CHANNELS, EfficientNetLite, folded, load_imagenet
from segmenter.clock import Clock
from segmenter.config import Hyperparameters
from segmenter.data import Sample
from segmenter.fit import Progress, Recipe, train_head
from segmenter.losses import segmentation_loss
from segmenter.network import build, normalised
from segmenter.predictor import Predictor, working_size
from segmenter.watch import Watch
from tests.segmenter_job import draw_image, draw_mask


def sample(seed: int = 0) -> Sample:
    mask = draw_mask(seed)
    return Sample(f"bird {seed}", np.array(draw_image(mask, seed)), mask)


def views(*samples: Sample, side: int = 96, seed: int = 0) -> Views:
    return Views(samples, side=side, random=np.random.default_rng(seed))


def test_the_packaged_weights_fill_every_parameter_of_the_backbone():
    backbone = EfficientNetLite()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    load_imagenet(backbone)  # strict: a name missing or left over raises
    unchanged = [
        name for name, tensor in backbone.state_dict().items() if tensor.dim() and torch.equal(tensor, before[name])
    ]
    assert unchanged == []


def test_the_backbone_gives_maps_at_strides_4_to_32():
    maps = EfficientNetLite().eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (channels, 64 // stride, 96 // stride) for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


def test_no_gradient_enters_the_frozen_blocks():
    network = build(3)
    network.backbone.freeze(3)
    torch.autograd.backward(network(torch.zeros(2, 3, 64, 64)).sum())
    touched = {name for name, parameter in network.backbone.named_parameters() if parameter.grad is not None}
    assert not any(name.startswith(("stem", "blocks.0.", "blocks.1.", "blocks.2.")) for name in touched)
    assert any(name.startswith("blocks.3.") for name in touched)
    assert not any(".depthwise." in name for name in touched)


def test_a_folded_normalisation_gives_what_it_gave_beside_its_convolution():
    convolution, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5, eps=1e-3).eval()
    for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.data.uniform_(0.5, 2)
    apart = torch.nn.ModuleDict({"stem": torch.nn.Sequential(convolution, norm), "other": torch.nn.Linear(1, 1)})
    together = torch.nn.ModuleDict({"stem": torch.nn.Conv2d(3, 5, 3), "other": torch.nn.Linear(1, 1)})
    together.load_state_dict(folded(apart.state_dict()))
    image = torch.rand(2, 3, 8, 8)
    assert torch.allclose(together["stem"](image), apart["stem"](image), atol=1e-5)
    assert torch.equal(together.state_dict()["other.weight"], apart.state_dict()["other.weight"])


def test_views_are_square_and_one_seed_draws_the_same_ones():
    first, second = (views(sample(0), sample(1)).batch([0, 1]) for _ in range(2))
    assert (first[0].shape, first[1].shape) == ((2, 3, 64, 64), (2, 64, 64))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_what_lies_outside_the_image_is_ignored_not_background():
    narrow = Sample("narrow", np.full((16, 96, 3), 90, np.uint8), np.ones((16, 96), np.uint8))
    _, ids = views(narrow).batch([0, 0, 0, 0])
    assert set(ids.flatten().tolist()) == {1, 255}


def test_a_views_mask_moves_with_its_image():
    drawn = Sample("plain", draw_mask(0)[..., None].repeat(3, axis=2) * 100, draw_mask(0))
    pixels, ids = views(drawn).batch([0] * 6)
    brightness = pixels.mean(dim=1)
    inside = ids != 255
    means = [float(brightness[inside & (ids == class_id)].mean()) for class_id in range(3)]
    assert means == sorted(means)
    assert means[2] - means[0] > 0.5


def test_a_small_file_is_seen_at_the_scale_of_inference():
    small, large = sample(0), sample(0)
    large = Sample(
        "large", large.image.repeat(4, axis=0).repeat(4, axis=1), large.mask.repeat(4, axis=0).repeat(4, axis=1)
    )
    _, ids_small = views(small, seed=3).batch([0])
    _, ids_large = views(large, seed=3).batch([0])
    assert float((ids_small == ids_large).float().mean()) > 0.95


def scores_for(ids: torch.Tensor, confidence: float) -> torch.Tensor:
    wanted = torch.nn.functional.one_hot(ids.clamp(max=2), 3).permute(0, 3, 1, 2).float()
    return torch.nn.functional.avg_pool2d(wanted, 4) * confidence


def test_the_loss_falls_as_the_scores_come_nearer_to_the_truth():
    ids = torch.zeros(1, 32, 32, dtype=torch.long)
    ids[:, 8:24, 8:24] = 1
    losses = [float(segmentation_loss(scores_for(ids, confidence), ids)) for confidence in (0.0, 2.0, 8.0)]
    assert losses == sorted(losses, reverse=True)


def test_ignored_pixels_have_no_part_in_the_loss():
    ids = torch.zeros(1, 32, 32, dtype=torch.long)
    ids[:, :, 16:] = 255
    scores = torch.zeros(1, 3, 8, 8)
    other = scores.clone()
    other[:, 1, :, 6:] = 50.0
    assert torch.isclose(segmentation_loss(scores, ids), segmentation_loss(other, ids))


def test_nothing_but_ignored_pixels_is_no_loss_and_no_nan():
    scores = torch.zeros(1, 3, 8, 8, requires_grad=True)
    loss = segmentation_loss(scores, torch.full((1, 32, 32), 255))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_without_time_the_decoder_is_still_trained_a_little():
    recipe = Recipe()
    steps = train_head(build(3), views(sample(0), side=64), recipe, Clock(time.monotonic() - 100, 1))
    assert steps == recipe.least_head_steps


def test_after_sigterm_the_decoder_is_not_trained_at_all():
    clock = Clock(time.monotonic(), 100)
    clock.stop.set()
    assert train_head(build(3), views(sample(0), side=64), Recipe(), clock) == 0


def test_early_stopping_ends_training_when_nothing_is_gained():
    wanted = Hyperparameters(
        num_classes=3, light_side=64, early_stopping=True, early_stopping_min_epochs=3, early_stopping_patience=2
    )
    watch = Watch([sample(0)], wanted, Clock(time.monotonic(), 100))
    network = build(3)
    answers = [watch(Progress(epoch, epoch * 8, 0.5), network) for epoch in range(1, 5)]
    assert answers == [True, True, False, False]


@pytest.mark.parametrize(
    ("size", "working"),
    [
        pytest.param((640, 480), (384, 288), id="shrunk"),
        pytest.param((64, 64), (384, 384), id="enlarged"),
        pytest.param((4000, 10), (384, 32), id="a strip keeps one stride"),
        pytest.param((500, 333), (384, 256), id="rounded to the stride"),
    ],
)
def test_the_working_size_is_a_multiple_of_the_stride(size: tuple[int, int], working: tuple[int, int]):
    assert working_size(size, side=384) == working


def test_class_ids_are_the_most_probable_classes_at_the_images_size():
    torch.manual_seed(0)
    predictor = Predictor(build(4).eval(), 64)
    image = draw_image(draw_mask(0), 0)
    probabilities, ids = predictor.probabilities(image, (50, 30)), predictor.class_ids(image, (50, 30))
    assert probabilities.shape == (4, 30, 50)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=0), ids)


def test_normalised_pixels_lie_within_one():
    pixels = normalised(torch.tensor([0.0, 127.0, 255.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3))
    assert [round(value, 3) for value in pixels[0, 0, 0].tolist()] == [-0.992, 0.0, 1.0]
    assert math.isclose(float(pixels.max()), 1.0)
