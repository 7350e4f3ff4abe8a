"""Makes the adapters to AWS do everything that they can, without AWS: whatever they ask for is in ``Clients.calls``."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from backend.aws import Aws, Execution, ModelPackage
from backend.aws_functions import Functions
from backend.config import Settings
from backend.errors import AwsError
from pipeline.publish import Target, publish
from pipeline.rendering import committed_definition
from tests.infra.answering import NOW, Answer, Clients, Failure
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


def training(stacks: Deployed, folder: Path) -> tuple[list[Call], set[str]]:
    """All that the Lambda function asks for which deploys nothing; and the adapter's methods that it does so by."""
    clients, function = Clients(_answers(stacks), region=stacks.place.region, fails=_broken_uploads), "birds-trigger"
    settings = _settings(stacks, folder)
    aws = Watched(_aws_on(clients, settings))
    for step in _training(cast("Aws", aws), settings, _execution(stacks), _package(stacks)):
        with contextlib.suppress(AwsError):
            step()
    Functions(clients.client("lambda")).call_later(stacks.place.function(function), {})
    return clients.calls, aws.asked


class Watched:
    """An adapter of which it is remembered what was called."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.asked.add(name)
        return getattr(self._aws, name)


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
    settings, clients = (
        _settings(stacks, folder),
        Clients(_answers(stacks), region=stacks.place.region, fails=_broken_uploads),
    )
    aws, execution, package = _aws_on(clients, settings), _execution(stacks), _package(stacks)
    for step in [*_training(aws, settings, execution, package), *_more(aws, settings, execution, package)]:
        with contextlib.suppress(AwsError):
            step()
    return clients.calls


def _aws_on(clients: Clients, settings: Settings) -> Aws:
    return Aws(
        settings,
        s3=clients.client("s3"),
        sagemaker=clients.client("sagemaker"),
        runtime=clients.client("sagemaker-runtime"),
    )


def _execution(stacks: Deployed) -> Execution:
    arn = stacks.place.sagemaker("pipeline", f"{stacks.outputs['PipelineName']}/execution/e")
    return Execution(arn, "Failed", 16, 0, NOW)


def _package(stacks: Deployed) -> ModelPackage:
    name, bucket = stacks.outputs["PipelineName"], stacks.outputs["BucketName"]
    arn = stacks.place.sagemaker("model-package", f"{name}-p{PROJECT}/2")
    return ModelPackage(arn, 2, f"s3://{bucket}/label-studio/projects/{PROJECT}/datasets/d/", "pipelines-e-Train-x")


def _answers(stacks: Deployed) -> dict[str, Answer]:
    found = {
        "ModelPackageArn": _package(stacks).arn,
        "ModelPackageVersion": 2,
        "ModelApprovalStatus": "Approved",
    }
    return {"ListModelPackages": {"ModelPackageSummaryList": [found]}}


def _broken_uploads(call: Call) -> str:
    return "InternalError" if call.operation == "UploadPart" and "broken" in call.parameters["Key"] else ""


def _training(
    aws: Aws, settings: Settings, execution: Execution, package: ModelPackage
) -> Iterator[Callable[[], object]]:
    """What counting annotations and starting a training comes to."""
    bucket, folder = settings.s3_bucket, settings.key("projects", str(PROJECT))
    yield lambda: aws.folders(f"{settings.key('projects')}/")
    yield lambda: aws.etags("annotations/")
    yield lambda: aws.get_object(bucket, "annotations/17")
    yield lambda: aws.get_object(bucket, f"{folder}/interface.xml")
    yield lambda: aws.has_object("images/a.jpg")
    yield lambda: aws.put_object(f"{folder}/datasets/d/tasks.jsonl", LARGE)
    yield lambda: aws.put_object(f"{folder}/datasets/broken/tasks.jsonl", LARGE)
    yield lambda: aws.executions(PROJECT)
    yield lambda: aws.execution_failure(execution)
    yield lambda: aws.ensure_package_group(PROJECT)
    yield lambda: aws.newest_approved(PROJECT)
    yield lambda: aws.validation_miou(package)
    yield lambda: aws.get_json(f"{package.dataset}dataset.json")
    yield lambda: aws.start_execution(project=PROJECT, annotations=16, attempt=0, token="t" * 64, parameters={})


def _more(aws: Aws, settings: Settings, execution: Execution, package: ModelPackage) -> Iterator[Callable[[], object]]:
    """What else a backend and its commands do."""
    bucket, folder = settings.s3_bucket, settings.key("projects", str(PROJECT))
    yield aws.check_bucket
    yield aws.has_bucket
    yield lambda: aws.get_object(bucket, "images/a.jpg")
    yield lambda: aws.has_object(f"{folder}/images/digest")
    yield lambda: aws.has_objects("images/")
    yield lambda: aws.object_sizes("images/")
    yield lambda: aws.put_object("images/", b"")
    yield lambda: aws.put_object("images/a.jpg", LARGE, content_type="image/jpeg")
    yield lambda: aws.put_object("images/broken.jpg", LARGE)
    yield lambda: aws.put_object(f"{folder}/images/broken", LARGE)
    yield aws.pipeline_arn
    yield lambda: aws.steps(execution)
    yield lambda: aws.newest_packages(PROJECT, 3)
    yield lambda: aws.model_data(package.arn)
    yield lambda: aws.reject_package(package.arn, "it cannot be served")
    yield lambda: aws.endpoint(PROJECT)
    yield lambda: aws.deploy(PROJECT, package, update=False)
    yield lambda: aws.deploy(PROJECT, package, update=True)
    yield lambda: aws.delete_endpoint(PROJECT)
    yield lambda: aws.invoke(PROJECT, b"jpeg", "image/png")


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
