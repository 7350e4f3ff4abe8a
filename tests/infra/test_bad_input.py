"""What people get wrong in an account, and what others do there: a sentence with the cure, and running again heals."""

import json
from dataclasses import replace
from typing import Any

import pytest

from backend.aws import Aws
from backend.cli import main
from backend.cli_pipeline import CommittedPipeline
from backend.config import Settings
from backend.doctor_aws import AwsDoctor
from backend.errors import AwsError, BackendError
from backend.findings import Finding, State
from backend.inspection import Inspection
from backend.stacks import Stacks
from tests.infra.account import QUOTAS, REGION
from tests.infra.added_types import client_of
from tests.infra.denying import denying
from tests.infra.desk import COMMITTED, CORE, ENV, PACKAGE, Desk, client
from tests.infra.half_made import failing

pytestmark = pytest.mark.usefixtures("account")
SOMEBODY = {"TemplateBody": '{"Resources": {"Theirs": {"Type": "AWS::SNS::Topic"}}}'}


def refusal(desk: Desk) -> str:
    """The one line that `provision` ends with."""
    with pytest.raises(BackendError) as caught:
        desk.make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def examined(settings: Settings, check: str) -> list[Finding]:
    """What the doctor finds in the account under this name."""
    desk = Desk()
    doctor = AwsDoctor(
        settings=settings,
        account=desk.account,
        details=Inspection(desk.clients),
        stacks=Stacks(desk.clients.cloudformation),
        pipelines=CommittedPipeline(COMMITTED, Aws(settings)),
    )
    return [each for each in doctor.findings() if each.name == check]


# -- the region ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("eu-west1", "AWS_REGION: wanted a region of AWS such as eu-west-1, got 'eu-west1'"),
        ("mx-central-1", "is not offered in 'mx-central-1'"),
        ("Frankfurt am Main", "AWS_REGION"),
    ],
)
def test_a_region_without_the_algorithm_or_that_is_none_is_refused_before_anything_is_made(
    region: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in {**ENV, "AWS_REGION": region}.items():
        monkeypatch.setenv(name, value)

    assert main(["provision", "--yes"]) in {1, 2}

    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_a_bucket_in_another_region_is_told_with_the_region_to_set():
    _, settings = Desk().make()
    far = {"LocationConstraint": "us-east-2"}
    client_of("s3", "us-east-2").create_bucket(Bucket="far-away", CreateBucketConfiguration=far)

    (found,) = examined(replace(settings, s3_bucket="far-away"), "bucket")

    assert (found.state, found.text) == (
        State.WRONG,
        f"far-away is in us-east-2, and SageMaker works in {REGION}: set AWS_REGION=us-east-2",
    )


# -- the bucket's name -----------------------------------------------------------------------------------------------


def test_a_bucket_of_somebody_else_is_refused_before_anything_is_made():
    with denying("HeadBucket", "", ""):
        told = refusal(Desk(S3_BUCKET="birds"))
    assert told == "somebody else has the bucket birds: choose another S3_BUCKET"
    assert client("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.parametrize(
    "reason",
    [
        "birds already exists",
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system.",
    ],
)
def test_a_bucket_that_somebody_takes_meanwhile_is_told_and_another_name_does(reason: str):
    with failing("AWS::S3::Bucket", reason):
        told = refusal(Desk(S3_BUCKET="birds"))
    assert "Bucket (AWS::S3::Bucket)" in told
    assert "S3_BUCKET" in told.partition(reason)[2]

    assert Desk(S3_BUCKET="other-birds").make()[1].s3_bucket == "other-birds"


# -- quotas ----------------------------------------------------------------------------------------------------------


def test_the_doctor_tells_of_a_quota_that_is_zero_before_a_training_fails():
    _, settings = Desk().make()

    found = {each.text.partition(":")[0]: each.state for each in examined(settings, "quota")}

    assert found == {
        "ml.m5.large for endpoint usage": State.OK,
        "ml.g4dn.xlarge for training job usage is 0, so it would fail": State.WRONG,
        "ml.m5.xlarge for processing job usage": State.OK,
    }


def test_spare_instances_have_a_quota_of_their_own(monkeypatch: pytest.MonkeyPatch):
    _, settings = Desk().make()
    monkeypatch.setitem(QUOTAS, "ml.g4dn.xlarge for training job usage", 1.0)
    put: Any = client("sagemaker").describe_pipeline(PipelineName="birds")
    definition = json.loads(put["PipelineDefinition"])
    next(each for each in definition["Steps"] if each["Type"] == "Training")["Arguments"][
        "EnableManagedSpotTraining"
    ] = True
    client("sagemaker").update_pipeline(PipelineName="birds", PipelineDefinition=json.dumps(definition))

    wrong = [each.text for each in examined(settings, "quota") if each.state is State.WRONG]

    assert [each.partition(" is 0")[0] for each in wrong] == ["ml.g4dn.xlarge for spot training job usage"]


# -- the secret ------------------------------------------------------------------------------------------------------


def put_secret(desk: Desk, value: str) -> str:
    """Somebody changes the secret by hand."""
    arn = desk.make()[0].outputs["SecretArn"]
    client("secretsmanager").put_secret_value(SecretId=arn, SecretString=value)
    return arn


def test_a_password_that_was_changed_in_the_secret_is_taken_over():
    put_secret(Desk(), json.dumps({"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "new"}))
    assert Desk().make()[1].basic_auth == ("ann", "new")


@pytest.mark.parametrize("value", ["a password and no more", "{}", '["a"]', '{"BASIC_AUTH_USER": "ann"}'])
def test_a_secret_that_has_no_password_any_more_gets_a_new_one(value: str):
    desk = Desk()
    arn = put_secret(desk, value)

    _, settings = Desk().make()

    assert settings.basic_auth is not None
    assert len(settings.basic_auth[1]) >= 32
    assert desk.account.secret(arn) == {
        "BASIC_AUTH_USER": settings.basic_auth_user,
        "BASIC_AUTH_PASS": settings.basic_auth_pass,
        "LABEL_STUDIO_API_KEY": "the-token",
    }


def test_a_new_token_goes_into_the_secret_and_it_is_said_who_must_know():
    Desk().make()
    desk = Desk(LABEL_STUDIO_API_KEY="another-token")

    core, _ = desk.make()

    assert desk.account.secret(core.outputs["SecretArn"])["LABEL_STUDIO_API_KEY"] == "another-token"
    assert "a backend that runs is to be started again" in desk.told.getvalue()
    assert "another-token" not in desk.told.getvalue()


# -- two deployments of one name -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["core", "trigger"])
def test_a_stack_of_the_name_that_somebody_else_made_is_neither_changed_nor_deleted(layer: str):
    client("cloudformation").create_stack(StackName=f"birds-{layer}", **SOMEBODY)

    told = refusal(Desk())

    assert told.startswith(f"stack birds-{layer} is somebody else's, not of this backend")
    assert "choose another SAGEMAKER_PIPELINE" in told
    with pytest.raises(BackendError, match="it is left alone"):
        Desk().destroy()
    assert client("cloudformation").describe_stacks()["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


def test_a_half_made_stack_of_somebody_else_is_not_deleted():
    with failing("AWS::SNS::Topic", "no"):
        client("cloudformation").create_stack(StackName="birds-core", **SOMEBODY)
    assert "is somebody else's" in refusal(Desk())


@pytest.mark.parametrize("half_made", [False, True])
def test_a_deployment_of_another_label_studio_is_refused_and_not_deleted(half_made: bool):
    theirs = Desk(LABEL_STUDIO_URL="http://elsewhere.example")
    if half_made:
        with failing("AWS::IAM::ManagedPolicy", "no"), pytest.raises(AwsError):
            theirs.make()
    else:
        theirs.make()

    assert refusal(Desk()).startswith(
        "stack birds-core belongs to the Label Studio at http://elsewhere.example, not to"
    )
    with pytest.raises(BackendError, match="if that one is to go, set LABEL_STUDIO_URL to its address"):
        Desk().destroy()


def test_a_deployment_that_was_adopted_belongs_to_its_new_label_studio():
    moved = "http://moved.example"
    core, settings = Desk().make()
    Desk().provision.trigger(core, settings, PACKAGE, {})

    adopting = Desk(adopt=True, LABEL_STUDIO_URL=moved)
    adopting.provision.trigger(*adopting.make(), PACKAGE, {})

    assert Desk(LABEL_STUDIO_URL=moved).make()[0].outputs == core.outputs
    assert "belongs to the Label Studio at http://moved.example" in refusal(Desk())


def test_a_stack_that_a_person_made_of_the_template_is_taken_for_ours():
    desk = Desk()
    desk.provision.core(CORE)
    template = client("cloudformation").get_template(StackName="birds-core")["TemplateBody"]
    desk.destroy(data=True)
    name = [{"ParameterKey": "Name", "ParameterValue": "birds"}]
    body = template if isinstance(template, str) else json.dumps(template)
    client("cloudformation").create_stack(StackName="birds-core", TemplateBody=body, Parameters=name)

    assert Desk().make()[0].done
