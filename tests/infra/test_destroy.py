"""What `destroy` meets in an account where other people and services do things too."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import Stubber
from moto.sagemaker.models import sagemaker_backends

from backend.aws import Aws
from backend.cli import main
from backend.config import Settings
from backend.errors import AwsError, BackendError
from tests.infra.account import ACCOUNT, REGION
from tests.infra.desk import ENV, PACKAGE, Desk, client
from tests.infra.refusals import endpoint_of

pytestmark = pytest.mark.usefixtures("account")


# ---- policies that others have ---------------------------------------------------------------------------------------


def attach(desk: Desk) -> None:
    """What the docs tell people to do with the policies that `provision` prints."""
    core, _ = desk.make()
    iam = client("iam")
    iam.create_role(RoleName="my-backend", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="my-backend", PolicyArn=core.outputs["BackendPolicyArn"])
    iam.create_user(UserName="label-studio")
    iam.attach_user_policy(UserName="label-studio", PolicyArn=core.outputs["LabelStudioStoragePolicyArn"])
    iam.create_group(GroupName="labelers")
    iam.attach_group_policy(GroupName="labelers", PolicyArn=core.outputs["LabelStudioStoragePolicyArn"])


def test_policies_that_people_attached_are_taken_off_and_the_stack_goes():
    desk = Desk()
    attach(desk)

    desk.destroy()

    assert desk.teardown.find().nothing
    iam = client("iam")
    assert iam.list_attached_role_policies(RoleName="my-backend")["AttachedPolicies"] == []
    assert iam.list_attached_user_policies(UserName="label-studio")["AttachedPolicies"] == []
    assert iam.list_attached_group_policies(GroupName="labelers")["AttachedPolicies"] == []
    assert "role my-backend: " in desk.told.getvalue()


def test_who_loses_a_policy_is_told_before_but_not_of_roles_that_go_themselves():
    desk = Desk()
    attach(desk)
    core, settings = desk.make()
    desk.provision.trigger(core, settings, PACKAGE, {})
    found = desk.teardown.find()

    lines = [line.split()[3:5] for line in desk.teardown.plan(found, data=False) if "policy taken off" in line]

    assert lines == [["role", "my-backend:"], ["user", "label-studio:"], ["group", "labelers:"]]


def test_a_stack_that_could_not_go_for_its_policies_says_that_destroy_takes_them_off():
    desk = Desk()
    attach(desk)
    with pytest.raises(AwsError, match=r"attached to entities.*: `destroy` takes them off"):
        desk.teardown.rollout.remove("birds-core")

    Desk().destroy()

    assert desk.teardown.find().nothing


# ---- models in the registry ------------------------------------------------------------------------------------------


def register(settings: Settings, project: int = 1) -> None:
    """What a pipeline does at its end."""
    group = Aws(settings).ensure_package_group(project)
    client("sagemaker").create_model_package(ModelPackageGroupName=group, ModelApprovalStatus="Approved")


def groups() -> list[str]:
    found: Any = client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    return sorted(each["ModelPackageGroupName"] for each in found)


def test_models_stay_and_a_new_deployment_of_the_name_does_not_go_on_with_them_unless_told():
    desk = Desk()
    _, settings = desk.make()
    register(settings)
    desk.destroy()

    with pytest.raises(BackendError, match=r"models of a former deployment birds \(birds-p1\)"):
        Desk().make()
    assert client("cloudformation").describe_stacks()["Stacks"] == []
    assert Desk(adopt=True).make()[0].done


def test_a_group_without_models_is_in_nobodys_way():
    desk = Desk()
    _, settings = desk.make()
    Aws(settings).ensure_package_group(1)
    desk.destroy()

    assert Desk().make()[0].done


def test_with_data_models_go_too_and_those_of_other_deployments_stay():
    desk = Desk()
    _, settings = desk.make()
    for _ in range(2):
        register(settings)
    register(replace(settings, sagemaker_pipeline="birds-parts"))
    found = desk.teardown.find()
    assert found.packages == {"birds-p1": 2}
    assert any("birds-p1 in the model registry, 2 of them" in line for line in desk.teardown.plan(found, data=True))

    desk.destroy(data=True)

    assert groups() == ["birds-parts-p1"]
    assert Desk().make()[0].done


def test_models_that_stayed_are_told_of_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("S3_BUCKET", raising=False)
    assert main(["destroy", "--yes"]) == 0
    assert capsys.readouterr().out == f"There is nothing of birds in region {REGION}.\n"
    register(Desk().settings)

    assert main(["destroy", "--yes"]) == 0

    said = capsys.readouterr().out
    assert said.startswith(f"There is nothing of birds in region {REGION}, beside its models.\n")
    assert "Left: the models birds-p1. `SAGEMAKER_PIPELINE=birds python -m backend destroy --data` deletes" in said


def test_models_of_a_deployment_that_is_gone_can_still_be_deleted():
    desk = Desk()
    _, settings = desk.make()
    register(settings)
    desk.destroy()
    assert desk.teardown.find().nothing

    desk.destroy(data=True)

    assert groups() == []


# ---- what is its own in Label Studio ---------------------------------------------------------------------------------


def test_its_webhooks_are_known_by_the_password_in_the_secret_and_the_functions_address():
    desk = Desk(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="mine")
    core, settings = desk.make()
    url = desk.provision.trigger(core, settings, PACKAGE, {})

    marks = Desk().teardown.marks(desk.teardown.find())

    assert list(marks.passwords) == [("ann", "mine")]
    assert url in marks.addresses


def test_without_the_secret_they_are_known_by_the_address_alone():
    desk = Desk()
    core, settings = desk.make()
    url = desk.provision.trigger(core, settings, PACKAGE, {})
    client("secretsmanager").delete_secret(SecretId=core.outputs["SecretArn"])

    marks = desk.teardown.marks(desk.teardown.find())

    assert list(marks.passwords) == []
    assert url in marks.addresses


# ---- trainings and endpoints -----------------------------------------------------------------------------------------


def train(settings: Settings) -> Any:
    """A training that runs; moto's own have all ended."""
    arn = Aws(settings).start_execution(project=1, annotations=16, attempt=0, token="t" * 64, parameters={})
    execution = sagemaker_backends[ACCOUNT][REGION].pipelines["birds"].pipeline_executions[arn]
    execution.pipeline_execution_status = "Executing"
    return execution


def test_a_training_that_begins_after_the_question_is_stopped_too():
    desk = Desk()
    _, settings = desk.make()
    found = desk.teardown.find()
    execution = train(settings)

    desk.teardown.all(found, data=False)

    assert execution.pipeline_execution_status == "Stopped"
    assert desk.teardown.find().nothing


@pytest.mark.parametrize("status", ["Succeeded", "Stopping"])
def test_a_training_that_ends_before_it_is_stopped_is_no_error(status: str):
    desk = Desk()
    _, settings = desk.make()
    execution = train(settings)
    execution.pipeline_execution_status = status

    desk.account.stop_execution(execution.arn)

    assert execution.pipeline_execution_status == status


def test_a_training_that_goes_on_although_it_is_to_stop_is_an_error():
    desk = Desk()
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/birds/execution/abcdefghijkl"
    with Stubber(desk.clients.sagemaker) as stub:
        stub.add_client_error("stop_pipeline_execution", "ValidationException", "no")
        stub.add_response("describe_pipeline_execution", {"PipelineExecutionStatus": "Executing"})
        with pytest.raises(AwsError, match="StopPipelineExecution failed"):
            desk.account.stop_execution(arn)


def serve(settings: Settings) -> None:
    sagemaker, name = client("sagemaker"), settings.project_name(1)
    variant: Any = {"VariantName": "v1", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=settings.sagemaker_role_arn, PrimaryContainer={"Image": "i"})
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-v1", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v1")


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_that_is_being_made_or_changed_goes_when_that_is_done(status: str):
    desk = Desk()
    _, settings = desk.make()
    serve(settings)
    endpoint = endpoint_of(ACCOUNT, REGION, "birds-p1")
    endpoint.endpoint_status = status
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        endpoint.endpoint_status = "InService"

    assert desk.account.delete_served("endpoint", "birds-p1") is False
    slept = replace(desk.teardown.console, sleep=sleep)
    replace(desk.teardown, console=slept).all(desk.teardown.find(), data=False)

    assert waits
    assert desk.teardown.find().nothing
