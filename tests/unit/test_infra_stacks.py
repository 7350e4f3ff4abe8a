"""Every template can be created, updated and deleted, in an emulated account."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from pipeline.rendering import committed_definition
from tests.infra import account, templates
from tests.infra.account import resources
from tests.infra.deployed import CODE, DEFINITION, IMAGE, fill_bucket, from_core


@pytest.fixture
def core() -> Iterator[dict[str, str]]:
    """The outputs of a stack made of core.yaml, whose bucket has a definition and code in it."""
    with account.emulated_account():
        outputs = account.create("birds-core", "core", Name="birds")
        fill_bucket(outputs["BucketName"])
        yield outputs


def secret(outputs: dict[str, str]) -> dict[str, str]:
    value = boto3.client("secretsmanager").get_secret_value(SecretId=outputs["SecretArn"])["SecretString"]
    found: dict[str, str] = json.loads(value)
    return found


def test_core_comes_without_a_pipeline_at_first_and_gets_it_by_an_update(core: dict[str, str]):
    sagemaker = boto3.client("sagemaker")
    assert sagemaker.list_pipelines()["PipelineSummaries"] == []

    account.update("birds-core", "core", Name="birds", PipelineDefinitionKey=DEFINITION)

    described = sagemaker.describe_pipeline(PipelineName="birds")
    assert described["PipelineArn"] == core["PipelineArn"]
    assert described["RoleArn"] == core["SageMakerRoleArn"]
    assert json.loads(described["PipelineDefinition"]) == committed_definition()


def test_every_output_is_there(core: dict[str, str]):
    outputs = {"core": core}
    outputs["trigger"] = account.create("birds-trigger", "trigger", CodeKey=CODE, **from_core(core))
    outputs["container"] = account.create(
        "birds-container", "container", ImageUri=f"{IMAGE}:1", LabelStudioUrl="https://l.example", **from_core(core)
    )

    for name in templates.NAMES:
        assert outputs[name].keys() == templates.load(name)["Outputs"].keys()
        assert all(outputs[name].values())
    assert outputs["trigger"]["WebhookUrl"].endswith(".execute-api.eu-central-1.amazonaws.com/v1/webhook")
    assert outputs["container"]["Url"].startswith("https://bi-")


def test_core_with_everything_that_can_be_asked_for(core: dict[str, str]):
    outputs = account.create(
        "all-core",
        "core",
        Name="all",
        BucketName="all-the-birds",
        S3Prefix="team/label-studio",
        ImagesPrefix="photos",
        AnnotationsPrefix="labels",
        ImageRepositoryArn="arn:aws:ecr:eu-central-1:123456789012:repository/segmenter",
        NotificationEmail="a@example.com",
        WatchedProject="3",
        MonthlyBudgetUsd="200",
        LabelStudioOrigin="https://label.example.com",
    )

    assert outputs["BucketName"] == "all-the-birds"
    topics = boto3.client("sns").list_subscriptions_by_topic(TopicArn=outputs["TopicArn"])["Subscriptions"]
    assert [each["Endpoint"] for each in topics] == ["a@example.com"]
    budget = boto3.client("budgets").describe_budgets(AccountId=account.ACCOUNT)["Budgets"][0]
    assert budget["BudgetLimit"] == {"Amount": "200", "Unit": "USD"}
    alarms: list[Any] = boto3.client("cloudwatch").describe_alarms(AlarmNamePrefix="all-")["MetricAlarms"]
    queries = [metric["Expression"] for alarm in alarms for metric in alarm.get("Metrics", [])]
    assert len(queries) == 2
    assert all(query.endswith(" WHERE EndpointName = 'all-p3'") for query in queries)
    assert {"The endpoint all-p3" in each["AlarmDescription"] for each in alarms if each.get("Metrics")} == {True}


def test_an_alarm_that_watches_everybodys_endpoints_says_so(core: dict[str, str]):
    alarms: list[Any] = boto3.client("cloudwatch").describe_alarms(AlarmNamePrefix="birds-")["MetricAlarms"]
    told = [each["AlarmDescription"] for each in alarms if each.get("Metrics")]
    assert len(told) == 2
    assert {each.startswith("Endpoints of account 123456789012 in eu-central-1 ") for each in told} == {True}


def test_the_dashboard_shows_this_deployments_trainings(core: dict[str, str]):
    body = json.loads(boto3.client("cloudwatch").get_dashboard(DashboardName="birds-eu-central-1")["DashboardBody"])
    shown = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    assert ["AWS/Sagemaker/ModelBuildingPipeline", "ExecutionStarted", "PipelineName", "birds"] in shown
    assert all(widget["properties"]["region"] == account.REGION for widget in body["widgets"])


def test_the_same_again_is_no_update_and_changes_nothing(core: dict[str, str]):
    wanted = {"Name": "birds", "PipelineDefinitionKey": DEFINITION}
    account.update("birds-core", "core", **wanted)
    before, password = resources("birds-core"), secret(core)

    with pytest.raises(ClientError, match="No updates are to be performed"):
        account.update("birds-core", "core", **wanted)

    assert (resources("birds-core"), secret(core)) == (before, password)


def test_a_new_definition_changes_the_pipeline_and_keeps_the_password(core: dict[str, str]):
    account.update("birds-core", "core", Name="birds", PipelineDefinitionKey=DEFINITION)
    password = secret(core)
    changed = {**committed_definition(), "Metadata": {"changed": "yes"}}
    other = DEFINITION.replace("0a1b", "2c3d")
    boto3.client("s3").put_object(Bucket=core["BucketName"], Key=other, Body=json.dumps(changed))

    account.update("birds-core", "core", Name="birds", PipelineDefinitionKey=other)

    described = boto3.client("sagemaker").describe_pipeline(PipelineName="birds")
    assert json.loads(described["PipelineDefinition"]) == changed
    assert secret(core) == password


def test_the_secret_has_a_long_password_and_room_for_the_token(core: dict[str, str]):
    found = secret(core)
    assert found["LABEL_STUDIO_API_KEY"] == ""
    assert found["BASIC_AUTH_USER"] == "label-studio"
    assert len(found["BASIC_AUTH_PASS"]) >= 32


def test_bucket_and_images_outlive_the_stack(core: dict[str, str]):
    s3 = boto3.client("s3")
    s3.put_object(Bucket=core["BucketName"], Key="images/a.jpg", Body=b"jpeg")

    boto3.client("cloudformation").delete_stack(StackName="birds-core")

    assert s3.get_object(Bucket=core["BucketName"], Key="images/a.jpg")["Body"].read() == b"jpeg"
    assert boto3.client("secretsmanager").list_secrets()["SecretList"] == []


def test_what_serves_comes_and_goes_without_touching_the_data(core: dict[str, str]):
    before = resources("birds-core")
    account.create("birds-trigger", "trigger", CodeKey=CODE, **from_core(core))
    assert boto3.client("lambda").get_function(FunctionName="birds-trigger")

    boto3.client("cloudformation").delete_stack(StackName="birds-trigger")

    assert boto3.client("lambda").list_functions()["Functions"] == []
    assert resources("birds-core") == before


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("Name", "Birds"),  # SageMaker writes the name in lower case into ARNs, which policies compare with case
        ("Name", "b" * 41),
        ("Name", "birds-"),
        ("BucketName", "s3://birds"),
        ("S3Prefix", "label-studio/"),
        ("S3Prefix", "*"),
        ("ImagesPrefix", "/images"),
        ("LabelStudioOrigin", "https://label.example.com/"),
        ("PipelineDefinitionKey", "pipeline/*"),
        ("ImageRepositoryArn", "123456789012.dkr.ecr.eu-central-1.amazonaws.com/segmenter"),
        ("NotificationEmail", "somebody"),
        ("WatchedProject", "p3"),
        ("MonthlyBudgetUsd", "-1"),
    ],
)
def test_a_value_that_would_go_wrong_later_is_refused_at_once(parameter: str, value: str):
    with account.emulated_account(), pytest.raises(ClientError, match="failed to satisfy constraint"):
        account.create("birds-core", "core", **{"Name": "birds", parameter: value})


@pytest.mark.parametrize("image", [f"{IMAGE}:1.0", f"{IMAGE}@sha256:{'a' * 64}"])
def test_the_container_may_pull_its_own_image_only(core: dict[str, str], image: str):
    account.create(
        "birds-container", "container", ImageUri=image, LabelStudioUrl="https://l.example", **from_core(core)
    )
    iam = boto3.client("iam")
    role = resources("birds-container")["ExecutionRole"]
    document: Any = iam.get_role_policy(RoleName=role, PolicyName="start")["PolicyDocument"]
    pull = next(each for each in document["Statement"] if each["Sid"] == "PullImage")
    assert pull["Resource"] == f"arn:aws:ecr:eu-central-1:{account.ACCOUNT}:repository/team/backend"


def attached(role: str) -> list[str]:
    """The managed policies of a role."""
    policies = boto3.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return [each["PolicyArn"] for each in policies]


def test_the_function_deploys_nothing_unless_it_is_told_to_and_then_has_the_rights_and_the_events(core: dict[str, str]):
    account.create("birds-trigger", "trigger", CodeKey=CODE, **from_core(core))
    plain = resources("birds-trigger")
    assert attached(plain["FunctionRole"]) == [plain["TrainingPolicy"]]
    assert variables()["DEPLOY_ENDPOINTS"] == "false"

    boto3.client("cloudformation").delete_stack(StackName="birds-trigger")
    account.create("birds-trigger", "trigger", CodeKey=CODE, DeployEndpoints="true", **from_core(core))

    deploying = resources("birds-trigger")
    assert variables()["DEPLOY_ENDPOINTS"] == "true"
    assert deploying.keys() - plain.keys() == {"ModelPackageRule", "ModelPackagePermission"}
    assert plain.keys() - deploying.keys() == {"TrainingPolicy"}


def variables() -> dict[str, str]:
    """The environment of the function."""
    described: Any = boto3.client("lambda").get_function(FunctionName="birds-trigger")
    found: dict[str, str] = described["Configuration"]["Environment"]["Variables"]
    return found


def test_whatever_serves_has_the_one_policy_of_the_backend(core: dict[str, str]):
    account.create("birds-trigger", "trigger", CodeKey=CODE, DeployEndpoints="true", **from_core(core))
    account.create(
        "birds-container", "container", ImageUri=f"{IMAGE}:1", LabelStudioUrl="https://l.example", **from_core(core)
    )
    for stack, role in (("birds-trigger", "FunctionRole"), ("birds-container", "TaskRole")):
        assert attached(resources(stack)[role]) == [core["BackendPolicyArn"]]
