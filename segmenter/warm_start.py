"""Where training begins: at an earlier model if one is given and fits, else at ImageNet."""

import enum
import logging
from pathlib import Path

from segmenter import backbone, model_io
from segmenter import network as networks
from segmenter.config import Hyperparameters
from segmenter.errors import ModelError
from segmenter.model_io import SavedModel
from segmenter.network import SegmentationNetwork

logger = logging.getLogger(__name__)


class Start(enum.Enum):
    """What the network knows before training."""

    WARM = "earlier model"
    BACKBONE = "earlier model's backbone"
    IMAGENET = "ImageNet"
    RANDOM = "random"

    @property
    def has_classes(self) -> bool:
        """Whether the decoder already knows the classes."""
        return self is Start.WARM


def prepare(channel: Path, wanted: Hyperparameters) -> tuple[SegmentationNetwork, Start]:
    """Build the network and fill it with the best there is to begin with; says which.

    A model that cannot be used (of another algorithm, say) is warned of: training without it is slower, not wrong.
    """
    network = networks.build(wanted.num_classes)
    start = _fill(network, _earlier_model(channel), wanted)
    logger.info("training starts from: %s", start.value)
    return network, start


def _fill(network: SegmentationNetwork, earlier: SavedModel | None, wanted: Hyperparameters) -> Start:
    if earlier and earlier.card.num_classes == wanted.num_classes:
        network.load_state_dict(earlier.network().state_dict())
        return Start.WARM
    if earlier:
        logger.warning(
            "the earlier model has %s classes, this job %s: only its backbone is kept",
            earlier.card.num_classes,
            wanted.num_classes,
        )
        network.backbone.load_state_dict(earlier.network().backbone.state_dict())
        return Start.BACKBONE
    if wanted.use_pretrained_model:
        backbone.load_imagenet(network.backbone)
        return Start.IMAGENET
    return Start.RANDOM


def _earlier_model(channel: Path) -> SavedModel | None:
    if not channel.is_dir() or not any(channel.iterdir()):
        return None
    try:
        saved = model_io.load(channel)
        saved.network()
    except ModelError as error:
        logger.warning("channel model cannot be used, training starts without it: %s", error)
        return None
    return saved
