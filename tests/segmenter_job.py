"""Training jobs for the segmenter, small enough for tests: coloured shapes on grey, in SageMaker's folders."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE_WH = (72, 56)
COLOURS = np.array([[120, 120, 120], [220, 40, 40], [40, 60, 220]], np.uint8)
HYPERPARAMETERS = {"num_classes": "3", "epochs": "2", "light_side": "64", "max_seconds": "3"}


def draw_mask(seed: int) -> npt.NDArray[np.uint8]:
    """A square of class 1 and one of class 2, somewhere in an image of `SIZE_WH`."""
    random = np.random.default_rng(seed)
    mask = np.zeros(SIZE_WH[::-1], np.uint8)
    for class_id, left in ((1, 4), (2, 38)):
        x, y = left + random.integers(0, 8), random.integers(4, 26)
        mask[y : y + 24, x : x + 24] = class_id
    return mask


def draw_image(mask: npt.NDArray[np.uint8], seed: int) -> Image.Image:
    """The picture of a mask: each class in its colour, with some noise."""
    noise = np.random.default_rng(seed).integers(-12, 13, size=(*mask.shape, 3))
    return Image.fromarray((COLOURS[mask] + noise).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class Job:
    """One container's base folder."""

    base: Path

    @classmethod
    def make(cls, base: Path, *, train: int = 4, validation: int = 2, **hyperparameters: str) -> "Job":
        """Lay out a job with this many images; hyperparameters are added to `HYPERPARAMETERS`."""
        job = cls(base)
        job.write_hyperparameters(HYPERPARAMETERS | hyperparameters)
        for index in range(train):
            job.add("train", f"bird {index}", seed=index)
        for index in range(validation):
            job.add("validation", f"other {index}", seed=100 + index)
        return job

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def failure(self) -> str:
        path = self.base / "output" / "failure"
        return path.read_text("utf-8") if path.exists() else ""

    def channel(self, name: str) -> Path:
        folder = self.base / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_hyperparameters(self, values: dict[str, str]) -> None:
        path = self.base / "input" / "config" / "hyperparameters.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), "utf-8")

    def add(self, channel: str, name: str, *, seed: int, mask: npt.NDArray[np.uint8] | None = None) -> None:
        """Put one image and its mask into a pair of channels."""
        drawn = draw_mask(seed)
        draw_image(drawn, seed).save(self.channel(channel) / f"{name}.jpg", quality=95)
        Image.fromarray(drawn if mask is None else mask).save(self.channel(f"{channel}_annotation") / f"{name}.png")

    def start(self, program: str, **env: str) -> "subprocess.Popen[str]":
        """Start `python -m segmenter <program>` on this folder.

        One thread: images this small gain nothing from more, and wait for each other on a busy machine.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "segmenter", program],
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(self.base), "OMP_NUM_THREADS": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
