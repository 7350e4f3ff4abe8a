"""The model's files: what is saved is read back; what does not fit is said, and never executed."""

import json
import pickle
import tarfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from segmenter import backbone, model_io, warm_start
from segmenter.config import Hyperparameters
from segmenter.errors import ModelError
from segmenter.model_io import CARD, WEIGHTS, ModelCard
from segmenter.network import SegmentationNetwork, build
from segmenter.warm_start import Start


def saved(folder: Path, num_classes: int = 3) -> SegmentationNetwork:
    network = build(num_classes).eval()
    model_io.save(folder, network, ModelCard(num_classes=num_classes, side=64, metrics={"validation:mIOU": 0.5}))
    return network


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def archived(folder: Path) -> Path:
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        for name in (CARD, WEIGHTS):
            archive.add(folder / name, f"./{name}")
            (folder / name).unlink()
    return folder


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path):
    network = saved(tmp_path)
    loaded = model_io.load(tmp_path)
    assert same_weights(loaded.network(), network)
    assert (loaded.card.side, loaded.card.metrics) == (64, {"validation:mIOU": 0.5})


def test_a_model_is_two_files_and_no_pickle(tmp_path: Path):
    saved(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CARD, WEIGHTS}
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads((tmp_path / WEIGHTS).read_bytes())  # noqa: S301  # that it fails is the point


def test_a_model_is_read_from_its_archive_too(tmp_path: Path):
    network = saved(tmp_path)
    assert same_weights(model_io.load(archived(tmp_path)).network(), network)
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        pytest.param(CARD, None, "should hold model.json and weights.safetensors", id="no card"),
        pytest.param(WEIGHTS, None, "should hold model.json and weights.safetensors", id="no weights"),
        pytest.param(WEIGHTS, b"\0" * 64, "cannot be read", id="weights cut off"),
        pytest.param(CARD, b"{", "not a model card", id="card cut off"),
        pytest.param(CARD, b"[]", "not a model card", id="card of another kind"),
        pytest.param("model.tar.gz", b"no archive", "cannot be read", id="archive broken"),
    ],
)
def test_a_broken_model_is_refused_with_a_reason(tmp_path: Path, file: str, content: bytes | None, reason: str):
    saved(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        model_io.load(tmp_path)


def test_a_model_of_another_architecture_is_refused_by_its_name(tmp_path: Path):
    saved(tmp_path)
    card = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps(card | {"architecture": "unet"}))
    with pytest.raises(ModelError, match="architecture unet"):
        model_io.load(tmp_path)


def unfolded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the first format had them: a convolution without bias, and a normalisation, here one that does nothing."""
    found = {}
    for name, tensor in weights.items():
        layer, _, leaf = name.rpartition(".")
        if not name.startswith("backbone."):
            found[name] = tensor
        elif leaf == "weight":
            found |= {f"{layer}.0.weight": tensor, f"{layer}.1.weight": torch.ones(len(tensor))}
            found |= {f"{layer}.1.running_mean": torch.zeros(len(tensor))}
            found |= {f"{layer}.1.running_var": torch.ones(len(tensor)) - backbone.NORM_EPSILON}
        else:
            found[f"{layer}.1.bias"] = tensor
    return {name: tensor.contiguous() for name, tensor in found.items()}


def test_a_model_of_the_first_format_is_read_still(tmp_path: Path):
    network = saved(tmp_path)
    card = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps(card | {"format": 1}))
    (tmp_path / WEIGHTS).write_bytes(safetensors.torch.save(unfolded(network.state_dict())))
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(model_io.load(tmp_path).network()(pixels), network(pixels), atol=1e-4)


def test_a_model_of_a_later_format_is_refused(tmp_path: Path):
    saved(tmp_path)
    card = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps(card | {"format": model_io.FORMAT + 1}))
    with pytest.raises(ModelError, match=f"names format {model_io.FORMAT + 1}"):
        model_io.load(tmp_path)


def test_weights_that_do_not_fit_their_card_are_refused(tmp_path: Path):
    saved(tmp_path)
    card = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps(card | {"num_classes": 7}))
    with pytest.raises(ModelError, match="does not fit"):
        model_io.load(tmp_path).network()


def wanted(num_classes: int = 3, *, pretrained: bool = True) -> Hyperparameters:
    return Hyperparameters(num_classes=num_classes, use_pretrained_model=pretrained)


def test_training_goes_on_from_an_earlier_model_of_the_same_classes(tmp_path: Path):
    earlier = saved(tmp_path)
    network, start = warm_start.prepare(archived(tmp_path), wanted())
    assert start is Start.WARM
    assert same_weights(network, earlier)


def test_of_an_earlier_model_with_other_classes_the_backbone_stays(tmp_path: Path):
    earlier = saved(tmp_path, num_classes=4)
    network, start = warm_start.prepare(tmp_path, wanted(3))
    assert start is Start.BACKBONE
    assert same_weights(network.backbone, earlier.backbone)
    assert network.num_classes == 3


def rows(network: SegmentationNetwork) -> torch.Tensor:
    return network.decoder.classify.weight.detach()


def test_a_changed_label_set_keeps_the_classes_that_stayed(tmp_path: Path):
    earlier = saved(tmp_path, num_classes=4)
    (tmp_path / "earlier.json").write_text('{"classes": [0, 3, null]}')
    network, start = warm_start.prepare(tmp_path, wanted(3))

    assert start is Start.CLASSES
    assert not start.has_classes
    assert torch.equal(rows(network)[:2], rows(earlier)[[0, 3]])
    assert same_weights(network.backbone, earlier.backbone)
    assert same_weights(network.decoder.smooths, earlier.decoder.smooths)


def test_classes_in_another_order_are_known_all_the_same(tmp_path: Path):
    earlier = saved(tmp_path)
    (tmp_path / "earlier.json").write_text('{"classes": [0, 2, 1]}')
    network, start = warm_start.prepare(tmp_path, wanted(3))

    assert start is Start.WARM
    assert torch.equal(rows(network), rows(earlier)[[0, 2, 1]])


@pytest.mark.parametrize(
    "told",
    [
        pytest.param('{"classes": [0, 1]}', id="too few"),
        pytest.param('{"classes": [0, 1, 3]}', id="beyond the model's"),
        pytest.param('{"classes": [0, 1, true]}', id="no number"),
        pytest.param('{"classes": [0, null, null]}', id="all new"),
        pytest.param('["classes"]', id="of another form"),
        pytest.param("no JSON", id="no JSON"),
    ],
)
def test_when_no_class_is_known_to_have_stayed_the_backbone_does(tmp_path: Path, told: str):
    earlier = saved(tmp_path)
    (tmp_path / "earlier.json").write_text(told)
    network, start = warm_start.prepare(tmp_path, wanted(3))

    assert start is Start.BACKBONE
    assert same_weights(network.backbone, earlier.backbone)


def test_a_manifests_objects_are_found_below_their_keys(tmp_path: Path):
    (tmp_path / "ls/models/e").mkdir(parents=True)
    earlier = saved(tmp_path / "ls/models/e")
    archived(tmp_path / "ls/models/e")
    (tmp_path / "ls/datasets/d").mkdir(parents=True)
    (tmp_path / "ls/datasets/d/earlier.json").write_text('{"classes": [0, 1, 2]}')
    network, start = warm_start.prepare(tmp_path, wanted(3))

    assert start is Start.WARM
    assert same_weights(network, earlier)


def test_before_the_first_model_the_channel_is_no_cause_for_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "earlier.json").write_text('{"classes": []}')
    assert warm_start.prepare(tmp_path, wanted(3))[1] is Start.IMAGENET
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    "files", [pytest.param({}, id="empty"), pytest.param({"model_algo-1": b"mxnet"}, id="another's")]
)
def test_without_a_usable_earlier_model_training_starts_from_imagenet(tmp_path: Path, files: dict[str, bytes]):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert warm_start.prepare(tmp_path, wanted())[1] is Start.IMAGENET


def test_without_the_pretrained_model_training_starts_from_nothing(tmp_path: Path):
    assert warm_start.prepare(tmp_path / "none", wanted(pretrained=False))[1] is Start.RANDOM
