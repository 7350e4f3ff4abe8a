"""Where training begins: at an earlier model if one is given, as far as it fits, else at ImageNet."""

import enum
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from segmenter import backbone, model_io
from segmenter import network as networks
from segmenter.config import Hyperparameters
from segmenter.errors import ModelError
from segmenter.model_io import SavedModel
from segmenter.network import SegmentationNetwork

logger = logging.getLogger(__name__)

CLASSES = "earlier.json"
Classes = Sequence[int | None]


class Start(enum.Enum):
    """What the network knows before training."""

    WARM = "earlier model"
    CLASSES = "earlier model, some classes new"
    BACKBONE = "earlier model's backbone"
    IMAGENET = "ImageNet"
    RANDOM = "random"

    @property
    def has_classes(self) -> bool:
        """Whether the decoder already knows all classes."""
        return self is Start.WARM


def prepare(channel: Path, wanted: Hyperparameters) -> tuple[SegmentationNetwork, Start]:
    """Build the network and fill it with the best there is to begin with; says which.

    The channel may hold a model (as files or model.tar.gz, at any depth) and ``earlier.json``, which says for each
    class of this job which class of the model it is, ``{"classes": [0, 2, null]}``. Without it equal numbers of classes
    are taken for equal classes. A model that cannot be used (of another algorithm, say) is warned of: training without
    it is slower, not wrong.
    """
    network = networks.build(wanted.num_classes)
    earlier = _earlier_model(channel)
    start = _fill(network, earlier, _classes(channel, earlier, wanted.num_classes), wanted)
    logger.info("training starts from: %s", start.value)
    return network, start


def _fill(network: SegmentationNetwork, earlier: SavedModel | None, classes: Classes, wanted: Hyperparameters) -> Start:
    if earlier and any(class_id is not None for class_id in classes[1:]):
        _take_over(network, earlier.network(), classes)
        new = [str(index) for index, class_id in enumerate(classes) if class_id is None]
        if new:
            logger.info("%s of %s classes are the earlier model's, new: %s", *_counts(classes), ", ".join(new))
        return Start.CLASSES if new else Start.WARM
    if earlier:
        logger.warning(
            "of the earlier model only the backbone is kept: it knows none of this job's classes, or nobody told which"
        )
        network.backbone.load_state_dict(earlier.network().backbone.state_dict())
        return Start.BACKBONE
    if wanted.use_pretrained_model:
        backbone.load_imagenet(network.backbone)
        return Start.IMAGENET
    return Start.RANDOM


def _counts(classes: Classes) -> tuple[int, int]:
    return sum(class_id is not None for class_id in classes), len(classes)


@torch.no_grad()
def _take_over(network: SegmentationNetwork, earlier: SegmentationNetwork, classes: Classes) -> None:
    """Copy all weights; of the last layer the rows of the classes that stayed."""
    weights = earlier.state_dict()
    last = [name for name in weights if name.startswith("decoder.classify.")]
    ours = network.state_dict()
    for name in last:
        for row, class_id in enumerate(classes):
            if class_id is not None:
                ours[name][row] = weights[name][class_id]
    network.load_state_dict(weights | {name: ours[name] for name in last})


def _classes(channel: Path, earlier: SavedModel | None, num_classes: int) -> Classes:
    """For each class of this job its class id in the earlier model, None if that does not know it."""
    if earlier is None:
        return ()
    known = earlier.card.num_classes
    told = next(channel.rglob(CLASSES), None)
    if told is None:
        return range(num_classes) if known == num_classes else ()
    try:
        classes = json.loads(told.read_bytes())["classes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("channel model: %s cannot be read: %s", CLASSES, error)
        return ()
    if not isinstance(classes, list) or len(classes) != num_classes or not all(_is_class(c, known) for c in classes):
        wanted = f"wanted {num_classes} class ids below {known}, or null"
        logger.warning("channel model: %s tells of other classes: %s, got %s", CLASSES, wanted, classes)
        return ()
    return classes


def _is_class(value: object, known: int) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < known)


def _earlier_model(channel: Path) -> SavedModel | None:
    folder = _model_folder(channel)
    if folder is None:
        return None
    try:
        saved = model_io.load(folder)
        saved.network()
    except ModelError as error:
        logger.warning("channel model cannot be used, training starts without it: %s", error)
        return None
    return saved


def _model_folder(channel: Path) -> Path | None:
    """Where the model's files are: a manifest's objects keep their keys as paths. None if there is nothing of it."""
    if not channel.is_dir():
        return None
    files = sorted(path for path in channel.rglob("*") if path.is_file() and path.name != CLASSES)
    named = [path for path in files if path.name in (model_io.ARCHIVE, model_io.CARD)]
    return (named or files)[0].parent if files else None
