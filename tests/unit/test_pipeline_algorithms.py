"""An algorithm and its image go together, and the address of an image is one that SageMaker can pull."""

import pytest

from pipeline.algorithms import CPU_INSTANCES, GPU_INSTANCES, INSTANCES, example_image, repository_arn, training_image
from pipeline.checker import service_model
from pipeline.images import BUILT_IN_ACCOUNTS
from pipeline.rendering import committed_definition

REGION = "eu-west-1"
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/segmenter:1.2"


def test_the_built_in_algorithm_has_awss_own_image():
    assert training_image("builtin", "", REGION).endswith(".dkr.ecr.eu-west-1.amazonaws.com/semantic-segmentation:1")


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        IMAGE.removesuffix(":1.2"),
        f"{IMAGE}@sha256:{'0a' * 32}",
        f"{IMAGE.removesuffix(':1.2')}@sha256:{'0a' * 32}",
    ],
)
def test_the_segmenter_has_the_image_that_it_is_given(image: str):
    assert training_image("segmenter", image, REGION) == image


@pytest.mark.parametrize(
    ("algorithm", "image", "told"),
    [
        pytest.param("builtin", IMAGE, "leave --image out, or train with it by --algorithm segmenter", id="not wanted"),
        pytest.param("segmenter", "", "wants --image.*docker build --target segmenter", id="wanted"),
        pytest.param("unet", "", "wanted builtin or segmenter, got 'unet'", id="unknown"),
        pytest.param("segmenter", "segmenter:1", "an address in ECR such as 111122223333", id="no registry"),
        pytest.param("segmenter", "docker.io/team/segmenter:1", "an address in ECR", id="another registry"),
        pytest.param("segmenter", f"https://{IMAGE}", "an address in ECR", id="a URL"),
        pytest.param("segmenter", f"{IMAGE} ", "an address in ECR", id="a space"),
        pytest.param("segmenter", IMAGE.replace("team", "Team"), "an address in ECR", id="a capital"),
        pytest.param("segmenter", IMAGE[1:], "an address in ECR", id="eleven digits"),
        pytest.param("segmenter", f"{IMAGE}@sha256:1", "an address in ECR", id="half a digest"),
        pytest.param(
            "segmenter", IMAGE.replace("eu-west-1", "us-east-2"), "push it to a repository in eu-west-1", id="region"
        ),
        pytest.param("segmenter", f"{IMAGE}".replace(".com", ".com.cn"), "wanted the registry", id="of China"),
    ],
)
def test_what_does_not_go_is_told_with_what_to_do(algorithm: str, image: str, told: str):
    with pytest.raises(ValueError, match=told):
        training_image(algorithm, image, REGION)


@pytest.mark.parametrize("region", sorted({*BUILT_IN_ACCOUNTS, "mx-central-1"}))
def test_the_example_is_right_in_every_region(region: str):
    assert training_image("segmenter", example_image(region), region) == example_image(region)


@pytest.mark.parametrize(
    ("image", "arn"),
    [
        (IMAGE, "arn:aws:ecr:eu-west-1:111122223333:repository/team/segmenter"),
        (f"{IMAGE}@sha256:{'0a' * 32}", "arn:aws:ecr:eu-west-1:111122223333:repository/team/segmenter"),
        (example_image("cn-north-1"), "arn:aws-cn:ecr:cn-north-1:111122223333:repository/segmenter"),
        (example_image("us-gov-west-1"), "arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/segmenter"),
        (example_image("us-isob-east-1"), "arn:aws-iso-b:ecr:us-isob-east-1:111122223333:repository/segmenter"),
        ("", ""),
        ("segmenter:1", ""),
    ],
)
def test_the_role_may_pull_from_the_repository_of_the_image(image: str, arn: str):
    assert repository_arn(image) == arn


def test_the_built_in_algorithm_trains_on_gpus_alone_and_the_segmenter_on_cpus_too():
    assert set(INSTANCES["builtin"]).isdisjoint(CPU_INSTANCES)
    assert set(INSTANCES["segmenter"]) == {*GPU_INSTANCES, *CPU_INSTANCES}
    assert {each.split(".")[1] for each in GPU_INSTANCES} == {"g4dn", "g5", "p3"}


def test_every_instance_is_one_of_sagemakers():
    assert set(INSTANCES["segmenter"]) <= set(service_model().shape_for("TrainingInstanceType").enum)


def test_the_committed_definition_serves_both():
    parameters = {each["Name"]: each for each in committed_definition()["Parameters"]}
    training = parameters["TrainingInstanceType"]
    assert training["EnumValues"] == [*INSTANCES["segmenter"]]
    assert training["DefaultValue"] in INSTANCES["builtin"]
