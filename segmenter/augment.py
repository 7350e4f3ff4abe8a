"""Random views of a sample for training: flip, scale, rotation, shift and colour, cut to one square size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segmenter.backbone import STRIDE
from segmenter.data import IGNORE, Sample
from segmenter.network import normalised

LOG_SCALES = (math.log(0.7), math.log(1.6))
ROTATION_DEGREES = 15.0


@dataclass(frozen=True, slots=True)
class Views:
    """Draws training batches; the same seed draws the same ones."""

    samples: Sequence[Sample]
    side: int
    random: np.random.Generator

    @property
    def crop(self) -> int:
        """The side of a view in pixels: most of an image, and a multiple of the network's stride."""
        return max(1, round(self.side * 5 / 6 / STRIDE)) * STRIDE

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """One new view of each sample: normalised pixels (N, 3, crop, crop) and class ids (N, crop, crop)."""
        views = [self._view(self.samples[index]) for index in indices]
        pixels = torch.stack([pixels for pixels, _ in views])
        return normalised(pixels), torch.stack([ids for _, ids in views])

    def order(self) -> list[int]:
        """All samples once, shuffled."""
        return [int(index) for index in self.random.permutation(len(self.samples))]

    def _view(self, sample: Sample) -> tuple[Tensor, Tensor]:
        height, width = sample.mask.shape
        grid = functional.affine_grid(
            self._transform(width, height)[None], [1, 3, self.crop, self.crop], align_corners=False
        )
        pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float()
        ids = torch.from_numpy(sample.mask)[None, None].float() - IGNORE  # so that the outside, 0, becomes "ignore"
        pixels = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        ids = functional.grid_sample(ids, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return self._coloured(pixels[0]), (ids[0, 0] + IGNORE).round().long()

    def _transform(self, width: int, height: int) -> Tensor:
        """The matrix from a view's coordinates (-1..1) to the image's: scale, rotate, flip, shift."""
        # At scale 1 the image's long side is `side` pixels, as it will be at inference, however small the file is.
        zoom = math.exp(self.random.uniform(*LOG_SCALES)) * self.side / max(width, height)
        angle = math.radians(self.random.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
        flip = -1.0 if self.random.random() < 0.5 else 1.0
        x, y = self.crop / zoom / width, self.crop / zoom / height
        cos, sin = math.cos(angle), math.sin(angle)
        rows = [[flip * x * cos, -x * sin, self._shift(x)], [flip * y * sin, y * cos, self._shift(y)]]
        return torch.tensor(rows, dtype=torch.float32)

    def _shift(self, half: float) -> float:
        # A view smaller than the image stays inside it; a larger one moves a little.
        reach = max(1.0 - half, 0.1)
        return float(self.random.uniform(-reach, reach))

    def _coloured(self, pixels: Tensor) -> Tensor:
        brightness, contrast, saturation = self.random.uniform(0.7, 1.3, size=3)
        tint = pixels.new_tensor(self.random.uniform(0.94, 1.06, size=3)).view(3, 1, 1)
        grey = pixels.mean(dim=0, keepdim=True)
        pixels = grey + (pixels - grey) * float(saturation)
        mean = pixels.mean()
        return ((pixels - mean) * float(contrast) + mean * float(brightness)).mul(tint).clamp(0, 255)
