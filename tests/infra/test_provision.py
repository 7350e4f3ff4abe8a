"""`provision` and `destroy` in an emulated account: what is made, kept, healed, refused and taken away."""

import json
from dataclasses import replace
from typing import Any

import pytest

from backend.aws import Aws
from backend.config import Settings
from backend.errors import BackendError
from tests.infra.account import ACCOUNT, REGION
from tests.infra.desk import CORE, PACKAGE, Desk, client

pytestmark = pytest.mark.usefixtures("account")


def test_the_core_has_bucket_role_secret_and_the_committed_pipeline():
    core, settings = Desk().make()

    assert settings.s3_bucket == core.outputs["BucketName"]
    assert settings.sagemaker_role_arn.startswith(f"arn:aws:iam::{ACCOUNT}:role/")
    assert settings.basic_auth is not None
    assert settings.basic_auth[0] == "label-studio"
    put = client("sagemaker").describe_pipeline(PipelineName="birds")
    defaults = {each["Name"]: each.get("DefaultValue") for each in json.loads(put["PipelineDefinition"])["Parameters"]}
    assert defaults["RoleArn"] == settings.sagemaker_role_arn == put["RoleArn"]
    assert str(defaults["CodeS3Uri"]).startswith(f"s3://{settings.s3_bucket}/label-studio/code/")
    assert Aws(settings).has_object(f"{str(defaults['CodeS3Uri']).partition(settings.s3_bucket)[2][1:]}preprocess.py")


def test_the_secret_gets_the_token_and_nothing_of_it_is_told():
    desk = Desk()
    core, settings = desk.make()

    secret = desk.provision.account.secret(core.outputs["SecretArn"])

    assert secret["LABEL_STUDIO_API_KEY"] == "the-token"
    assert "the-token" not in desk.told.getvalue()
    assert settings.basic_auth_pass not in desk.told.getvalue()


def test_a_second_run_changes_nothing():
    first, before = Desk().make()
    desk = Desk()

    second, after = desk.make()

    assert (second.id, second.outputs, after) == (first.id, first.outputs, before)
    assert "birds-core: found" in desk.told.getvalue()
    assert "written" not in desk.told.getvalue()


def test_what_a_person_chose_before_stays_where_it_is_not_chosen_again():
    desk = Desk()
    desk.provision.core({**CORE, "NotificationEmail": "ann@example.com"})

    core, _ = Desk().make()

    assert core.parameters["NotificationEmail"] == "ann@example.com"


def test_a_password_of_ones_own_goes_into_the_secret():
    Desk().make()
    desk = Desk(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="mine")

    core, settings = desk.make()

    assert settings.basic_auth == ("ann", "mine")
    assert desk.provision.account.secret(core.outputs["SecretArn"])["BASIC_AUTH_PASS"] == "mine"


def test_a_pipeline_that_was_deleted_by_hand_is_made_anew():
    Desk().make()
    client("sagemaker").delete_pipeline(PipelineName="birds")
    desk = Desk()

    desk.make()

    assert desk.provision.account.pipeline() is not None
    assert "was deleted by hand" in desk.told.getvalue()


def test_a_pipeline_that_was_changed_by_hand_is_put_back():
    Desk().make()
    client("sagemaker").update_pipeline(PipelineName="birds", PipelineDefinition='{"Steps": []}')
    desk = Desk()

    _, settings = desk.make()

    put = desk.provision.account.pipeline()
    assert put is not None
    assert put.definition == desk.provision.pipelines.parts(settings).definition


def test_the_trigger_is_made_of_the_package_under_its_digest_and_found_again():
    desk = Desk()
    core, settings = desk.make()

    url = desk.provision.trigger(core, settings, PACKAGE, {"AnnotationsPrefix": "annotations"})
    again = desk.provision.trigger(core, settings, PACKAGE, {"AnnotationsPrefix": "annotations"})

    assert url == again
    assert url.endswith("/webhook")
    assert "birds-trigger: found" in desk.told.getvalue()
    configuration = client("lambda").get_function(FunctionName="birds-trigger")["Configuration"]
    assert str(configuration["Environment"]["Variables"]["TRAINING_COOLDOWN_SECONDS"]) == "600"


def test_a_pipeline_of_the_name_that_no_stack_made_is_another_deployments():
    _, settings = Desk().make()
    desk = Desk(SAGEMAKER_PIPELINE="fish")
    desk.provision.pipelines.publish(replace(settings, sagemaker_pipeline="fish"))

    with pytest.raises(BackendError, match="pipeline fish is there already"):
        desk.provision.check()


def test_a_deployment_of_another_label_studio_is_left_alone_unless_it_moved():
    Desk().make()
    desk = Desk(LABEL_STUDIO_URL="http://elsewhere.example")

    with pytest.raises(BackendError, match=r"belongs to the Label Studio at http://studio.example:8080"):
        desk.provision.check()
    assert replace(desk.provision, adopt=True).check() is not None


def test_another_bucket_than_the_stacks_is_refused():
    core, _ = Desk().make()

    with pytest.raises(BackendError, match=f"has the bucket {core.outputs['BucketName']}, and"):
        Desk(S3_BUCKET="other-birds").provision.check()


def test_a_bucket_that_is_there_before_the_stack_is_refused():
    client("s3").create_bucket(Bucket="my-birds", CreateBucketConfiguration={"LocationConstraint": REGION})

    with pytest.raises(BackendError, match="the bucket my-birds is there already"):
        Desk(S3_BUCKET="my-birds").provision.check()


def test_a_name_with_capitals_is_refused():
    with pytest.raises(BackendError, match="wanted lower-case"):
        Desk(SAGEMAKER_PIPELINE="Birds").provision.check()


def test_a_deployment_goes_and_its_bucket_stays():
    desk = Desk()
    core, settings = desk.make()
    desk.provision.trigger(core, settings, PACKAGE, {})
    serve(settings)

    desk.destroy()

    assert Desk(S3_BUCKET="").teardown.find().nothing
    assert Aws(settings).has_bucket()
    assert desk.provision.account.pipeline() is None


def test_with_data_the_bucket_goes_too_with_all_versions():
    desk = Desk()
    _, settings = desk.make()
    for body in (b"1", b"2"):
        Aws(settings).put_object("images/a.jpg", body)

    desk.destroy(data=True)

    assert not Aws(settings).has_bucket()


def test_a_destroy_that_broke_off_goes_on():
    desk = Desk()
    core, settings = desk.make()
    desk.provision.trigger(core, settings, PACKAGE, {})
    serve(settings)
    desk.teardown.stacks(desk.teardown.find(), "trigger")
    desk.teardown.data(desk.teardown.find())

    desk.destroy(data=True)

    assert desk.teardown.find().nothing


def test_a_bucket_of_somebody_else_is_never_emptied():
    client("s3").create_bucket(Bucket="my-birds", CreateBucketConfiguration={"LocationConstraint": REGION})

    with pytest.raises(BackendError, match="not made by stack birds-core"):
        Desk(S3_BUCKET="my-birds").teardown.find()


def test_what_another_deployment_serves_is_left_alone():
    _, settings = Desk().make()
    serve(settings)
    serve(replace(settings, sagemaker_pipeline="birds-parts"))

    found = Desk().teardown.find()

    assert {name for _, name in found.served} == {"birds-p1", "birds-p1-v2"}


def serve(settings: Settings) -> None:
    """An endpoint with its configuration and model, as the backend makes them."""
    sagemaker, name = client("sagemaker"), settings.project_name(1)
    sagemaker.create_model(
        ModelName=f"{name}-v2", ExecutionRoleArn=settings.sagemaker_role_arn, PrimaryContainer={"Image": "image"}
    )
    variant: Any = {
        "VariantName": "v2",
        "ModelName": f"{name}-v2",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-v2", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v2")
