"""What each policy's bearer asks of AWS: the code's own calls, and what AWS's services do with the roles for it."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.algorithms import BUILT_IN
from pipeline.images import built_in_image, processing_image
from pipeline.publish import Target
from pipeline.spot import with_spot
from tests.infra.account import ACCOUNT
from tests.infra.calls import Call, needed
from tests.infra.deployed import IMAGE, Deployed
from tests.infra.driven import everything, training
from tests.infra.jobs import Jobs, published
from tests.infra.policies import Request

SEGMENTER = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/segmenter:1"
# Label Studio's source storage looks and lists, its target storage looks, writes and deletes.
STORAGES: Sequence[tuple[str, Mapping[str, str]]] = (
    ("ListObjectsV2", {"Prefix": "images/"}),
    ("ListObjectsV2", {"Prefix": "images"}),
    ("ListObjectsV2", {"Prefix": "annotations/"}),
    ("ListObjectsV2", {"Prefix": "annotations"}),
    ("GetObject", {"Key": "images/a.jpg"}),
    ("PutObject", {"Key": "annotations/17"}),
    ("DeleteObject", {"Key": "annotations/17"}),
)
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def asked(stacks: Deployed) -> dict[str, list[Request]]:
    """By policy. The function that deploys has the backend's, so it is held against all that a backend does."""
    with tempfile.TemporaryDirectory() as folder:
        calls, alone = everything(stacks, Path(folder)), training(stacks, Path(folder))[0]
    name = stacks.outputs["PipelineName"]
    secret = Request("secretsmanager:GetSecretValue", stacks.outputs["SecretArn"])
    return {
        "backend": _needed((each for each in calls if each.service != "lambda"), stacks),
        "function": [*_needed(calls, stacks), *_logs(stacks, f"/aws/lambda/{name}-trigger")],
        "trainer": [*_needed(alone, stacks), *_logs(stacks, f"/aws/lambda/{name}-trigger")],
        "authorizer": [secret, *_logs(stacks, f"/aws/lambda/{name}-authorizer")],
        "container_start": [secret, *_pulling(stacks), *_logs(stacks, f"/ecs/{name}")],
        "sagemaker": [
            *of_jobs(stacks, built_in_image(stacks.place.region)),
            *of_jobs(stacks, SEGMENTER),
        ],
        "storage": _needed(of_storages(stacks), stacks),
    }


def of_jobs(stacks: Deployed, training_image: str, *, spot: bool = False) -> list[Request]:
    """What SageMaker does in an execution of the committed pipeline, and with its model."""
    images = {"TrainingImage": training_image, "ProcessingImage": processing_image(stacks.place.region)}
    target = Target(
        bucket=stacks.outputs["BucketName"],
        role_arn=stacks.outputs["SageMakerRoleArn"],
        region=stacks.place.region,
        pipeline=stacks.outputs["PipelineName"],
    )
    definition = published(target, images)
    return Jobs(with_spot(definition, BUILT_IN) if spot else definition, stacks.place).requests()


def of_storages(stacks: Deployed) -> Iterator[Call]:
    """What Label Studio does with the bucket."""
    for operation, names in STORAGES:
        yield Call("s3", operation, {"Bucket": stacks.outputs["BucketName"], **names})


def _needed(calls: Iterable[Call], stacks: Deployed) -> list[Request]:
    return [request for call in calls for request in needed(call, stacks.place)]


def _logs(stacks: Deployed, group: str) -> Iterator[Request]:
    """What Lambda and ECS do with the role of what they run."""
    stream = f"arn:aws:logs:{stacks.place.region}:{stacks.place.account}:log-group:{group}:log-stream:x"
    yield Request("logs:CreateLogStream", stream)
    yield Request("logs:PutLogEvents", stream)


def _pulling(stacks: Deployed) -> Iterator[Request]:
    yield Request("ecr:GetAuthorizationToken", "*")
    repository = IMAGE.partition("/")[2]
    for action in _PULL:
        yield Request(action, f"arn:aws:ecr:{stacks.place.region}:{stacks.place.account}:repository/{repository}")
