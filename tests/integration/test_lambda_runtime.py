"""The Lambda function as it is deployed: its zip file, in Lambda's runtime client, on real S3 and local SageMaker."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import aws_event, recorded
from tests.integration.definitions import ROLE, channel, definition, get, register, training
from tests.integration.services import wait_for
from tests.lambda_runtime import Function, LambdaService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.services import AwsClient, Json, LocalSageMaker

pytestmark = pytest.mark.timeout(180)
PIPELINE = "label-studio-segmentation"
TRAIN_AT = 4
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def service() -> Iterator[LambdaService]:
    made = LambdaService()
    yield made
    made.close()


@pytest.fixture
def new_function(
    tmp_path: Path, service: LambdaService, aws_env: dict[str, str], bucket: str
) -> Iterator[Callable[..., Function]]:
    """Makes a function with some instances; it ends with the test."""
    made: list[Function] = []

    def make(*, instances: int = 1, **changes: str) -> Function:
        environment = {
            **aws_env,
            "AWS_ENDPOINT_URL_SAGEMAKER": NOWHERE,
            "S3_BUCKET": bucket,
            "SAGEMAKER_ROLE_ARN": ROLE,
            "START_TRAINING_EACH_N_UPDATES": str(TRAIN_AT),
            "MINIMUM_MIOU": "0.1",
            "DEPLOY_ENDPOINTS": "true",
            **changes,
        }
        made.append(Function(tmp_path / f"function{len(made)}", service, environment))
        for _ in range(instances):
            made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def sagemaker(new_local_sagemaker: Callable[..., LocalSageMaker], bucket: str) -> LocalSageMaker:
    """Local SageMaker with a pipeline that trains at once and approves of everything."""
    local = new_local_sagemaker("--jobs", "2")
    names = ("DatasetS3Uri", "ModelPackageGroupName", "MinimumMIoU", "ApproveMIoU")
    train = training(Arguments={"InputDataConfig": [channel("train", get("Parameters.DatasetS3Uri"))]})
    package = register(
        group=get("Parameters.ModelPackageGroupName"),
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"dataset": get("Parameters.DatasetS3Uri")},
    )
    text = definition(train, package, parameters=[{"Name": name, "Type": "String"} for name in names])
    text["Parameters"][0]["DefaultValue"] = f"s3://{bucket}/label-studio"
    local.client().create_pipeline(PipelineName=PIPELINE, PipelineDefinition=json.dumps(text), RoleArn=ROLE)
    return local


@pytest.fixture
def annotate(s3: AwsClient, bucket: str) -> Callable[[int], None]:
    """Label Studio's target storage gets an annotation, of a task whose image is there."""

    def write(number: int) -> None:
        body = recorded("s3_target_four_polygons") | {"id": number, "project": 3}
        body["task"] |= {"id": number, "project": 3, "data": {"image": f"s3://{bucket}/images/{number}.jpg"}}
        s3.put_object(Bucket=bucket, Key=f"images/{number}.jpg", Body=b"an image")
        s3.put_object(Bucket=bucket, Key=f"annotations/{number}", Body=json.dumps(body).encode())

    return write


def webhook(annotations: int, action: str = "ANNOTATION_CREATED") -> Json:
    body = recorded("webhook_ANNOTATION_CREATED_four_polygons_s3") | {"action": action}
    body["project"] |= {"id": 3, "total_annotations_number": annotations}
    return body


def post(url: str, body: object, *, method: str = "POST") -> tuple[int, Json]:
    """Status and answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def executions(sagemaker: LocalSageMaker) -> Json:
    """Name and status of every execution, newest first."""
    found = sagemaker.client().list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]
    return [(each["PipelineExecutionDisplayName"], each["PipelineExecutionStatus"]) for each in found]


def endpoint_status(sagemaker: LocalSageMaker, name: str) -> str:
    listed = sagemaker.client().list_endpoints()["Endpoints"]
    return next((str(each["EndpointStatus"]) for each in listed if each["EndpointName"] == name), "")


def test_an_instance_has_nothing_but_boto3_beside_the_zip_file(new_function: Callable[..., Function]):
    function = new_function(instances=0)
    code = """
import importlib, json
def there(name):
    try:
        return bool(importlib.import_module(name))
    except ImportError:
        return False
print(json.dumps([name for name in %r if there(name)]))
"""
    names = ["boto3", "backend.aws_lambda", "flask", "httpx", "label_studio_sdk", "numpy", "PIL", "pip", "tests"]

    found = subprocess.run(
        [*function.python(), "-c", code % names],
        cwd=function.task,
        env=function.environment,
        check=True,
        capture_output=True,
    )

    assert json.loads(found.stdout) == ["boto3", "backend.aws_lambda"]


def test_at_the_threshold_one_execution_starts_whose_model_is_deployed(
    new_function: Callable[..., Function],
    service: LambdaService,
    sagemaker: LocalSageMaker,
    annotate: Callable[[int], None],
):
    function = new_function(instances=2, AWS_ENDPOINT_URL_SAGEMAKER=sagemaker.url)
    answers = []
    for number in range(1, TRAIN_AT + 1):
        annotate(number)
        answers.append(post(f"{service.url}/webhook", webhook(number)))
    service.wait_until_idle()

    assert [status for status, _ in answers] == [201] * TRAIN_AT
    assert [answer["status"] for _, answer in answers] == ["waiting", "waiting", "waiting", "starting"]
    assert [name for name, _ in executions(sagemaker)] == ["p3-n4-0"]

    # What came once comes again, from all sides.
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: post(f"{service.url}/webhook", webhook(TRAIN_AT)), range(8)))
    for name in ("eventbridge_schedule", "eventbridge_execution", "eventbridge_execution"):
        assert service.call(aws_event(name)) == {"status": "done"}
    service.wait_until_idle()
    assert {status for status, _ in again} == {201}
    assert [name for name, _ in executions(sagemaker)] == ["p3-n4-0"]

    wait_for(lambda: executions(sagemaker) == [("p3-n4-0", "Succeeded")])
    for _ in range(2):
        assert service.call(aws_event("eventbridge_model_package")) == {"status": "done"}
    wait_for(lambda: endpoint_status(sagemaker, f"{PIPELINE}-p3") == "InService")
    assert service.call(aws_event("eventbridge_schedule")) == {"status": "done"}
    assert "segmentation v1 is in service" in function.log
    assert [name for name, _ in executions(sagemaker)] == ["p3-n4-0"]
    assert "Traceback" not in function.log
    assert "PROJECT_TOKEN" not in function.log


def test_instances_that_hear_the_threshold_at_once_start_one_execution(
    new_function: Callable[..., Function],
    service: LambdaService,
    sagemaker: LocalSageMaker,
    annotate: Callable[[int], None],
):
    new_function(instances=3, AWS_ENDPOINT_URL_SAGEMAKER=sagemaker.url)
    for number in range(1, TRAIN_AT + 1):
        annotate(number)

    event = {"train": {"project": 3, "label_config": webhook(1)["project"]["label_config"], "annotations": TRAIN_AT}}
    calls = [service.put(event, asynchronous=True) for _ in range(9)]
    service.wait_until_idle()

    assert [call.error for call in calls] == [None] * 9
    assert [name for name, _ in executions(sagemaker)] == ["p3-n4-0"]


def test_a_lost_webhook_is_made_up_for_by_the_schedule(
    new_function: Callable[..., Function],
    service: LambdaService,
    sagemaker: LocalSageMaker,
    annotate: Callable[[int], None],
):
    new_function(AWS_ENDPOINT_URL_SAGEMAKER=sagemaker.url)
    annotate(1)
    post(f"{service.url}/webhook", webhook(1))
    service.wait_until_idle()
    for number in range(2, TRAIN_AT + 1):
        annotate(number)

    service.call(aws_event("eventbridge_schedule"))

    assert [name for name, _ in executions(sagemaker)] == ["p3-n4-0"]


def test_what_is_no_webhook_gets_a_short_answer_in_json(new_function: Callable[..., Function], service: LambdaService):
    function = new_function()

    assert post(f"{service.url}/health", b"", method="GET")[0] == 404
    assert post(f"{service.url}/webhook", b"{")[0] == 400
    assert post(f"{service.url}/webhook", {"action": 5}) == (
        400,
        {
            "error": {
                "code": 400,
                "message": 'wanted "action", the name of a Label Studio event, in the webhook\'s body',
            }
        },
    )
    assert "Traceback" not in function.log


def test_a_body_in_base64_is_as_good(new_function: Callable[..., Function], service: LambdaService):
    new_function()
    body = base64.b64encode(json.dumps(webhook(1)).encode()).decode()

    answer = service.call({**aws_event("api_gateway_webhook"), "body": body, "isBase64Encoded": True})

    assert (answer["statusCode"], json.loads(answer["body"])["annotations"]) == (201, 1)


def test_a_training_that_was_asked_for_is_tried_again_by_lambda(
    new_function: Callable[..., Function], service: LambdaService, annotate: Callable[[int], None]
):
    new_function(AWS_MAX_ATTEMPTS="1")
    annotate(1)

    answer = post(f"{service.url}/webhook", webhook(1, "START_TRAINING"))
    service.wait_until_idle()

    assert answer[0] == 201
    failed = service.ended[-1]
    assert (failed.asynchronous, failed.attempts) == (True, 3)
    assert failed.error["errorMessage"] == "project 3: the training that was asked for could not be started yet"


def test_a_function_that_is_not_set_up_says_so_and_its_log_says_why(
    new_function: Callable[..., Function], service: LambdaService
):
    function = new_function(S3_BUCKET="")

    status, answer = post(f"{service.url}/webhook", webhook(1))

    assert (status, answer["error"]["message"]) == (500, "the function is not set up; see its log")
    assert "S3_BUCKET is not set" in function.log


def test_the_log_tells_what_was_heard(new_function: Callable[..., Function], service: LambdaService):
    function = new_function()

    post(f"{service.url}/webhook", webhook(1))
    service.wait_until_idle()

    told: Any = function.log
    assert "'ANNOTATION_CREATED' of project 3 with 1 annotations: waiting" in told
