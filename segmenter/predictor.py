"""A trained network applied to images: class probabilities or class ids at the image's own size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from segmenter import backbone
from segmenter.images import Pixels, SizeWH
from segmenter.network import SegmentationNetwork, normalised

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Predictor:
    """Applies `network` at its working size: the long side `side` pixels."""

    network: SegmentationNetwork
    side: int

    def probabilities(self, image: Image.Image, size: SizeWH) -> Probabilities:
        """Class probabilities (C, H, W) at `size`; they sum to one at each pixel."""
        with torch.inference_mode():
            return _resized(self._small(image), size)[0].cpu().numpy()

    def class_ids(self, image: Image.Image, size: SizeWH) -> Pixels:
        """The most probable class (H, W) at `size`; one class is enlarged at a time, to keep memory small."""
        with torch.inference_mode():
            small = self._small(image)
            best = _resized(small[:, :1], size)
            ids = torch.zeros_like(best, dtype=torch.uint8)
            for index in range(1, small.shape[1]):
                plane = _resized(small[:, index : index + 1], size)
                ids.masked_fill_(plane > best, index)
                torch.maximum(best, plane, out=best)
            return ids[0, 0].cpu().numpy()

    def _small(self, image: Image.Image) -> Tensor:
        """Class probabilities (1, C, h, w) at the network's resolution."""
        size = working_size(image.size, side=self.side)
        resized = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float()
        scores: Tensor = self.network(normalised(pixels.to(self.network.device)))
        return scores.float().softmax(dim=1)


def working_size(size: SizeWH, *, side: int) -> SizeWH:
    """The size at which the network looks at an image: long side `side`, both sides multiples of its stride."""
    scale = side / max(size)
    width, height = (max(1, round(length * scale / backbone.STRIDE)) * backbone.STRIDE for length in size)
    return width, height


def _resized(small: Tensor, size: SizeWH) -> Tensor:
    return functional.interpolate(small, size=(size[1], size[0]), mode="bilinear", align_corners=False)
