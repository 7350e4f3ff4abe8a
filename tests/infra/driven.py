"""Makes the adapters to AWS do everything that they can, without AWS: whatever they ask for is in ``Clients.calls``."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from backend.aws import Aws, Execution, ModelPackage
from backend.aws_functions import Functions
from backend.config import Settings
from backend.errors import AwsError
from pipeline.publish import Target, publish
from pipeline.rendering import committed_definition
from tests.infra.answering import NOW, Clients, Failure
from tests.infra.calls import Call
from tests.infra.deployed import Deployed

PROJECT = 3
LARGE = b"\0" * (9 * 2**20)  # in two parts


def everything(stacks: Deployed, folder: Path) -> list[Call]:
    """All that the adapters ask for, when all goes well and when it does not."""
    calls = [*_aws(stacks, folder), *_publishing(stacks), *_publishing(stacks, exists=False)]
    clients = Clients(region=stacks.place.region)
    function = f"arn:aws:lambda:{stacks.place.region}:{stacks.place.account}:function:{stacks.outputs['PipelineName']}"
    Functions(clients.client("lambda")).call_later(f"{function}-trigger", {})
    return [*calls, *clients.calls]


def _settings(stacks: Deployed, folder: Path) -> Settings:
    return Settings(
        label_studio_url="http://labelstudio.example.com",
        label_studio_api_key="token",
        s3_bucket=stacks.outputs["BucketName"],
        sagemaker_role_arn=stacks.outputs["SageMakerRoleArn"],
        sagemaker_pipeline=stacks.outputs["PipelineName"],
        model_dir=folder,
    )


def _aws(stacks: Deployed, folder: Path) -> list[Call]:
    settings = _settings(stacks, folder)
    project = stacks.place.sagemaker("model-package", f"{settings.project_name(PROJECT)}/2")
    execution = stacks.place.sagemaker("pipeline", f"{settings.sagemaker_pipeline}/execution/e")
    answers = {"ListModelPackages": {"ModelPackageSummaryList": [_registered(project)]}}
    clients = Clients(answers, region=stacks.place.region, fails=_broken_uploads)
    aws = Aws(
        settings,
        s3=clients.client("s3"),
        sagemaker=clients.client("sagemaker"),
        runtime=clients.client("sagemaker-runtime"),
    )
    for step in _steps(aws, settings, Execution(execution, "Failed", 16, 0, NOW), project):
        with contextlib.suppress(AwsError):
            step()
    return clients.calls


def _registered(arn: str) -> dict[str, object]:
    return {"ModelPackageArn": arn, "ModelPackageVersion": 2, "ModelApprovalStatus": "Approved"}


def _broken_uploads(call: Call) -> str:
    return "InternalError" if call.operation == "UploadPart" and "broken" in call.parameters["Key"] else ""


def _steps(aws: Aws, settings: Settings, execution: Execution, arn: str) -> list[Callable[[], object]]:
    bucket, folder = settings.s3_bucket, settings.key("projects", str(PROJECT))
    dataset = f"{folder}/datasets/d"
    package = ModelPackage(arn, 2, f"s3://{bucket}/{dataset}/", "pipelines-e-Train-x")
    return [
        aws.check_bucket,
        aws.has_bucket,
        lambda: aws.get_object(bucket, "images/a.jpg"),
        lambda: aws.get_object(bucket, "annotations/17"),
        lambda: aws.get_json(f"s3://{bucket}/{dataset}/dataset.json"),
        lambda: aws.has_object("images/a.jpg"),
        lambda: aws.has_object(f"{folder}/images/digest"),
        lambda: aws.has_objects("images/"),
        lambda: aws.object_sizes("images/"),
        lambda: aws.etags("annotations/"),
        lambda: aws.folders(f"{settings.key('projects')}/"),
        lambda: aws.put_object("images/", b""),
        lambda: aws.put_object("images/a.jpg", LARGE, content_type="image/jpeg"),
        lambda: aws.put_object("images/broken.jpg", LARGE),
        lambda: aws.put_object(f"{dataset}/tasks.jsonl", b""),
        lambda: aws.put_object(f"{folder}/images/broken", LARGE),
        aws.pipeline_arn,
        lambda: aws.executions(PROJECT),
        lambda: aws.execution_failure(execution),
        lambda: aws.steps(execution),
        lambda: aws.start_execution(project=PROJECT, annotations=16, attempt=0, token="t" * 64, parameters={}),
        lambda: aws.ensure_package_group(PROJECT),
        lambda: aws.newest_approved(PROJECT),
        lambda: aws.newest_packages(PROJECT, 3),
        lambda: aws.model_data(arn),
        lambda: aws.reject_package(arn, "it cannot be served"),
        lambda: aws.validation_miou(package),
        lambda: aws.endpoint(PROJECT),
        lambda: aws.deploy(PROJECT, package, update=False),
        lambda: aws.deploy(PROJECT, package, update=True),
        lambda: aws.delete_endpoint(PROJECT),
        lambda: aws.invoke(PROJECT, b"jpeg", "image/png"),
    ]


def _publishing(stacks: Deployed, *, exists: bool = True) -> list[Call]:
    """What ``setup`` does with the pipeline."""
    absent: Failure = lambda call: "ResourceNotFound" if call.operation == "UpdatePipeline" and not exists else ""  # noqa: E731
    clients = Clients(region=stacks.place.region, fails=absent)
    target = Target(
        bucket=stacks.outputs["BucketName"],
        role_arn=stacks.outputs["SageMakerRoleArn"],
        region=stacks.place.region,
        pipeline=stacks.outputs["PipelineName"],
    )
    publish(target, committed_definition(), s3=clients.client("s3"), sagemaker=clients.client("sagemaker"))
    return clients.calls
