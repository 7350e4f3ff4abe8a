"""The training itself: the decoder first on cached features, then decoder and backbone together.

Why this order: the pretrained backbone's features are good as they are, a fresh decoder's gradients are not. Caching
the features makes the first part cheap; the second then starts from a decoder that already knows the classes.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from segmenter.augment import Views
from segmenter.clock import Clock
from segmenter.losses import segmentation_loss
from segmenter.network import SegmentationNetwork

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was found to work with few images on a CPU; times are shares of the budget."""

    batch: int = 5
    learning_rate: float = 4e-3
    backbone_factor: float = 0.1
    weight_decay: float = 1e-4
    frozen_blocks: int = 5
    ema_decay: float = 0.97
    warmup_steps: int = 10
    head_batch: int = 8
    # However little time there is, the decoder is not left untrained.
    least_head_steps: int = 5
    head_steps: int = 150
    head_share: float = 0.2
    cached_views: int = 64
    # A small set is gone through several times per epoch.
    steps_per_epoch: int = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the fine-tuning stands after an epoch."""

    epoch: int
    step: int
    loss: float


Report = Callable[[Progress, SegmentationNetwork], bool]


def train_head(network: SegmentationNetwork, views: Views, recipe: Recipe, clock: Clock) -> int:
    """Train the decoder alone on cached features of the frozen backbone; returns the steps done."""
    deadline = clock.elapsed() + recipe.head_share * clock.left()
    network.eval()
    cache = _cached_features(network, views, recipe, clock=clock, deadline=deadline)
    network.decoder.train()
    group = {"params": list(network.decoder.parameters()), "full_rate": recipe.learning_rate}
    optimizer = torch.optim.AdamW([group], lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    step = 0
    while step < recipe.head_steps and not clock.is_stopped():
        maps, ids = cache.batch(recipe.head_batch)
        _set_rate(optimizer, _cosine(step / recipe.head_steps))
        _descend(optimizer, network.decoder, segmentation_loss(network.decoder(maps), ids))
        step += 1
        if step >= recipe.least_head_steps and clock.elapsed() > deadline:
            break
    return step


def fine_tune(
    network: SegmentationNetwork, views: Views, recipe: Recipe, *, epochs: int, clock: Clock, report: Report
) -> tuple[SegmentationNetwork, int]:
    """Train decoder and backbone until the epochs or the time are used up, or `report` answers False.

    Returns:
        The moving average of the network, which is better than its last state, and the steps done.
    """
    per_epoch = max(recipe.steps_per_epoch, math.ceil(len(views.samples) / recipe.batch))
    pace = _Pace(total=epochs * per_epoch, warmup=recipe.warmup_steps, clock=clock, begun=clock.elapsed())
    tuning = _FineTuning(network, recipe, pace)
    batches = _batches(views, recipe.batch, network.device)
    for epoch in range(1, epochs + 1):
        losses = [tuning.step(*next(batches)) for _ in range(per_epoch) if not pace.is_over()]
        if not losses or not report(Progress(epoch, pace.step, sum(losses) / len(losses)), tuning.average):
            break
    return tuning.average, pace.step


class _FineTuning:
    """The network in training, its moving average, and what moves it."""

    def __init__(self, network: SegmentationNetwork, recipe: Recipe, pace: "_Pace") -> None:
        network.backbone.freeze(recipe.frozen_blocks)
        network.train()
        self.network, self.pace, self.decay = network, pace, recipe.ema_decay
        self.average = copy.deepcopy(network).eval()
        self.optimizer = _optimizer(network, recipe)

    def step(self, pixels: Tensor, ids: Tensor) -> float:
        """Learn from one batch; returns its loss."""
        _set_rate(self.optimizer, self.pace.rate())
        loss = _descend(self.optimizer, self.network, segmentation_loss(self.network(pixels), ids))
        _follow(self.average, self.network, min(self.decay, (1 + self.pace.step) / (10 + self.pace.step)))
        self.pace.step += 1
        return loss


@dataclass(slots=True)
class _Pace:
    """How far the work has come: in steps, or in time if that would end first.

    While the epochs are what ends the work, rates depend on the steps alone, and one seed gives one result.
    """

    total: int
    warmup: int
    clock: Clock
    begun: float
    step: int = 0

    def is_over(self) -> bool:
        """Whether another step would be one too many."""
        return self.step >= self.total or self.clock.left() <= self._step_seconds()

    def rate(self) -> float:
        """The share of the full learning rate: rises during the warm-up, then falls along a cosine."""
        affordable = self.step + self.clock.left() / max(self._step_seconds(), 1e-3)
        planned = self.total if self.step == 0 else min(self.total, affordable)
        return min(1.0, (self.step + 1) / self.warmup) * _cosine(self.step / planned)

    def _step_seconds(self) -> float:
        return (self.clock.elapsed() - self.begun) / self.step if self.step else 0.0


@dataclass(frozen=True, slots=True)
class _FeatureCache:
    """Views that have been through the frozen backbone: one list of (1, C, h, w) maps and the class ids of each."""

    maps: list[list[Tensor]]
    ids: list[Tensor]
    views: Views

    def batch(self, count: int) -> tuple[list[Tensor], Tensor]:
        """Some of the views, drawn at random; as maps (N, C, h, w) and class ids (N, H, W)."""
        chosen = [int(index) for index in self.views.random.integers(len(self.ids), size=count)]
        levels = zip(*(self.maps[index] for index in chosen), strict=True)
        return [torch.cat(level) for level in levels], torch.stack([self.ids[index] for index in chosen])


def _cached_features(
    network: SegmentationNetwork, views: Views, recipe: Recipe, *, clock: Clock, deadline: float
) -> _FeatureCache:
    """Fill the cache until it is full, or a third of the time is gone."""
    cache = _FeatureCache([], [], views)
    limit = clock.elapsed() + (deadline - clock.elapsed()) / 3
    batches = _batches(views, recipe.batch, network.device)
    while len(cache.ids) < recipe.cached_views and (clock.elapsed() < limit or not cache.ids):
        pixels, ids = next(batches)
        with torch.no_grad():
            maps = network.backbone(pixels)
        cache.maps.extend([list(level) for level in zip(*(m.split(1) for m in maps), strict=True)])
        cache.ids.extend(ids.unbind())
    return cache


def _batches(views: Views, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of fresh views without end; every sample comes once before any comes again."""
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += views.order()
        pixels, ids = views.batch(waiting[:size])
        yield pixels.to(device), ids.to(device)
        del waiting[:size]


def _optimizer(network: SegmentationNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    groups = [
        {"params": list(network.decoder.parameters()), "full_rate": recipe.learning_rate},
        {"params": network.backbone.trainable(), "full_rate": recipe.learning_rate * recipe.backbone_factor},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * share


def _descend(optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    clip_grad_norm_((p for p in network.parameters() if p.grad is not None), 5.0)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network's present state."""
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
