"""The model's files: `weights.safetensors` and `model.json`; nothing in them is executed when they are read."""

import io
import json
import logging
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from segmenter import backbone, network
from segmenter.errors import ModelError
from segmenter.network import SegmentationNetwork

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
CARD = "model.json"
ARCHIVE = "model.tar.gz"
FORMAT = 2
UNFOLDED = 1  # the format with the backbone's normalisations beside its convolutions
# Larger members of an archive are not ours.
MAX_MEMBER_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What one must know to use the weights."""

    num_classes: int
    side: int
    architecture: str = network.ARCHITECTURE
    format: int = FORMAT
    mean: tuple[float, ...] = backbone.MEAN
    std: tuple[float, ...] = backbone.STD
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model's card and weights, as read."""

    card: ModelCard
    weights: dict[str, Tensor]

    def network(self) -> SegmentationNetwork:
        """Build the network and fill it.

        Raises:
            ModelError: the weights are not those of the architecture named in the card.
        """
        built = network.build(self.card.num_classes)
        try:
            built.load_state_dict(self.weights)
        except RuntimeError as error:
            raise ModelError(f"{WEIGHTS} does not fit {self.card.architecture}: {error}") from error
        return built.eval()


def save(folder: Path, trained: SegmentationNetwork, card: ModelCard) -> None:
    """Write the two files; the card comes last, so that a folder with a card has whole weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in trained.state_dict().items()}
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights))
    (folder / CARD).write_text(json.dumps(asdict(card), indent=2) + "\n", "utf-8")


def load(folder: Path) -> SavedModel:
    """Read a model from a folder that holds its files, or a model.tar.gz with them.

    Raises:
        ModelError: a file is missing or broken, or of a format or architecture that is unknown here.
    """
    files = _from_archive(folder / ARCHIVE) if (folder / ARCHIVE).is_file() else _from_folder(folder)
    card = _read_card(files[CARD])
    try:
        weights = safetensors.torch.load(files[WEIGHTS])
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{WEIGHTS} in {folder} cannot be read: {error}") from error
    return SavedModel(card, _folded(weights) if card.format == UNFOLDED else weights)


def _folded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the earlier format; the decoder has its normalisations still."""
    own = {name: tensor for name, tensor in weights.items() if name.startswith("backbone.")}
    return {name: tensor for name, tensor in weights.items() if name not in own} | backbone.folded(own)


def _from_folder(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in (CARD, WEIGHTS)}
    except OSError as error:
        raise ModelError(f"{folder} should hold {CARD} and {WEIGHTS}: {error}") from error


def _from_archive(archive: Path) -> dict[str, bytes]:
    # Read by name into memory: nothing is unpacked, so no path in the archive matters.
    try:
        with tarfile.open(archive) as opened:
            members = {Path(member.name).name: member for member in opened if member.isfile()}
            return {name: _member(opened, members[name]) for name in (CARD, WEIGHTS)}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ModelError(f"{archive} cannot be read: {error}") from error
    except KeyError as error:
        raise ModelError(f"{archive} should hold {CARD} and {WEIGHTS}; {error} is missing") from error


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_MEMBER_BYTES:
        raise ModelError(f"{member.name} has {member.size} bytes, more than a model of this kind ({MAX_MEMBER_BYTES})")
    return (archive.extractfile(member) or io.BytesIO()).read()


def _read_card(text: bytes) -> ModelCard:
    try:
        fields = json.loads(text)
        card = ModelCard(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{CARD} is not a model card of this program: {error}") from error
    if card.format not in {UNFOLDED, FORMAT} or card.architecture != network.ARCHITECTURE:
        raise ModelError(
            f"{CARD} names format {card.format} and architecture {card.architecture}; "
            f"this program knows formats up to {FORMAT} and {network.ARCHITECTURE}"
        )
    return card
