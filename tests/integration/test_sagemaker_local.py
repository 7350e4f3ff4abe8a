"""Pipelines, executions, jobs and model packages of sagemaker_local, over HTTP with boto3, on real S3."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.integration.definitions import (
    IMAGE,
    PREPARE,
    ROLE,
    channel,
    condition,
    definition,
    fail,
    get,
    join,
    processing,
    register,
    training,
)
from tests.integration.services import AwsClient, Json, LocalSageMaker, wait_for

END = ("Succeeded", "Failed", "Stopped")


@dataclass
class Run:
    """Shortcuts for one client."""

    client: AwsClient
    base: str

    def start(self, *steps: Json, parameters: Json = None, **values: str) -> str:
        """Create a pipeline of these steps and start it; the execution's ARN."""
        name = f"p-{uuid.uuid4().hex[:8]}"
        text = json.dumps(definition(*steps, parameters=parameters))
        self.client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)
        given = [{"Name": key, "Value": value} for key, value in {"Base": self.base, **values}.items()]
        started = self.client.start_pipeline_execution(PipelineName=name, PipelineParameters=given)
        return str(started["PipelineExecutionArn"])

    def status(self, arn: str) -> str:
        return str(self.client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"])

    def end(self, arn: str, timeout_s: float = 60) -> str:
        """Wait for the end; the status."""
        return str(wait_for(lambda: (status := self.status(arn)) in END and status, timeout_s=timeout_s))

    def steps(self, arn: str) -> Json:
        listed = self.client.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return {step["StepName"]: step for step in listed}

    def job(self, arn: str, step: str = "Train") -> Json:
        job_arn = self.steps(arn)[step]["Metadata"]["TrainingJob"]["Arn"]
        return self.client.describe_training_job(TrainingJobName=job_arn.rsplit("/", 1)[1])


@pytest.fixture
def run(local_sagemaker: LocalSageMaker, bucket: str, s3: AwsClient) -> Run:
    """A client, and a bucket with code, two images and their manifest."""
    s3.put_object(Bucket=bucket, Key="data/code/prepare.py", Body=PREPARE.encode())
    for key in ("birds/a b.jpg", "birds/ü.jpg", "birds/unused.jpg"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 10)
    manifest = [{"prefix": f"s3://{bucket}/"}, "birds/a b.jpg", "birds/ü.jpg"]
    s3.put_object(Bucket=bucket, Key="data/images.manifest", Body=json.dumps(manifest).encode())
    return Run(client=local_sagemaker.client(), base=f"s3://{bucket}/data")


def _get_log(url: str, name: str) -> str:
    request = urllib.request.Request(f"{url}/logs/{name}", headers={"Authorization": "AWS4-HMAC-SHA256 any"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return str(response.read().decode())


def gate(value: str) -> Json:
    """A Condition on the training's mIOU: register, or fail with both numbers."""
    miou = get("Steps.Train.FinalMetricDataList['validation:mIOU'].Value")
    compare = {"Type": "GreaterThanOrEqualTo", "LeftValue": miou, "RightValue": get("Parameters.Floor")}
    message = join("mIOU ", miou, " is below ", get("Parameters.Floor"))
    metadata = {"training_job": get("Steps.Train.TrainingJobName"), "execution": get("Execution.PipelineExecutionId")}
    registered = register(group=value, ModelApprovalStatus="Approved", CustomerMetadataProperties=metadata)
    return condition("Check", [compare], then=[registered], otherwise=[fail("TooLow", message)])


FLOOR = [{"Name": "Floor", "Type": "Float", "DefaultValue": 0.5}]


def test_a_whole_pipeline_prepares_trains_checks_and_registers(
    run: Run, s3: AwsClient, sagemaker_local_url: str
) -> None:
    classes = {"Std:JsonGet": {"PropertyFile": get("Steps.Preprocess.PropertyFiles.Dataset"), "Path": "num_classes"}}
    uri = get("Steps.Preprocess.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri")
    train = training(
        hyper={"num_classes": join(classes), "mIOU": "0.8"}, Arguments={"InputDataConfig": [channel("train", uri)]}
    )

    arn = run.start(gate("whole"), train, processing(), parameters=FLOOR)

    assert run.end(arn) == "Succeeded"
    assert set(run.steps(arn)) == {"Preprocess", "Train", "Check", "Register"}
    assert run.steps(arn)["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    job = run.job(arn)
    assert job["HyperParameters"] == {"num_classes": "5", "mIOU": "0.8"}
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    assert [(m["MetricName"], round(m["Value"], 6)) for m in job["FinalMetricDataList"]] == [("validation:mIOU", 0.8)]
    package = run.client.describe_model_package(
        ModelPackageName=run.steps(arn)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["ModelPackageVersion"] == 1
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"] == {
        "training_job": job["TrainingJobName"],
        "execution": arn.rsplit("/", 1)[1],
    }
    assert (
        package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == job["ModelArtifacts"]["S3ModelArtifacts"]
    )
    bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    assert key == f"data/models/{arn.rsplit('/', 1)[1]}/{job['TrainingJobName']}/output/model.tar.gz"
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
    assert "validation:mIOU=0.8" in _get_log(sagemaker_local_url, job["TrainingJobName"])


def test_a_manifest_brings_exactly_its_images_each_at_its_key(run: Run, s3: AwsClient) -> None:
    arn = run.start(processing())

    assert run.end(arn) == "Succeeded"
    bucket = run.base.split("/")[2]
    listed = s3.get_object(Bucket=bucket, Key=f"data/scratch/{arn.rsplit('/', 1)[1]}/train/list.txt")["Body"].read()
    assert listed.decode() == "birds/a b.jpg\nbirds/ü.jpg"


def test_the_other_branch_of_a_condition_fails_with_the_message(run: Run) -> None:
    arn = run.start(training(hyper={"mIOU": "0.3"}), gate("low"), parameters=FLOOR, Floor="0.4")

    assert run.end(arn) == "Failed"
    steps = run.steps(arn)
    assert set(steps) == {"Train", "Check", "TooLow"}
    assert steps["Check"]["Metadata"]["Condition"]["Outcome"] == "False"
    assert steps["TooLow"]["FailureReason"] == "mIOU 0.3 is below 0.4"
    reason = run.client.describe_pipeline_execution(PipelineExecutionArn=arn)["FailureReason"]
    assert reason == "Step failure: One or multiple steps failed."


def test_an_s3_prefix_is_folder_exact(run: Run, s3: AwsClient, sagemaker_local_url: str) -> None:
    bucket = run.base.split("/")[2]
    for key in ("t/train/1.txt", "t/train/sub/2.txt", "t/train_annotation/3.txt"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    train = training(Arguments={"InputDataConfig": [channel("train", f"s3://{bucket}/t/train")]})

    arn = run.start(train)

    assert run.end(arn) == "Succeeded"
    location = run.job(arn)["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    archive = s3.get_object(Bucket=location[0], Key=location[2])["Body"].read()
    assert json.loads(_only_file(archive))["inputs"] == ["input/data/train/1.txt", "input/data/train/sub/2.txt"]


def _only_file(archive: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        (member,) = tar.getmembers()
        content = tar.extractfile(member)
        assert content is not None
        return content.read()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        pytest.param("nothing/here/", "No S3 objects found under S3 URL", id="empty prefix"),
        pytest.param(None, "not-a-bucket", id="bucket missing"),
    ],
)
def test_an_input_without_objects_fails_the_job_and_says_which(run: Run, uri: str | None, reason: str) -> None:
    where = f"{run.base}/{uri}" if uri else "s3://not-a-bucket/x/"

    arn = run.start(training(Arguments={"InputDataConfig": [channel("train", where)]}))

    assert run.end(arn) == "Failed"
    assert run.steps(arn)["Train"]["FailureReason"].startswith("ClientError: Data download failed:")
    assert reason in run.steps(arn)["Train"]["FailureReason"]
    assert run.job(arn)["FailureReason"] == run.steps(arn)["Train"]["FailureReason"]


def test_a_failed_program_gives_its_own_words_as_the_reason(run: Run) -> None:
    arn = run.start(training(hyper={"fail": "x" * 2000}))

    assert run.end(arn) == "Failed"
    reason = run.job(arn)["FailureReason"]
    assert reason.startswith("AlgorithmError: xxx")
    assert reason.endswith(", exit code: 1")
    assert len(reason) == 1024


def test_an_image_without_a_local_program_is_refused_by_name(run: Run) -> None:
    specification = {"TrainingImage": "acct/xgboost:1", "TrainingInputMode": "File"}

    arn = run.start(training(Arguments={"AlgorithmSpecification": specification}))

    assert run.end(arn) == "Failed"
    assert "'acct/xgboost:1'" in run.job(arn)["FailureReason"]


def test_a_job_over_its_time_limit_is_ended(run: Run) -> None:
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}

    arn = run.start(training(hyper={"sleep": "60", "ignore_term": "1"}, Arguments=limit))

    assert run.end(arn, timeout_s=15) == "Failed"
    assert run.job(arn)["TrainingJobStatus"] == "Stopped"
    assert run.job(arn)["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert "MaxRuntimeInSeconds" in run.steps(arn)["Train"]["FailureReason"]


def test_spot_training_runs_as_any_other_and_its_impossible_times_are_refused(run: Run) -> None:
    spot = {"EnableManagedSpotTraining": True, "CheckpointConfig": {"S3Uri": "s3://birds/scratch/checkpoints/"}}
    times = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}

    taken = run.start(training(Arguments={**spot, "StoppingCondition": times}))
    refused = run.start(training(Arguments={"StoppingCondition": times}))

    assert run.end(taken) == "Succeeded"
    assert run.end(refused) == "Failed"
    assert "EnableManagedSpotTraining is not set" in run.steps(refused)["Train"]["FailureReason"]


def test_a_retry_policy_repeats_a_job_that_the_system_killed(run: Run, tmp_path: Path) -> None:
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 2}

    arn = run.start(training(hyper={"die_once": str(tmp_path / "died")}, RetryPolicies=[policy]))

    assert run.end(arn) == "Succeeded"
    assert run.steps(arn)["Train"]["AttemptCount"] == 1


def test_without_a_retry_policy_a_killed_job_fails(run: Run, tmp_path: Path) -> None:
    arn = run.start(training(hyper={"die_once": str(tmp_path / "died")}))

    assert run.end(arn) == "Failed"
    assert run.job(arn)["FailureReason"].startswith("InternalServerError")


def test_stopping_ends_the_job_and_starts_nothing_more(run: Run) -> None:
    after = training("After", DependsOn=["Train"])
    arn = run.start(training(hyper={"sleep": "60"}), after)
    wait_for(lambda: run.steps(arn) and run.job(arn)["SecondaryStatus"] == "Training")

    run.client.stop_pipeline_execution(PipelineExecutionArn=arn)

    assert run.end(arn, timeout_s=10) == "Stopped"
    assert run.job(arn)["TrainingJobStatus"] == "Stopped"
    assert {name: step["StepStatus"] for name, step in run.steps(arn).items()} == {"Train": "Stopped"}
    with pytest.raises(ClientError, match="can be stopped"):
        run.client.stop_pipeline_execution(PipelineExecutionArn=arn)


def test_independent_steps_run_side_by_side(run: Run) -> None:
    arn = run.start(*(training(f"T{number}", hyper={"sleep": "1.5"}) for number in range(3)))

    assert run.end(arn) == "Succeeded"
    steps = run.steps(arn).values()
    assert max(step["StartTime"] for step in steps) < min(step["EndTime"] for step in steps)


def test_retrying_an_execution_repeats_only_what_had_not_succeeded(run: Run, s3: AwsClient) -> None:
    bucket = run.base.split("/")[2]
    second = training(
        "Second", DependsOn=["Train"], Arguments={"InputDataConfig": [channel("a", f"s3://{bucket}/late/")]}
    )
    arn = run.start(training(), second)
    assert run.end(arn) == "Failed"
    first_job = run.job(arn)["TrainingJobName"]
    s3.put_object(Bucket=bucket, Key="late/1", Body=b"1")

    run.client.retry_pipeline_execution(PipelineExecutionArn=arn)

    assert run.end(arn) == "Succeeded"
    assert run.job(arn)["TrainingJobName"] == first_job
    assert run.job(arn, "Second")["TrainingJobStatus"] == "Completed"


def test_a_pipeline_can_deploy_what_it_trained_and_update_it(run: Run, local_sagemaker: LocalSageMaker) -> None:
    endpoint = f"e-{uuid.uuid4().hex[:8]}"
    container = {"Image": IMAGE, "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
    model = {
        "Name": "MakeModel",
        "Type": "Model",
        "Arguments": {"PrimaryContainer": container, "ExecutionRoleArn": ROLE},
    }
    one = {"VariantName": "A", "ModelName": get("Steps.MakeModel.ModelName"), "InitialInstanceCount": 1}
    variants = {"ProductionVariants": [{**one, "InstanceType": "ml.m5.large"}]}
    config = {"Name": "Config", "Type": "EndpointConfig", "Arguments": variants}
    names = {"EndpointName": endpoint, "EndpointConfigName": get("Steps.Config.EndpointConfigName")}
    deploy = {"Name": "Deploy", "Type": "Endpoint", "Arguments": names}

    for name in ("first", "second"):
        arn = run.start(training(hyper={"name": name}), model, config, deploy)

        assert run.end(arn) == "Succeeded", run.steps(arn)
        answer = local_sagemaker.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body=b"x")
        assert json.loads(answer["Body"].read())["model"] == name
    assert run.steps(arn)["Deploy"]["Metadata"]["Endpoint"]["Arn"].endswith(endpoint)
    run.client.delete_endpoint(EndpointName=endpoint)


def test_a_definition_may_lie_in_s3(run: Run, s3: AwsClient) -> None:
    bucket = run.base.split("/")[2]
    s3.put_object(Bucket=bucket, Key="definition.json", Body=json.dumps(definition(fail("No", "no"))).encode())
    name = f"p-{uuid.uuid4().hex[:8]}"

    run.client.create_pipeline(
        PipelineName=name, RoleArn=ROLE, PipelineDefinitionS3Location={"Bucket": bucket, "ObjectKey": "definition.json"}
    )

    described = run.client.describe_pipeline(PipelineName=name)
    assert json.loads(described["PipelineDefinition"])["Steps"][0]["Name"] == "No"


def test_parallelism_can_be_limited(run: Run) -> None:
    text = json.dumps(definition(*(training(f"T{number}", hyper={"sleep": "0.3"}) for number in range(3))))
    name = f"p-{uuid.uuid4().hex[:8]}"
    run.client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)

    arn = run.client.start_pipeline_execution(
        PipelineName=name,
        PipelineParameters=[{"Name": "Base", "Value": run.base}],
        ParallelismConfiguration={"MaxParallelExecutionSteps": 1},
    )["PipelineExecutionArn"]

    assert run.end(arn) == "Succeeded"
    steps = sorted(run.steps(arn).values(), key=lambda step: step["StartTime"])
    assert all(one["EndTime"] <= other["StartTime"] for one, other in itertools.pairwise(steps))


def test_the_same_token_is_the_same_execution_also_from_many_threads(run: Run) -> None:
    arn = run.start(training())
    name, token = arn.split("/")[1], uuid.uuid4().hex
    parameters = [{"Name": "Base", "Value": run.base}]

    def start(_: int) -> str:
        started = run.client.start_pipeline_execution(
            PipelineName=name, ClientRequestToken=token, PipelineParameters=parameters
        )
        return str(started["PipelineExecutionArn"])

    with ThreadPoolExecutor(16) as pool:
        arns = set(pool.map(start, range(40)))

    assert len(arns) == 1
    assert run.end(arns.pop()) == "Succeeded"
    assert len(run.client.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]) == 2


def test_executions_are_listed_newest_first_and_in_pages(run: Run) -> None:
    first = run.start(fail("No", "no"))
    name = first.split("/")[1]
    parameters = [{"Name": "Base", "Value": run.base}]
    arns = [first]
    for number in range(4):
        started = run.client.start_pipeline_execution(
            PipelineName=name.upper(), PipelineParameters=parameters, PipelineExecutionDisplayName=f"p1-n16-{number}"
        )
        arns.append(started["PipelineExecutionArn"])
    for arn in arns:
        run.end(arn)

    pages = list(run.client.get_paginator("list_pipeline_executions").paginate(PipelineName=name, MaxResults=2))
    listed = [item["PipelineExecutionArn"] for page in pages for item in page["PipelineExecutionSummaries"]]
    oldest = run.client.list_pipeline_executions(PipelineName=name, SortOrder="Ascending", MaxResults=1)
    newest = run.client.list_pipeline_executions(PipelineName=name, MaxResults=1)["PipelineExecutionSummaries"][0]

    assert len(pages) == 3
    assert listed == arns[::-1]
    assert oldest["PipelineExecutionSummaries"][0]["PipelineExecutionArn"] == first
    assert newest["PipelineExecutionDisplayName"] == "p1-n16-3"
    assert newest["PipelineExecutionStatus"] == "Failed"
    hour_ago = newest["StartTime"] - timedelta(hours=1)
    before = run.client.list_pipeline_executions(PipelineName=name, CreatedBefore=hour_ago)
    after = run.client.list_pipeline_executions(PipelineName=name, CreatedAfter=hour_ago)
    assert (len(before["PipelineExecutionSummaries"]), len(after["PipelineExecutionSummaries"])) == (0, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"Base": "b", "Nope": "1"}, "Nope", id="unknown"),
        pytest.param({}, "Base", id="missing"),
        pytest.param({"Base": "b", "Epochs": "many"}, "Epochs", id="wrong type"),
        pytest.param({"Base": "b", "Kind": "ml.p4"}, "ml.p4", id="not in EnumValues"),
    ],
)
def test_wrong_parameters_are_refused_by_name(run: Run, given: dict[str, str], message: str) -> None:
    parameters = [
        {"Name": "Epochs", "Type": "Integer", "DefaultValue": 3},
        {"Name": "Kind", "Type": "String", "DefaultValue": "ml.m5", "EnumValues": ["ml.m5"]},
    ]
    name = f"p-{uuid.uuid4().hex[:8]}"
    text = json.dumps(definition(fail("No", "no"), parameters=parameters))
    run.client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)

    with pytest.raises(ClientError, match=message) as caught:
        run.client.start_pipeline_execution(
            PipelineName=name, PipelineParameters=[{"Name": key, "Value": value} for key, value in given.items()]
        )

    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert run.client.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []


def test_an_execution_keeps_its_definition_and_parameters(run: Run) -> None:
    arn = run.start(fail("No", "no"), parameters=FLOOR)
    name = arn.split("/")[1]
    changed = json.dumps(definition(fail("Other", "other")))

    run.client.update_pipeline(PipelineName=name, PipelineDefinition=changed)

    kept = run.client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert [step["Name"] for step in json.loads(kept["PipelineDefinition"])["Steps"]] == ["No"]
    listed = run.client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert listed == [{"Name": "Base", "Value": run.base}, {"Name": "Floor", "Value": "0.5"}]
    assert run.client.describe_pipeline(PipelineName=name)["PipelineDefinition"] == changed
    run.end(arn)


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        pytest.param(
            ("describe_pipeline", {"PipelineName": "no"}), "ResourceNotFound", "does not exist", id="pipeline"
        ),
        pytest.param(
            (
                "describe_pipeline_execution",
                {"PipelineExecutionArn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/a/execution/b"},
            ),
            "ResourceNotFound",
            "does not exist",
            id="execution",
        ),
        pytest.param(
            ("describe_endpoint", {"EndpointName": "no"}),
            "ValidationException",
            "Could not find endpoint",
            id="endpoint",
        ),
        pytest.param(
            ("describe_model", {"ModelName": "no"}), "ValidationException", "Could not find model", id="model"
        ),
        pytest.param(
            ("describe_training_job", {"TrainingJobName": "no"}), "ValidationException", "not found", id="job"
        ),
        pytest.param(
            (
                "describe_model_package",
                {"ModelPackageName": "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/1"},
            ),
            "ValidationException",
            "does not exist",
            id="package",
        ),
        pytest.param(
            ("list_transform_jobs", {}), "UnknownOperationException", "ListTransformJobs", id="not known here"
        ),
        pytest.param(
            ("describe_endpoint", {"EndpointName": "a b"}), "ValidationException", "regular expression", id="bad name"
        ),
    ],
)
def test_errors_are_sagemakers_own(local_sagemaker: LocalSageMaker, call: Json, code: str, message: str) -> None:
    with pytest.raises(ClientError, match=message) as caught:
        getattr(local_sagemaker.client(), call[0])(**call[1])

    assert caught.value.response["Error"]["Code"] == code


def test_an_invalid_definition_is_refused_when_the_pipeline_is_made(run: Run) -> None:
    integer = [{"Name": "Epochs", "Type": "Integer", "DefaultValue": 3}]
    text = json.dumps(definition(training(hyper={"epochs": get("Parameters.Epochs")}), parameters=integer))

    with pytest.raises(
        ClientError, match=r"Cannot assign property reference \[Parameters.Epochs\] to argument of type"
    ):
        run.client.create_pipeline(PipelineName="bad", PipelineDefinition=text, RoleArn=ROLE)


def test_pipelines_have_unique_names_and_can_be_deleted(run: Run) -> None:
    arn = run.start(fail("No", "no"))
    name = arn.split("/")[1]
    run.end(arn)
    text = json.dumps(definition(fail("No", "no")))

    with pytest.raises(ClientError, match="Pipeline names must be unique within"):
        run.client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)
    run.client.delete_pipeline(PipelineName=name)

    with pytest.raises(ClientError, match="does not exist"):
        run.client.list_pipeline_executions(PipelineName=name)
    assert name not in [item["PipelineName"] for item in run.client.list_pipelines()["PipelineSummaries"]]


def test_model_packages_are_numbered_approved_and_never_renumbered(local_sagemaker: LocalSageMaker) -> None:
    client, group = local_sagemaker.client(), f"Group-{uuid.uuid4().hex[:6]}"
    client.create_model_package_group(ModelPackageGroupName=group, Tags=[{"Key": "project", "Value": "1"}])
    specification = {
        "Containers": [{"Image": "fake:1", "ModelDataUrl": "s3://b/m.tar.gz"}],
        "SupportedContentTypes": ["image/jpeg"],
        "SupportedResponseMIMETypes": ["image/png"],
    }
    arns = [
        client.create_model_package(
            ModelPackageGroupName=group,
            InferenceSpecification=specification,
            ModelApprovalStatus="PendingManualApproval",
            CustomerMetadataProperties={"dataset": str(number)},
        )["ModelPackageArn"]
        for number in range(3)
    ]
    client.update_model_package(
        ModelPackageArn=arns[0], ModelApprovalStatus="Approved", CustomerMetadataProperties={"by": "me"}
    )
    client.delete_model_package(ModelPackageName=arns[2])
    again = client.create_model_package(ModelPackageGroupName=group, InferenceSpecification=specification)

    approved = client.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    described = client.describe_model_package(ModelPackageName=arns[0])
    versions = [
        p["ModelPackageVersion"]
        for p in client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    ]

    assert [item["ModelPackageArn"] for item in approved["ModelPackageSummaryList"]] == [arns[0]]
    assert described["CustomerMetadataProperties"] == {"dataset": "0", "by": "me"}
    assert again["ModelPackageArn"].endswith(f"/{group.lower()}/4")
    assert versions == [4, 2, 1]
    with pytest.raises(ClientError, match="Model Package Group already exists"):
        client.create_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="still contains Model Packages"):
        client.delete_model_package_group(ModelPackageGroupName=group)
    group_arn = client.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]
    client.add_tags(ResourceArn=group_arn, Tags=[{"Key": "more", "Value": "2"}])
    tags = client.list_tags(ResourceArn=group_arn)["Tags"]
    assert tags == [{"Key": "more", "Value": "2"}, {"Key": "project", "Value": "1"}]


def test_the_aws_command_line_lists_the_steps_of_an_execution(
    run: Run, aws_env: dict[str, str], sagemaker_local_url: str
) -> None:
    arn = run.start(training())
    run.end(arn)
    aws = [sys.executable, str(Path(sys.executable).with_name("aws")), "--endpoint-url", sagemaker_local_url]
    command = [*aws, "sagemaker", "list-pipeline-execution-steps", "--pipeline-execution-arn", arn]

    listed = subprocess.run(command, env=aws_env, capture_output=True, text=True, timeout=60, check=True)
    caller = subprocess.run(
        [*aws, "sts", "get-caller-identity"], env=aws_env, capture_output=True, text=True, check=True
    )

    (step,) = json.loads(listed.stdout)["PipelineExecutionSteps"]
    assert (step["StepName"], step["StepStatus"]) == ("Train", "Succeeded")
    assert json.loads(caller.stdout)["Account"] == "123456789012"


@pytest.mark.parametrize("path", ["/", "/logs/x", "/endpoints/x/invocations"])
def test_requests_without_an_aws_signature_are_refused(sagemaker_local_url: str, path: str) -> None:
    request = urllib.request.Request(
        sagemaker_local_url + path, data=b"{}", headers={"X-Amz-Target": "SageMaker.ListPipelines"}
    )

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)

    with caught.value as answer:
        assert answer.code == 403
        assert json.loads(answer.read())["__type"] == "MissingAuthenticationToken"


def test_livez_is_open(sagemaker_local_url: str) -> None:
    with urllib.request.urlopen(f"{sagemaker_local_url}/livez", timeout=5) as answer:
        assert answer.status == 200


def test_finished_jobs_leave_a_log_and_no_data(run: Run, local_sagemaker: LocalSageMaker) -> None:
    arn = run.start(training())
    run.end(arn)
    name = run.job(arn)["TrainingJobName"]

    assert (local_sagemaker.data / "logs" / f"{name}.log").stat().st_size > 0
    time.sleep(0.1)
    assert not (local_sagemaker.data / "jobs" / name).exists()
