"""Which program stands for a container image: images are not pulled here, a local implementation runs instead."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from sagemaker_local.errors import JobError


@dataclass(frozen=True, slots=True)
class Metric:
    """A number in the training job's log: the last match of the pattern's first group is its value."""

    name: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What `train` and `serve` of an image run here, and which metrics its log carries."""

    train: tuple[str, ...]
    serve: tuple[str, ...]
    metrics: tuple[Metric, ...] = ()
    python_path: str = ""
    """Put before PYTHONPATH, so that `-m <package>` is found whatever the working folder."""


ImageTable = dict[str, Algorithm]
"""Image repository name (what stands before the tag) -> algorithm."""


def default_images() -> ImageTable:
    """The built-in `semantic-segmentation` and `segmenter`: both run the package `segmenter`."""
    segmenter = Algorithm(
        train=(sys.executable, "-m", "segmenter", "train"),
        serve=(sys.executable, "-m", "segmenter", "serve"),
        metrics=(
            Metric("validation:mIOU", r"validation:mIOU=([0-9.]+)"),
            Metric("validation:pixel_accuracy", r"validation:pixel_accuracy=([0-9.]+)"),
        ),
        python_path=str(Path(__file__).resolve().parent.parent),
    )
    return {"semantic-segmentation": segmenter, "segmenter": segmenter}


def repository(image: str) -> str:
    """`811284229777.dkr.ecr.us-east-1.amazonaws.com/semantic-segmentation:1` -> `semantic-segmentation`."""
    return re.split(r"[:@]", image.rsplit("/", 1)[-1])[0]


def find_algorithm(images: ImageTable, image: str) -> Algorithm:
    """The image's algorithm; JobError if sagemaker_local has none."""
    algorithm = images.get(repository(image))
    if algorithm is None:
        known = ", ".join(sorted(images))
        raise JobError(f"ClientError: sagemaker_local has no program for the image {image!r}; it has one for {known}")
    return algorithm


def local_command(entrypoint: list[str], base: Path) -> list[str]:
    """A container's command for this machine: our own Python, and the job's folder instead of /opt/ml."""
    command = [_local_path(argument, base) for argument in entrypoint]
    if command and command[0] in ("python", "python3"):
        command[0] = sys.executable
    return command


def _local_path(argument: str, base: Path) -> str:
    if argument == "/opt/ml" or argument.startswith("/opt/ml/"):
        return str(base) + argument.removeprefix("/opt/ml")
    return argument
