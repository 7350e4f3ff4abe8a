"""Publishing fills in what is the account's, and is safe to repeat."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from pipeline.__main__ import main
from pipeline.checker import check_definition
from pipeline.choice import PipelineChoice
from pipeline.images import BUILT_IN_ACCOUNTS, built_in_image, processing_image
from pipeline.publish import PublishError, Target, artifacts, fill_defaults, parse_override, publish
from pipeline.rendering import committed_definition

ROLE = "arn:aws:iam::123456789012:role/jobs"
ARN = "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/label-studio-segmentation"
TARGET = Target(bucket="birds", role_arn=ROLE, region="eu-central-1", choice=PipelineChoice(overrides={"Epochs": "5"}))


SESSION = boto3.session.Session(region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s")


def chosen(**wanted: Any) -> dict[str, Any]:
    """What of the target a person's choice makes."""
    return {"choice": PipelineChoice(**wanted)}


def published(pipeline_exists: bool):
    s3, sagemaker = SESSION.client("s3"), SESSION.client("sagemaker")
    with Stubber(s3) as objects, Stubber(sagemaker) as pipelines:
        objects.add_response("put_object", {}, {"Bucket": "birds", "Key": ANY, "Body": ANY})
        request = {
            "PipelineName": "label-studio-segmentation",
            "PipelineDefinition": ANY,
            "PipelineDescription": ANY,
            "RoleArn": ROLE,
        }
        if pipeline_exists:
            pipelines.add_response("update_pipeline", {"PipelineArn": ARN}, request)
        else:
            pipelines.add_client_error("update_pipeline", "ResourceNotFound", "Pipeline does not exist.")
            pipelines.add_response("create_pipeline", {"PipelineArn": ARN}, {**request, "ClientRequestToken": ANY})
        done = publish(TARGET, committed_definition(), s3=s3, sagemaker=sagemaker)
        objects.assert_no_pending_responses()
        pipelines.assert_no_pending_responses()
        return done


@pytest.mark.parametrize("exists", [False, True])
def test_a_pipeline_is_created_once_and_updated_after(exists: bool):
    assert published(exists).created is not exists


def test_the_script_lies_under_its_digest_so_that_a_run_keeps_the_one_it_began_with():
    uri = published(False).code_uri
    assert uri.startswith("s3://birds/label-studio/code/")
    assert uri.endswith("/")
    assert len(uri.split("/")[-2]) == 64


def test_filled_in_defaults_leave_only_what_is_the_runs():
    filled = fill_defaults(
        committed_definition(),
        {
            "RoleArn": ROLE,
            "TrainingImage": "i",
            "ProcessingImage": "i",
            "CodeS3Uri": "s3://b/c/",
            "ArtifactsS3Uri": "s3://b",
        },
    )
    assert [each["Name"] for each in filled["Parameters"] if "DefaultValue" not in each] == [
        "DatasetS3Uri",
        "ModelPackageGroupName",
    ]
    assert check_definition(json.loads(json.dumps(filled))) == []


def test_an_override_keeps_its_parameters_type():
    filled = fill_defaults(committed_definition(), {"MinimumMIoU": "0.7", "VolumeSizeInGB": "80"})
    values = {each["Name"]: each.get("DefaultValue") for each in filled["Parameters"]}
    assert (values["MinimumMIoU"], values["VolumeSizeInGB"]) == (0.7, 80)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param({"Epoch": "5"}, "no parameter Epoch", id="unknown"),
        pytest.param({"VolumeSizeInGB": "big"}, "wanted Integer", id="type"),
        pytest.param({"TrainingInstanceType": "ml.t2.nano"}, "wanted one of ml.g4dn.xlarge", id="choice"),
    ],
)
def test_a_wrong_override_is_refused_by_name(override: dict[str, str], message: str):
    with pytest.raises(PublishError, match=message):
        fill_defaults(committed_definition(), override)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param(
            {"choice": PipelineChoice(overrides={"Epochs": "many"})},
            "Epochs: wanted a whole number of 1 or more",
            id="value",
        ),
        pytest.param(chosen(overrides={"RoleArn": ROLE}), "no parameter RoleArn to set", id="the account's"),
        pytest.param(chosen(algorithm="segmenter"), "wants --image", id="image"),
        pytest.param({"region": "mx-central-1"}, "not offered in 'mx-central-1'", id="region"),
    ],
)
def test_what_a_person_wants_is_checked_before_anything_is_put_there(target: dict[str, Any], message: str):
    with pytest.raises(PublishError, match=message):
        artifacts(replace(TARGET, **target), committed_definition())


def test_on_spot_instances_a_note_says_what_that_means_and_else_there_is_none():
    assert artifacts(TARGET, committed_definition()).notes == ()
    assert "spot instances" in artifacts(replace(TARGET, **chosen(spot=True)), committed_definition()).notes[0]


def test_an_override_is_a_name_and_a_value():
    assert parse_override("Epochs=5") == ("Epochs", "5")
    with pytest.raises(PublishError, match="wanted Name=Value"):
        parse_override("Epochs")


@pytest.mark.parametrize("region", sorted(BUILT_IN_ACCOUNTS))
def test_every_region_of_the_algorithm_has_its_images(region: str):
    assert f".dkr.ecr.{region}." in built_in_image(region)
    assert f".dkr.ecr.{region}." in processing_image(region)


def test_a_region_without_the_algorithm_says_what_to_do():
    with pytest.raises(ValueError, match="--algorithm segmenter"):
        built_in_image("mx-central-1")


def test_the_same_pipeline_has_the_same_keys_and_another_one_another():
    first, again = artifacts(TARGET, committed_definition()), artifacts(TARGET, committed_definition())
    other = artifacts(replace(TARGET, **chosen(overrides={"Epochs": "6"})), committed_definition())

    assert first == again
    assert first.script_key == other.script_key
    assert first.definition_key != other.definition_key
    assert first.definition_key == f"label-studio/pipeline/{hashlib.sha256(first.definition.encode()).hexdigest()}.json"


def test_an_address_that_can_be_none_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "foo")
    assert main(["publish", "--bucket", "birds", "--role-arn", ROLE, "--region", "eu-west-1"]) == 1
    assert capsys.readouterr().err == "AWS: Invalid endpoint: foo (--region, AWS_ENDPOINT_URL_...)\n"
