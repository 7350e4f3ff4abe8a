"""The role of the jobs is enough for the committed pipeline, in every region, and for nothing else."""

import json
from dataclasses import replace

import pytest

from pipeline.images import BUILT_IN_ACCOUNTS, built_in_image
from tests.infra.asked import SEGMENTER, STORAGES, of_jobs
from tests.infra.calls import Call, needed
from tests.infra.deployed import REPOSITORY, Deployed, deployed
from tests.infra.policies import Request, Verdict, evaluate, unused

COMMERCIAL = sorted(region for region in BUILT_IN_ACCOUNTS if not region.startswith(("cn-", "us-gov-", "us-iso")))


def moved(stacks: Deployed, region: str) -> Deployed:
    """What the same templates come to in another region, which they name by AWS::Region alone."""
    documents = json.loads(json.dumps(stacks.sagemaker).replace(stacks.place.region, region))
    return replace(stacks, place=replace(stacks.place, region=region), sagemaker=documents)


def refused(stacks: Deployed, asked: list[Request]) -> list[str]:
    return [str(each) for each in asked if evaluate(stacks.sagemaker, each) is not Verdict.ALLOWED]


def test_the_role_may_do_all_that_the_pipeline_needs():
    stacks = deployed()
    assert refused(stacks, of_jobs(stacks, built_in_image(stacks.place.region))) == []
    assert refused(stacks, of_jobs(stacks, SEGMENTER)) == []


def test_the_role_may_do_nothing_that_the_pipeline_does_not_need():
    stacks = deployed()
    asked = [*of_jobs(stacks, built_in_image(stacks.place.region)), *of_jobs(stacks, SEGMENTER)]
    assert unused(stacks.sagemaker, asked) == []


def test_the_role_may_keep_the_checkpoints_of_a_training_on_spot_instances():
    stacks = deployed()
    asked = of_jobs(stacks, built_in_image(stacks.place.region), spot=True)

    assert any("/checkpoints/" in str(each) for each in asked)
    assert refused(stacks, asked) == []


@pytest.mark.parametrize("region", COMMERCIAL)
def test_the_images_of_aws_may_be_pulled_in_every_region(region: str):
    stacks = moved(deployed(), region)
    assert refused(stacks, of_jobs(stacks, built_in_image(region))) == []


def test_no_image_of_anybody_else_may_be_pulled():
    stacks = deployed()
    image = "999999999999.dkr.ecr.eu-central-1.amazonaws.com/miner:1"
    assert {each.split(" on ")[1] for each in refused(stacks, of_jobs(stacks, image))} == {
        "arn:aws:ecr:eu-central-1:999999999999:repository/miner"
    }


def test_the_segmenters_repository_is_named_in_full():
    assert REPOSITORY in str(deployed().sagemaker)


@pytest.mark.parametrize(("operation", "names"), STORAGES)
def test_label_studios_storages_may_do_what_they_do(operation: str, names: dict[str, str]):
    stacks = deployed()
    call = Call("s3", operation, {"Bucket": stacks.outputs["BucketName"], **names})
    assert [evaluate(stacks.storage, each) for each in needed(call, stacks.place)] == [Verdict.ALLOWED]
