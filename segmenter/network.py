"""The light segmentation network: EfficientNet-Lite0, a feature pyramid, one score per class and pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmenter import backbone

ARCHITECTURE = "fpn64-efficientnet-lite0"
WIDTH = 64
# The scores come at this fraction of the input's resolution.
OUTPUT_STRIDE = 4


class PyramidDecoder(nn.Module):
    """Feature pyramid: the four maps are brought to one width and resolution, added, and classified."""

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(count, WIDTH, 1) for count in channels)
        self.smooths = nn.ModuleList(_smooth() for _ in channels)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map features at strides 4, 8, 16, 32 to scores (N, classes, H / 4, W / 4)."""
        size = maps[0].shape[-2:]
        merged = torch.zeros((), device=maps[0].device)
        above: Tensor | None = None
        for lateral, smooth, features in reversed(list(zip(self.laterals, self.smooths, maps, strict=True))):
            level = lateral(features)
            above = level if above is None else level + functional.interpolate(above, scale_factor=2.0)
            merged = merged + _resized(smooth(above), size)
        scores: Tensor = self.classify(self.dropout(merged))
        return scores


class SegmentationNetwork(nn.Module):
    """Normalised pixels (N, 3, H, W), H and W multiples of 32, to scores (N, classes, H / 4, W / 4)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = backbone.EfficientNetLite()
        self.decoder = PyramidDecoder(backbone.CHANNELS, num_classes)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and the pixels must be."""
        return self.decoder.classify.weight.device

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the scores before softmax."""
        scores: Tensor = self.decoder(self.backbone(pixels))
        return scores


def build(num_classes: int) -> SegmentationNetwork:
    """Make an untrained network, in the memory layout that halves its time on a CPU."""
    network = SegmentationNetwork(num_classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's own annotations
    return network


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def normalised(pixels: Tensor) -> Tensor:
    """Turn RGB values 0..255 (N, 3, H, W) into what the backbone was trained on."""
    shape = (1, 3, 1, 1)
    mean, std = (pixels.new_tensor(values).view(shape) for values in (backbone.MEAN, backbone.STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def _smooth() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True)
    )


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[-2:] == tuple(size):
        return x
    return functional.interpolate(x, size=list(size), mode="bilinear", align_corners=False)
