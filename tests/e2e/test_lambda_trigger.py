"""The trigger in Lambda behind a real Label Studio: its webhook, its target storage, and nothing else of it."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from backend.aws import AccessKeys
from backend.inputs import labeling_interface
from backend.label_studio import basic_authorization
from backend.label_studio_setup import Storage, StudioSetup
from demo.birds import LABELS, to_regions
from demo.pictures import bird_pictures, bird_scene, bird_seed, upload
from demo.services import BUCKET, PIPELINE, REGION, ROLE_ARN, S3_PREFIX
from tests.e2e.test_loop import executions, wait_for
from tests.fakes import aws_event
from tests.lambda_runtime import Function, LambdaService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.labelling import Labelling, Task
    from demo.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
TRAIN_AT = 4
PASSWORD = basic_authorization("label-studio", "a-password")


@pytest.fixture
def service() -> Iterator[LambdaService]:
    made = LambdaService()
    yield made
    made.close()


@pytest.fixture
def function(stack: Stack, service: LambdaService, tmp_path: Path) -> Iterator[Function]:
    """The function, with two instances, and no address or token of Label Studio."""
    environment = {
        **{
            name: value for name, value in stack.plan.aws_environment().items() if name.startswith(("AWS_", "NO_PROXY"))
        },
        "S3_BUCKET": BUCKET,
        "S3_PREFIX": S3_PREFIX,
        "ANNOTATIONS_PREFIX": "serverless/annotations",
        "SAGEMAKER_PIPELINE": PIPELINE,
        "SAGEMAKER_ROLE_ARN": ROLE_ARN,
        "START_TRAINING_EACH_N_UPDATES": str(TRAIN_AT),
        "MINIMUM_MIOU": "0",
        "DEPLOY_ENDPOINTS": "true",
    }
    made = Function(tmp_path, service, environment)
    for _ in range(2):
        made.start()
    yield made
    made.stop()


@pytest.fixture
def project(stack: Stack, service: LambdaService) -> int:
    """A project as it is set up for the trigger: two storages and a webhook with its password, no ML backend."""
    upload(stack.s3(), BUCKET, bird_pictures("serverless/images/", range(700, 710)), on_progress=lambda _: None)
    secrets = stack.plan.state.secrets
    keys = AccessKeys(secrets.access_key_id, secrets.secret_access_key)

    def storage(prefix: str) -> Storage:
        return Storage(bucket=BUCKET, prefix=prefix, region=REGION, endpoint=stack.plan.url("s3"), keys=keys)

    with contextlib.closing(StudioSetup(stack.plan.url("label_studio"), secrets.label_studio_token)) as studio:
        project = studio.create_project("Serverless", labeling_interface(LABELS)).id
        source, _ = studio.ensure_source(project, storage("serverless/images/"), presign=False)
        studio.ensure_target(project, storage("serverless/annotations/"))
        studio.ensure_webhook(project, f"{service.url}/webhook", {"Authorization": PASSWORD})
        studio.start_sync(source)
    return project


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Token {stack.plan.state.secrets.label_studio_token}"}
    with httpx.Client(base_url=stack.plan.url("label_studio"), headers=headers, timeout=100) as client:
        yield client


def annotate(labelling: Labelling, *tasks: Task) -> None:
    for task in tasks:
        labelling.submit(task.id, to_regions(bird_scene(bird_seed(task.key))), lead_time_s=10)


def written(stack: Stack) -> set[str]:
    """What the target storage has."""
    found = stack.s3().list_objects_v2(Bucket=BUCKET, Prefix="serverless/annotations/")
    return {each["Key"] for each in found.get("Contents", [])}


def dataset(stack: Stack, project: int) -> list[dict[str, Any]]:
    """The images that the newest execution was started with."""
    s3 = stack.s3()
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{S3_PREFIX}/projects/{project}/datasets/")["Contents"]
    (key,) = [each["Key"] for each in found if each["Key"].endswith("/tasks.jsonl")]
    return [json.loads(line) for line in s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().splitlines()]


def test_real_webhooks_start_one_execution_at_the_threshold_whose_model_is_deployed(
    stack: Stack, labelling: Labelling, api: httpx.Client, service: LambdaService, function: Function, project: int
):
    tasks = labelling.tasks(project)
    skipped = {"result": [], "was_cancelled": True}
    api.post(f"/api/tasks/{tasks[9].id}/annotations/", json=skipped).raise_for_status()
    annotate(labelling, *tasks[: TRAIN_AT - 1])
    service.wait_until_idle()
    assert len(written(stack)) == TRAIN_AT
    assert executions(stack, project) == []

    # One is taken back: its copy goes, and the count with it.
    newest = api.get(f"/api/tasks/{tasks[0].id}/annotations/").json()[0]["id"]
    api.delete(f"/api/annotations/{newest}/").raise_for_status()
    annotate(labelling, tasks[4])
    service.wait_until_idle()
    assert executions(stack, project) == []
    assert f"serverless/annotations/{newest}" not in written(stack)

    annotate(labelling, tasks[5])
    service.wait_until_idle()
    assert executions(stack, project) == [f"p{project}-n{TRAIN_AT}-0"]
    assert [line["task"] for line in dataset(stack, project)] == [tasks[number].id for number in (1, 2, 4, 5)]

    # Every request once more, as they came.
    assert {event["headers"]["Authorization"] for event in service.heard} == {PASSWORD}
    for event in list(service.heard):
        request = urllib.request.Request(f"{service.url}{event['path']}", event["body"].encode(), event["headers"])
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 201
    service.wait_until_idle()
    assert executions(stack, project) == [f"p{project}-n{TRAIN_AT}-0"]

    def look(name: str, **changes: str) -> None:
        event = aws_event(name)
        event["detail"] |= changes
        assert service.call(event) == {"status": "done"}

    def live() -> bool:
        look("eventbridge_schedule")
        return "segmentation v1 is in service" in function.log

    wait_for(lambda: "Succeeded" in statuses(stack, project), seconds=150)
    look("eventbridge_model_package", ModelPackageGroupName=f"{PIPELINE}-p{project}")
    wait_for(live, seconds=100)
    assert executions(stack, project) == [f"p{project}-n{TRAIN_AT}-0"]
    assert labelling.predictions(project) == []
    assert "Traceback" not in function.log


def statuses(stack: Stack, project: int) -> list[str]:
    found = stack.sagemaker().list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]
    own = [each for each in found if each["PipelineExecutionDisplayName"].startswith(f"p{project}-")]
    return [each["PipelineExecutionStatus"] for each in own]
