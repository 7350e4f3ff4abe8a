"""The adapter to AWS: requests and answers are checked with botocore's own service model."""

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from backend.aws import Answer, Aws, Endpoint, Execution, Failure, ModelPackage, Registered, Step, split_s3_uri
from backend.errors import AwsAccessError, AwsAwayError, AwsError, ImageError
from tests import fakes

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
NOW = datetime.now(UTC)
PACKAGE = ModelPackage(f"{ARN}:model-package/label-studio-segmentation-p3/2", 2, "s3://birds/d/", "job")
EXISTS = "Cannot create already existing model"
NAME = "label-studio-segmentation-p3"


class Stubs:
    """An adapter whose clients answer what was put in."""

    def __init__(self, folder: Path) -> None:
        options: dict[str, str] = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        clients: dict[str, Any] = {
            name: boto3.client(name, **options)  # type: ignore[call-overload]
            for name in ("s3", "sagemaker", "sagemaker-runtime")
        }
        self.aws = Aws(
            fakes.settings(folder),
            s3=clients["s3"],
            sagemaker=clients["sagemaker"],
            runtime=clients["sagemaker-runtime"],
        )
        self.s3, self.sagemaker, self.runtime = (Stubber(client) for client in clients.values())
        for each in (self.s3, self.sagemaker, self.runtime):
            each.activate()


@pytest.fixture
def stubs(tmp_path: Path) -> Iterator[Stubs]:
    made = Stubs(tmp_path)
    yield made
    for each in (made.s3, made.sagemaker, made.runtime):
        each.assert_no_pending_responses()


def body(text: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(text), len(text))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", AwsAccessError),
        ("AccessDeniedException", AwsAccessError),
        ("403", AwsAccessError),
        ("ExpiredTokenException", AwsAccessError),
        ("UnrecognizedClientException", AwsAccessError),
        ("ThrottlingException", AwsError),
        ("InternalFailure", AwsError),
    ],
)
def test_an_error_of_aws_is_told_with_operation_code_and_message(stubs: Stubs, code: str, kind: type[AwsError]):
    stubs.sagemaker.add_client_error("describe_pipeline", code, "not you")

    with pytest.raises(AwsError) as caught:
        stubs.aws.pipeline_arn()

    assert type(caught.value) is kind
    for part in ("DescribePipeline", code, "not you"):
        assert part in str(caught.value)


def test_when_aws_cannot_be_reached_it_says_so(tmp_path: Path):
    class Unreachable:
        def head_bucket(self, **_: object) -> None:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    client: Any = Unreachable()
    aws = Aws(fakes.settings(tmp_path), s3=client, sagemaker=client, runtime=client)

    with pytest.raises(AwsError, match=r"AWS cannot be reached: .*127\.0\.0\.1"):
        aws.check_bucket()


def test_an_object_is_read(stubs: Stubs):
    stubs.s3.add_response(
        "get_object", {"Body": body(b"photo"), "ContentLength": 5}, {"Bucket": "b", "Key": "é #1.jpg"}
    )

    assert stubs.aws.get_object("b", "é #1.jpg") == b"photo"


def test_an_object_that_is_too_large_is_not_read(stubs: Stubs):
    stubs.s3.add_response("get_object", {"Body": body(b"photo"), "ContentLength": 2**30})

    with pytest.raises(ImageError, match="larger than 1 MB"):
        stubs.aws.get_object("b", "k", limit=2**20)


def test_an_object_is_written_to_the_bucket(stubs: Stubs):
    stubs.s3.add_response("put_object", {}, {"Bucket": "birds", "Key": "k", "Body": ANY, "ChecksumAlgorithm": ANY})

    stubs.aws.put_object("k", b"body")


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "NotFound"])
def test_an_object_that_is_not_there_is_absent(stubs: Stubs, code: str):
    stubs.s3.add_client_error("head_object", code)
    stubs.s3.add_response("head_object", {}, {"Bucket": "birds", "Key": "k"})

    assert not stubs.aws.has_object("k")
    assert stubs.aws.has_object("k")


def test_an_object_that_may_not_be_seen_is_not_absent(stubs: Stubs):
    stubs.s3.add_client_error("head_object", "403", "Forbidden")

    with pytest.raises(AwsAccessError, match="allow s3:GetObject on the object"):
        stubs.aws.has_object("k")


@pytest.mark.parametrize(
    ("text", "problem"), [(b"{", "not readable JSON"), (b"\xff", "JSON"), (b"[]", "not a JSON object")]
)
def test_json_that_cannot_be_used_names_its_address(stubs: Stubs, text: bytes, problem: str):
    stubs.s3.add_response("get_object", {"Body": body(text)})

    with pytest.raises(AwsError, match=f"s3://birds/dataset.json is .*{problem}"):
        stubs.aws.get_json("s3://birds/dataset.json")


def summary(project: int, count: int, status: str = "Succeeded", *, hours: float = 1) -> dict[str, Any]:
    return {
        "PipelineExecutionArn": f"{ARN}:pipeline/label-studio-segmentation/execution/{project}{count}",
        "PipelineExecutionDisplayName": f"p{project}-n{count}-0",
        "PipelineExecutionStatus": status,
        "StartTime": NOW - timedelta(hours=hours),
    }


def pages(stubs: Stubs, *pages: list[dict[str, Any]]) -> None:
    """Answer with *pages*, whose requests have to follow one another."""
    request = {"PipelineName": "label-studio-segmentation", "SortBy": "CreationTime", "SortOrder": "Descending"}
    for number, page in enumerate(pages):
        answer: dict[str, Any] = {"PipelineExecutionSummaries": page}
        if number < len(pages) - 1:
            answer["NextToken"] = f"page{number + 1}"
        token = {"NextToken": f"page{number}"} if number else {}
        stubs.sagemaker.add_response("list_pipeline_executions", answer, {**request, "MaxResults": 100, **token})


def test_a_projects_executions_are_found_among_all_the_others(stubs: Stubs):
    by_hand = {**summary(3, 16), "PipelineExecutionDisplayName": "trial"}
    pages(
        stubs,
        [summary(3, 32, "Executing"), summary(4, 16), summary(33, 16)],
        [by_hand, summary(3, 16)],
    )

    executions = stubs.aws.executions(3)

    assert [(each.annotations, each.status, each.attempt) for each in executions] == [
        (32, "Executing", 0),
        (16, "Succeeded", 0),
    ]


def test_it_is_not_looked_further_back_than_an_old_success(stubs: Stubs):
    pages(stubs, [summary(3, 48, "Failed", hours=30), summary(3, 32, hours=31)], [summary(3, 16, hours=50)])
    try:
        assert [each.annotations for each in stubs.aws.executions(3)] == [48, 32]
    finally:
        with pytest.raises(AssertionError):
            stubs.sagemaker.assert_no_pending_responses()  # the second page was not asked for
        stubs.sagemaker._queue.clear()  # type: ignore[attr-defined]


def test_an_execution_that_failed_says_why(stubs: Stubs):
    pages(stubs, [{**summary(3, 16, "Failed"), "PipelineExecutionFailureReason": "Step failure"}])

    assert [each.reason for each in stubs.aws.executions(3)] == ["Step failure"]


def test_the_steps_of_an_execution_are_told_in_order_with_the_training_job(stubs: Stubs):
    failed = {"StepName": "Preprocess", "StepStatus": "Failed", "StartTime": NOW, "EndTime": NOW, "FailureReason": "no"}
    training = {"TrainingJob": {"Arn": f"{ARN}:training-job/pipelines-abc-Train-xyz"}}
    running = {"StepName": "Train", "StepStatus": "Executing", "StartTime": NOW, "Metadata": training}
    stubs.sagemaker.add_response(
        "list_pipeline_execution_steps",
        {"PipelineExecutionSteps": [failed, running]},
        {"PipelineExecutionArn": f"{ARN}:x", "SortOrder": "Ascending", "MaxResults": 100},
    )

    assert stubs.aws.steps(Execution(f"{ARN}:x", "Executing", 16, 0, NOW)) == (
        Step("Preprocess", "Failed", NOW, NOW, "no"),
        Step("Train", "Executing", NOW, job="pipelines-abc-Train-xyz"),
    )


def test_an_execution_is_started_with_its_token_and_parameters(stubs: Stubs):
    arn = f"{ARN}:pipeline/label-studio-segmentation/execution/abc"
    stubs.sagemaker.add_response(
        "start_pipeline_execution",
        {"PipelineExecutionArn": arn},
        {
            "PipelineName": "label-studio-segmentation",
            "PipelineExecutionDisplayName": "p3-n16-1",
            "PipelineParameters": [{"Name": "DatasetS3Uri", "Value": "s3://birds/d/"}],
            "ClientRequestToken": "t" * 64,
        },
    )
    parameters = {"DatasetS3Uri": "s3://birds/d/"}

    assert stubs.aws.start_execution(project=3, annotations=16, attempt=1, token="t" * 64, parameters=parameters) == arn


@pytest.mark.parametrize(
    ("metadata", "refused"),
    [
        pytest.param({"TrainingJob": {"Arn": "a" * 30}}, False, id="a job failed"),
        pytest.param({"Fail": {"ErrorMessage": "below the floor"}}, True, id="a Fail step ended it"),
    ],
)
def test_a_failure_tells_when_and_whether_the_model_was_refused(
    stubs: Stubs, metadata: dict[str, object], refused: bool
):
    steps = [{"StepName": "Train", "StepStatus": "Failed", "Metadata": metadata}]
    stubs.sagemaker.add_response("describe_pipeline_execution", {"LastModifiedTime": NOW})
    stubs.sagemaker.add_response("list_pipeline_execution_steps", {"PipelineExecutionSteps": steps})

    assert stubs.aws.execution_failure(Execution(f"{ARN}:x", "Failed", 16, 0, NOW)) == Failure(NOW, refused=refused)


QUOTA = (
    "ResourceLimitExceeded: The account-level service limit 'ml.g4dn.xlarge for training job usage' is 0 Instances, "
    "with current utilization of 0 Instances and a request delta of 1 Instances."
)
CAPACITY = "CapacityError: Unable to provision requested ML compute capacity."


@pytest.mark.parametrize(
    ("name", "metadata", "reason", "told"),
    [
        ("Train", {"TrainingJob": {"Arn": "a" * 30}}, CAPACITY, "--set TrainingInstanceType=ml.g5.xlarge"),
        ("Train", {}, QUOTA, "of us-east-1 is 0: ask for more in Service Quotas"),
        ("Preprocess", {"ProcessingJob": {"Arn": "a" * 30}}, CAPACITY, "--set ProcessingInstanceType=ml.m5.xlarge"),
    ],
)
def test_a_step_that_aws_had_no_room_for_says_what_to_do(
    stubs: Stubs, name: str, metadata: dict[str, object], reason: str, told: str
):
    step = {"StepName": name, "StepStatus": "Failed", "Metadata": metadata, "FailureReason": reason}
    execution = Execution(f"{ARN}:x", "Failed", 16, 0, NOW)
    stubs.sagemaker.add_response("list_pipeline_execution_steps", {"PipelineExecutionSteps": [step]})
    stubs.sagemaker.add_response("describe_pipeline_execution", {"LastModifiedTime": NOW})
    stubs.sagemaker.add_response("list_pipeline_execution_steps", {"PipelineExecutionSteps": [step]})

    (shown,), failure = stubs.aws.steps(execution), stubs.aws.execution_failure(execution)

    assert told in shown.reason
    assert shown.reason == f"{failure.shortage} (AWS: {reason})"


def test_an_endpoint_that_aws_had_no_room_for_says_what_to_do(stubs: Stubs):
    stubs.sagemaker.add_response("describe_endpoint", described("Failed", f"{NAME}-v2", FailureReason=CAPACITY))

    endpoint = stubs.aws.endpoint(3)

    assert endpoint is not None
    assert "SAGEMAKER_INSTANCE_TYPE" in endpoint.shortage
    assert endpoint.failure == f"{endpoint.shortage} (AWS: {CAPACITY})"


def test_a_call_that_a_quota_forbids_says_which_one_to_raise(stubs: Stubs):
    stubs.sagemaker.add_client_error("describe_endpoint", "ResourceLimitExceeded", QUOTA.partition(": ")[2])

    with pytest.raises(AwsError, match=r"the quota 'ml.g4dn.xlarge for training job usage' .* ask for more"):
        stubs.aws.endpoint(3)


def test_a_package_group_that_is_there_is_used(stubs: Stubs):
    stubs.sagemaker.add_client_error(
        "create_model_package_group", "ValidationException", "Model Package Group already exists"
    )
    stubs.sagemaker.add_response("create_model_package_group", {"ModelPackageGroupArn": f"{ARN}:group"})

    assert stubs.aws.ensure_package_group(3) == NAME
    assert stubs.aws.ensure_package_group(3) == NAME


def test_the_newest_approved_package_is_described(stubs: Stubs):
    request = {
        "ModelPackageGroupName": NAME,
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        "MaxResults": 1,
    }
    listed = {"ModelPackageArn": PACKAGE.arn, "CreationTime": NOW, "ModelPackageStatus": "Completed"}
    stubs.sagemaker.add_response("list_model_packages", {"ModelPackageSummaryList": [listed]}, request)
    described = {
        "ModelPackageName": "x",
        "ModelPackageArn": PACKAGE.arn,
        "ModelPackageVersion": 2,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "CustomerMetadataProperties": {"dataset": "s3://birds/d/", "training_job": "job", "execution": "e"},
    }
    stubs.sagemaker.add_response("describe_model_package", described, {"ModelPackageName": PACKAGE.arn})

    assert stubs.aws.newest_approved(3) == PACKAGE


def test_the_newest_packages_are_listed_whatever_their_approval(stubs: Stubs):
    listed = [
        {
            "ModelPackageArn": f"{ARN}:model-package/{NAME}/{version}",
            "ModelPackageVersion": version,
            "ModelApprovalStatus": approval,
            "ModelPackageStatus": "Completed",
            "CreationTime": NOW,
        }
        for version, approval in ((2, "PendingManualApproval"), (1, "Approved"))
    ]
    request = {"ModelPackageGroupName": NAME, "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 2}
    stubs.sagemaker.add_response("list_model_packages", {"ModelPackageSummaryList": listed}, request)
    stubs.sagemaker.add_client_error("list_model_packages", "ValidationException", "the group does not exist")

    assert stubs.aws.newest_packages(3, 2) == [
        Registered(f"{ARN}:model-package/{NAME}/2", 2, "PendingManualApproval"),
        Registered(f"{ARN}:model-package/{NAME}/1", 1, "Approved"),
    ]
    assert stubs.aws.newest_packages(3, 2) == []


@pytest.mark.parametrize(
    ("containers", "where"),
    [
        pytest.param(
            [{"Image": "i", "ModelDataUrl": "s3://birds/m/model.tar.gz"}], "s3://birds/m/model.tar.gz", id="it"
        ),
        pytest.param([{"Image": "i"}], "", id="an image alone"),
    ],
)
def test_a_package_tells_where_its_model_lies(stubs: Stubs, containers: list[dict[str, str]], where: str):
    described = {
        "ModelPackageName": "x",
        "ModelPackageArn": PACKAGE.arn,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "InferenceSpecification": {"Containers": containers},
    }
    stubs.sagemaker.add_response("describe_model_package", described, {"ModelPackageName": PACKAGE.arn})

    assert stubs.aws.model_data(PACKAGE.arn) == where


def test_without_a_group_or_an_approved_package_there_is_none(stubs: Stubs):
    stubs.sagemaker.add_client_error(
        "list_model_packages", "ValidationException", f"ModelPackageGroup {NAME} does not exist"
    )
    stubs.sagemaker.add_response("list_model_packages", {"ModelPackageSummaryList": []})

    assert stubs.aws.newest_approved(3) is None
    assert stubs.aws.newest_approved(3) is None


def test_the_reason_of_a_rejection_is_cut_to_what_the_registry_keeps(stubs: Stubs):
    request = {"ModelPackageArn": PACKAGE.arn, "ModelApprovalStatus": "Rejected", "ApprovalDescription": "x" * 1024}
    stubs.sagemaker.add_response("update_model_package", {"ModelPackageArn": PACKAGE.arn}, request)

    stubs.aws.reject_package(PACKAGE.arn, "x" * 5000)


@pytest.mark.parametrize(
    ("metrics", "miou"),
    [
        ([{"MetricName": "validation:mIOU", "Value": 0.5}, {"MetricName": "train:loss", "Value": 2.0}], 0.5),
        ([], None),
    ],
)
def test_a_models_quality_is_that_of_its_training_job(stubs: Stubs, metrics: list[dict[str, Any]], miou: float | None):
    answer = {
        "TrainingJobName": "job",
        "TrainingJobArn": f"{ARN}:training-job/job",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://birds/model.tar.gz"},
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 1},
        "StoppingCondition": {},
        "CreationTime": NOW,
        "FinalMetricDataList": metrics,
    }
    stubs.sagemaker.add_response("describe_training_job", answer, {"TrainingJobName": "job"})

    assert stubs.aws.validation_miou(PACKAGE) == miou
    assert stubs.aws.validation_miou(ModelPackage("arn", 1, "", "")) is None


def described(status: str, config: str, **changes: str) -> dict[str, Any]:
    return {
        "EndpointName": NAME,
        "EndpointArn": f"{ARN}:endpoint/x",
        "EndpointStatus": status,
        "EndpointConfigName": config,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        **changes,
    }


@pytest.mark.parametrize(
    ("answer", "endpoint"),
    [
        (described("InService", f"{NAME}-v12"), Endpoint("InService", 12)),
        (described("Updating", f"{NAME}-v1"), Endpoint("Updating", 1)),
        (described("InService", "made-by-hand"), Endpoint("InService", None)),
        (described("Failed", f"{NAME}-v2", FailureReason="no space"), Endpoint("Failed", 2, "no space")),
    ],
)
def test_an_endpoint_tells_which_version_it_serves(stubs: Stubs, answer: dict[str, Any], endpoint: Endpoint):
    stubs.sagemaker.add_response("describe_endpoint", answer, {"EndpointName": NAME})

    assert stubs.aws.endpoint(3) == endpoint


def test_an_endpoint_that_is_not_there_is_none_and_one_that_cannot_be_asked_for_is_an_error(stubs: Stubs):
    stubs.sagemaker.add_client_error("describe_endpoint", "ValidationException", 'Could not find endpoint "x".')
    stubs.sagemaker.add_client_error("describe_endpoint", "ValidationException", "1 validation error detected")

    assert stubs.aws.endpoint(3) is None
    with pytest.raises(AwsError, match="1 validation error"):
        stubs.aws.endpoint(3)


def deployment(stubs: Stubs, *, existing: bool, last: str) -> None:
    name = f"{NAME}-v2"
    variant = {
        "VariantName": "v2",
        "ModelName": name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    model = {
        "ModelName": name,
        "ExecutionRoleArn": "arn:aws:iam::123456789012:role/training",
        "Containers": [{"ModelPackageName": PACKAGE.arn}],
    }
    if existing:
        stubs.sagemaker.add_client_error("create_model", "ValidationException", EXISTS, expected_params=model)
        stubs.sagemaker.add_client_error("create_endpoint_config", "ValidationException", EXISTS)
    else:
        config = {"EndpointConfigName": name, "ProductionVariants": [variant]}
        stubs.sagemaker.add_response("create_model", {"ModelArn": f"{ARN}:model/{name}"}, model)
        stubs.sagemaker.add_response(
            "create_endpoint_config", {"EndpointConfigArn": f"{ARN}:endpoint-config/x"}, config
        )
    endpoint = {"EndpointName": NAME, "EndpointConfigName": name}
    stubs.sagemaker.add_response(last, {"EndpointArn": f"{ARN}:endpoint/x"}, endpoint)


@pytest.mark.parametrize("existing", [False, True], ids=["the first time", "after a deployment that was cut off"])
@pytest.mark.parametrize(("update", "last"), [(False, "create_endpoint"), (True, "update_endpoint")])
def test_a_deployment_goes_on_from_wherever_it_stopped(stubs: Stubs, existing: bool, update: bool, last: str):
    deployment(stubs, existing=existing, last=last)

    stubs.aws.deploy(3, PACKAGE, update=update)


@pytest.mark.parametrize("step", ["create_model", "create_endpoint_config"])
def test_another_error_in_a_deployment_is_told(stubs: Stubs, step: str):
    if step != "create_model":
        stubs.sagemaker.add_response("create_model", {"ModelArn": f"{ARN}:model/x"})
    stubs.sagemaker.add_client_error(step, "ResourceLimitExceeded", "too many")

    with pytest.raises(AwsError, match="too many"):
        stubs.aws.deploy(3, PACKAGE, update=False)


@pytest.mark.parametrize(
    ("variant", "version"),
    [({"InvokedProductionVariant": "v12"}, 12), ({"InvokedProductionVariant": "AllTraffic"}, None), ({}, None)],
    ids=["ours", "somebody else's", "untold"],
)
def test_an_endpoint_is_asked_with_a_jpeg_for_what_is_wanted_and_tells_its_version(
    stubs: Stubs, variant: dict[str, str], version: int | None
):
    request = {"EndpointName": NAME, "ContentType": "image/jpeg", "Accept": "image/png", "Body": b"jpeg"}
    stubs.runtime.add_response("invoke_endpoint", {"Body": body(b"mask"), **variant}, request)

    assert stubs.aws.invoke(3, b"jpeg", "image/png") == Answer(b"mask", version)


@pytest.mark.parametrize(
    "call", [lambda aws: aws.delete_endpoint(3), lambda aws: aws.check_bucket()], ids=["delete", "bucket"]
)
def test_calls_without_an_answer(stubs: Stubs, call: Callable[[Aws], None], request: pytest.FixtureRequest):
    if "delete" in request.node.name:
        stubs.sagemaker.add_response("delete_endpoint", {}, {"EndpointName": NAME})
    else:
        stubs.s3.add_response("head_bucket", {}, {"Bucket": "birds"})

    call(stubs.aws)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://b/k", ("b", "k")),
        ("s3://b/a b/é#1?%20.jpg", ("b", "a b/é#1?%20.jpg")),
        ("s3://b//k", ("b", "/k")),
    ],
)
def test_an_s3_address_is_a_bucket_and_a_raw_key(uri: str, parts: tuple[str, str]):
    assert split_s3_uri(uri) == parts


@pytest.mark.parametrize("uri", ["", "b/k", "s3://", "s3://b", "s3://b/", "s3:///k", "https://b/k"])
def test_another_address_says_what_was_wanted(uri: str):
    with pytest.raises(AwsError, match="wanted an address like s3://bucket/key"):
        split_s3_uri(uri)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_bucket_is_made_in_the_region_that_everything_is_in(tmp_path: Path, region: str):
    s3 = boto3.client("s3", region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
    aws = Aws(fakes.settings(tmp_path), s3=s3, sagemaker=boto3.client("sagemaker", region), runtime=s3)  # type: ignore[arg-type]
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with Stubber(s3) as stub:
        stub.add_response("create_bucket", {}, {"Bucket": "birds", **place})
        aws.create_bucket()
    assert aws.region == region


def test_a_bucket_is_there_or_not_or_somebody_else_s(stubs: Stubs):
    stubs.s3.add_response("head_bucket", {}, {"Bucket": "birds"})
    stubs.s3.add_client_error("head_bucket", "404", "Not Found")
    stubs.s3.add_client_error("head_bucket", "403", "Forbidden")

    assert stubs.aws.has_bucket()
    assert not stubs.aws.has_bucket()
    with pytest.raises(AwsAccessError):
        stubs.aws.has_bucket()


def test_one_object_is_enough_to_know_that_there_are_some(stubs: Stubs):
    asked = {"Bucket": "birds", "Prefix": "images/", "MaxKeys": 1}
    stubs.s3.add_response("list_objects_v2", {"KeyCount": 1}, asked)
    stubs.s3.add_response("list_objects_v2", {"KeyCount": 0}, asked)

    assert stubs.aws.has_objects("images/")
    assert not stubs.aws.has_objects("images/")


def test_all_objects_below_a_prefix_are_told_with_their_sizes(stubs: Stubs):
    first = {"Contents": [{"Key": "images/a.jpg", "Size": 3}], "IsTruncated": True, "NextContinuationToken": "more"}
    asked = {"Bucket": "birds", "Prefix": "images/"}
    stubs.s3.add_response("list_objects_v2", first, asked)
    last = {"Contents": [{"Key": "images/b.jpg", "Size": 5}], "IsTruncated": False}
    stubs.s3.add_response("list_objects_v2", last, {**asked, "ContinuationToken": "more"})

    assert stubs.aws.object_sizes("images/") == {"images/a.jpg": 3, "images/b.jpg": 5}


def test_all_objects_below_a_prefix_are_told_with_their_etags(stubs: Stubs):
    asked = {"Bucket": "birds", "Prefix": "annotations/"}
    first = {
        "Contents": [{"Key": "annotations/1", "ETag": '"a"'}],
        "IsTruncated": True,
        "NextContinuationToken": "more",
    }
    stubs.s3.add_response("list_objects_v2", first, asked)
    last = {"Contents": [{"Key": "annotations/2", "ETag": '"b"'}], "IsTruncated": False}
    stubs.s3.add_response("list_objects_v2", last, {**asked, "ContinuationToken": "more"})
    stubs.s3.add_response("list_objects_v2", {"IsTruncated": False}, asked)

    assert stubs.aws.etags("annotations/") == {"annotations/1": '"a"', "annotations/2": '"b"'}
    assert stubs.aws.etags("annotations/") == {}


def test_the_folders_right_below_a_prefix_are_told_by_their_names(stubs: Stubs):
    asked = {"Bucket": "birds", "Prefix": "ls/projects/", "Delimiter": "/"}
    found = {"CommonPrefixes": [{"Prefix": "ls/projects/3/"}, {"Prefix": "ls/projects/12/"}], "IsTruncated": False}
    stubs.s3.add_response("list_objects_v2", found, asked)

    assert stubs.aws.folders("ls/projects/") == ["3", "12"]


@pytest.mark.parametrize(("status", "kind"), [(503, AwsAwayError), (400, AwsError)])
def test_a_service_that_is_away_is_told_from_one_that_refuses(stubs: Stubs, status: int, kind: type[AwsError]):
    stubs.sagemaker.add_client_error("describe_pipeline", "Whatever", "no", http_status_code=status)

    with pytest.raises(AwsError) as caught:
        stubs.aws.pipeline_arn()
    assert type(caught.value) is kind


def test_a_service_that_nobody_reaches_is_away(stubs: Stubs):
    def unreachable(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    with pytest.raises(AwsAwayError, match="cannot be reached"):
        stubs.aws.lend(unreachable)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An access key in the environment."""
    for name, value in {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return monkeypatch


def test_an_access_key_that_lasts_is_handed_on(given: pytest.MonkeyPatch, tmp_path: Path):
    keys = Aws(fakes.settings(tmp_path)).access_keys()

    assert (keys.id, keys.secret) == ("AKIA", "secret")
    assert "secret" not in repr(keys)


def test_an_access_key_that_expires_is_not_handed_on(given: pytest.MonkeyPatch, tmp_path: Path):
    given.setenv("AWS_SESSION_TOKEN", "token")
    with pytest.raises(AwsError, match="AWS_SESSION_TOKEN, which expires"):
        Aws(fakes.settings(tmp_path)).access_keys()


def test_credentials_of_a_role_are_not_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with ThreadingHTTPServer(("127.0.0.1", 0), RoleCredentials) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(AwsError, match="which expire"):
            Aws(fakes.settings(tmp_path)).access_keys()
        server.shutdown()


class RoleCredentials(BaseHTTPRequestHandler):
    """Gives credentials as a container's role does."""

    def do_GET(self) -> None:
        end = (NOW + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = json.dumps({"AccessKeyId": "AKIA", "SecretAccessKey": "s", "Token": "t", "Expiration": end}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""
