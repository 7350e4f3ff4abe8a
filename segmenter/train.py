"""`python -m segmenter train`: one training job, from the channels to the model's files."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from segmenter import config, data, fit, memory, model_io, warm_start
from segmenter.augment import Views
from segmenter.clock import Clock
from segmenter.config import Hyperparameters
from segmenter.container import Container
from segmenter.data import Channel, Sample
from segmenter.errors import SegmenterError
from segmenter.evaluate import Evaluation, evaluate
from segmenter.fit import Recipe
from segmenter.model_io import ModelCard
from segmenter.network import SegmentationNetwork, best_device
from segmenter.watch import Watch

logger = logging.getLogger(__name__)

# Kept back from the budget for the final evaluation and the files.
RESERVE_SECONDS = 1.0
RESERVE_SECONDS_PER_IMAGE = 0.06
# Validation images are compared at their own size up to this long side.
EVALUATION_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Trained:
    """A network after training, and how it came about."""

    network: SegmentationNetwork
    start: str
    head_steps: int
    steps: int


def run(container: Container, env: Mapping[str, str], *, started: float) -> None:
    """Train and write the model.

    Raises:
        SegmenterError: hyperparameters, channels or the earlier model are not usable; the message says why.
    """
    memory.keep_large_buffers()
    wanted = config.parse(container.hyperparameters(), env)
    clock = Clock(started, wanted.max_seconds)
    clock.stop_on_sigterm()
    _say_what_is_used(wanted)
    train = data.load(container, "train", side=wanted.light_side, num_classes=wanted.num_classes)
    validation = data.load(container, "validation", side=EVALUATION_SIDE, num_classes=wanted.num_classes)
    _say_classes(train.samples, wanted.num_classes)
    trained = _fit(container, wanted, clock, train=train, validation=validation)
    evaluation = evaluate(trained.network, validation.samples, side=wanted.light_side)
    _say_result(evaluation)
    report = _report(trained, evaluation, wanted, train=train, validation=validation)
    report["seconds"] = round(clock.elapsed(), 1)
    _write(container, trained, evaluation, report)
    logger.info("done in %.1f s", clock.elapsed())


def _fit(
    container: Container, wanted: Hyperparameters, clock: Clock, *, train: Channel, validation: Channel
) -> Trained:
    torch.manual_seed(wanted.seed)
    network, start = warm_start.prepare(container.channel("model"), wanted)
    network.to(best_device())
    recipe = Recipe()
    fitting = clock.reserving(RESERVE_SECONDS + RESERVE_SECONDS_PER_IMAGE * len(validation.samples))
    random = np.random.default_rng(wanted.seed)
    views = Views(train.samples, side=wanted.light_side, random=random)
    head_steps = 0 if start.has_classes else fit.train_head(network, views, recipe, fitting)
    if head_steps:
        logger.info("decoder trained on cached features: %s steps, %.1f s", head_steps, clock.elapsed())
    watch = Watch(validation.samples, wanted, clock)
    average, steps = fit.fine_tune(network, views, recipe, epochs=wanted.epochs, clock=fitting, report=watch)
    if not (head_steps or steps or start.has_classes):
        raise SegmenterError(f"stopped by SIGTERM after {clock.elapsed():.1f} s, before anything was learned")
    logger.info("network trained: %s steps, %.1f s", steps, clock.elapsed())
    return Trained(average, start.value, head_steps, steps)


def _say_what_is_used(wanted: Hyperparameters) -> None:
    logger.info(
        "network=%s: the light network with its own recipe, long side %s; algorithm=%s, backbone=%s and the sizes, "
        "rates and batches of the built-in algorithm are accepted and not used",
        wanted.network,
        wanted.light_side,
        wanted.algorithm,
        wanted.backbone,
    )
    logger.info("at most %s epochs and %g s, seed %s", wanted.epochs, wanted.max_seconds, wanted.seed)


def _say_classes(samples: Sequence[Sample], num_classes: int) -> None:
    pixels = data.class_pixels(samples, num_classes)
    total = max(1, sum(pixels))
    logger.info("train: share of pixels by class: %s", " ".join(f"{i}:{n / total:.2%}" for i, n in enumerate(pixels)))
    never = [index for index, count in enumerate(pixels) if not count]
    if never:
        logger.warning("train: no pixel of class %s: it will not be predicted", ", ".join(map(str, never)))


def _say_result(evaluation: Evaluation) -> None:
    for index, iou in enumerate(evaluation.class_iou):
        logger.info("validation:class_%s_IOU=%s", index, "none" if iou is None else f"{iou:.4f}")
    logger.info("validation:pixel_accuracy=%.4f", evaluation.pixel_accuracy)
    logger.info("validation:mIOU=%.4f", evaluation.mean_iou)


def _report(
    trained: Trained, evaluation: Evaluation, wanted: Hyperparameters, *, train: Channel, validation: Channel
) -> dict[str, Any]:
    """What evaluation.json says."""
    return evaluation.as_json() | {
        "start": trained.start,
        "steps": {"head": trained.head_steps, "fine_tuning": trained.steps},
        "hyperparameters": asdict(wanted),
        "data": {
            "train": _channel_report(train) | {"class_pixels": data.class_pixels(train.samples, wanted.num_classes)},
            "validation": _channel_report(validation),
        },
    }


def _channel_report(channel: Channel) -> dict[str, Any]:
    return {"images": len(channel.samples), "skipped": list(channel.skipped), "sha256": channel.digest}


def _write(container: Container, trained: Trained, evaluation: Evaluation, report: dict[str, Any]) -> None:
    hyperparameters = report["hyperparameters"]
    card = ModelCard(
        num_classes=hyperparameters["num_classes"],
        side=hyperparameters["light_side"],
        metrics={"validation:mIOU": evaluation.mean_iou, "validation:pixel_accuracy": evaluation.pixel_accuracy},
    )
    model_io.save(container.model, trained.network, card)
    (container.model / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
