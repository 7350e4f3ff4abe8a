"""The two algorithms that the pipeline can train with: their images, and the instances that they train on. Pure."""

import re

from pipeline.images import built_in_image, registry

BUILT_IN, SEGMENTER = "builtin", "segmenter"
ALGORITHMS = (BUILT_IN, SEGMENTER)
# With one GPU each: those of the families that the built-in algorithm's documentation lists and that can still be had.
GPU_INSTANCES = (
    *(f"ml.{family}.{size}xlarge" for family in ("g4dn", "g5") for size in ("", "2", "4", "8")),
    "ml.p3.2xlarge",
)
CPU_INSTANCES = tuple(f"ml.{family}.{size}xlarge" for family in ("m5", "c5") for size in ("", "2", "4"))
INSTANCES = {BUILT_IN: GPU_INSTANCES, SEGMENTER: (*GPU_INSTANCES, *CPU_INSTANCES)}
# A repository's name and what may follow it: a tag, a digest, or both.
_REPOSITORY = re.compile(r"([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?")
_ADDRESS = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[a-z0-9.]+/(.+)")
_PARTITIONS = {
    "cn": "aws-cn",
    "us-gov": "aws-us-gov",
    "us-iso": "aws-iso",
    "us-isob": "aws-iso-b",
    "us-isof": "aws-iso-f",
}


def training_image(algorithm: str, image: str, region: str) -> str:
    """The image that the pipeline trains and serves with in *region*.

    Args:
        algorithm: one of ALGORITHMS.
        image: the segmenter's address in ECR; '' for the built-in algorithm, whose images are AWS's.
        region: where the jobs run.

    Raises:
        ValueError: the algorithm is unknown, the image does not go with it, or the region has no such image.
    """
    if algorithm == BUILT_IN:
        if image:
            todo = f"leave --image out, or train with it by --algorithm {SEGMENTER}"
            raise ValueError(f"--algorithm {BUILT_IN} takes AWS's own image, got --image {image}: {todo}")
        return built_in_image(region)
    if algorithm != SEGMENTER:
        raise ValueError(f"--algorithm: wanted {' or '.join(ALGORITHMS)}, got {algorithm!r}")
    if not image:
        wanted = f"the address of segmenter's image in ECR, such as {example_image(region)}"
        raise ValueError(
            f"--algorithm {SEGMENTER} wants --image, {wanted}; `docker build --target segmenter .` makes it"
        )
    _check(image, region)
    return image


def _check(image: str, region: str) -> None:
    found = _ADDRESS.fullmatch(image)
    if found is None or not _REPOSITORY.fullmatch(found[3]):
        raise ValueError(f"--image: wanted an address in ECR such as {example_image(region)}, got {image!r}")
    if found[2] != region:
        todo = f"push it to a repository in {region}"
        raise ValueError(
            f"--image: SageMaker pulls images of its own region {region} alone, got one of {found[2]}: {todo}"
        )
    if not image.startswith(f"{registry(found[1], region)}/"):
        raise ValueError(f"--image: wanted the registry {registry(found[1], region)}, got {image!r}")


def example_image(region: str) -> str:
    """An address of the right shape."""
    return f"{registry('111122223333', region)}/segmenter:1"


def repository_arn(image: str) -> str:
    """The ARN of an image's ECR repository, for who has to be allowed to pull it; '' for what is in no ECR."""
    address = _ADDRESS.fullmatch(image)
    repository = _REPOSITORY.fullmatch(address[3]) if address else None
    if address is None or repository is None:
        return ""
    partition = _PARTITIONS.get(re.sub(r"-[a-z]+-\d+$", "", address[2]), "aws")
    return f"arn:{partition}:ecr:{address[2]}:{address[1]}:repository/{repository[1]}"
