"""What SageMaker does with its role when it runs the committed pipeline and serves its models.

Made from definition.json as it would be published, so that a new step, folder or image shows where the role lacks it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.publish import Target, fill_defaults
from pipeline.rendering import committed_definition
from tests.infra.calls import Place
from tests.infra.policies import Request

EXECUTION = "0a1b2c3d4e5f"
_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[a-z.]+/([a-z0-9._/-]+)[:@].+")
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_LOG = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
_KINDS = {"Processing": "processing-job", "Training": "training-job"}


def published(target: Target, defaults: Mapping[str, str]) -> dict[str, Any]:
    """The definition with *defaults*, and what an execution of project 3 gives."""
    root = f"s3://{target.bucket}/{target.prefix}"
    given = {
        "DatasetS3Uri": f"{root}/projects/3/datasets/d/",
        "ModelPackageGroupName": f"{target.pipeline}-p3",
        "ArtifactsS3Uri": root,
        "CodeS3Uri": f"{root}/code/d/",
        "RoleArn": target.role_arn,
    }
    return fill_defaults(committed_definition(), {**defaults, **given})


class Jobs:
    """An execution of the pipeline, and a model that is served."""

    def __init__(self, definition: Mapping[str, Any], place: Place) -> None:
        self._place = place
        self._values = {each["Name"]: each.get("DefaultValue") for each in definition["Parameters"]}
        self._steps = {each["Name"]: each for each in definition["Steps"]}

    def requests(self) -> list[Request]:
        """All that the role must allow."""
        found = [request for step in self._steps.values() for request in self._step(step)]
        return [*found, *self._hosting()]

    def _step(self, step: Mapping[str, Any]) -> Iterator[Request]:
        kind, arguments = step["Type"], step.get("Arguments", {})
        if kind == "Condition":
            for each in (*arguments.get("IfSteps", ()), *arguments.get("ElseSteps", ())):
                yield from self._step(each)
        elif kind == "RegisterModel":
            yield from self._registering(arguments)
        elif kind in _KINDS:
            yield from self._job(step["Name"], _KINDS[kind], arguments)
        elif kind != "Fail":
            raise LookupError(f"tests/infra/jobs.py does not know steps of type {kind}")

    def _job(self, name: str, kind: str, arguments: Mapping[str, Any]) -> Iterator[Request]:
        job = self._place.sagemaker(kind, f"pipelines-{EXECUTION}-{name}-x")
        actions = [f"{verb}{kind.title().replace('-', '')}" for verb in ("Create", "Describe", "Stop")]
        for action in (*actions, "AddTags"):
            yield Request(f"sagemaker:{action}", job)
        role = str(self._value(arguments["RoleArn"]))
        yield Request("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})
        specification = arguments.get("AppSpecification") or arguments["AlgorithmSpecification"]
        yield from self._image(str(self._value(specification.get("ImageUri") or specification["TrainingImage"])))
        yield from self._watching(f"{kind.title().replace('-', '')}s")
        for source in _found(arguments, "S3Input", "S3DataSource"):
            yield from self._reading(self._uri(source["S3Uri"]), source["S3DataType"])
        for target in _found(arguments, "S3Output", "OutputDataConfig"):
            yield from self._writing(self._uri(target.get("S3Uri") or target["S3OutputPath"]))
        for both in _found(arguments, "CheckpointConfig"):
            yield from self._reading(self._uri(both["S3Uri"]), "S3Prefix")
            yield from self._writing(self._uri(both["S3Uri"]))

    def _reading(self, uri: str, kind: str) -> Iterator[Request]:
        bucket, key = _split(uri)
        if kind == "S3Prefix":
            yield Request("s3:ListBucket", bucket, {"s3:prefix": key})
            yield Request("s3:GetObject", f"{bucket}/{key}file")
            return
        # A manifest; it names images where they lie, and copies of those that lie elsewhere.
        prefix = key.split("/projects/")[0]
        for each in (key, "images/a.jpg", f"{prefix}/projects/3/images/digest"):
            yield Request("s3:ListBucket", bucket, {"s3:prefix": each})
            yield Request("s3:GetObject", f"{bucket}/{each}")

    def _writing(self, uri: str) -> Iterator[Request]:
        bucket, key = _split(uri)
        for action in ("s3:PutObject", "s3:AbortMultipartUpload"):
            yield Request(action, f"{bucket}/{key}pipelines-{EXECUTION}-x/output/model.tar.gz")

    def _image(self, uri: str) -> Iterator[Request]:
        account, region, repository = _IMAGE.fullmatch(uri).groups()  # type: ignore[union-attr]
        yield Request("ecr:GetAuthorizationToken", "*")
        for action in _PULL:
            yield Request(action, f"arn:aws:ecr:{region}:{account}:repository/{repository}")

    def _watching(self, group: str) -> Iterator[Request]:
        log = f"arn:aws:logs:{self._place.region}:{self._place.account}:log-group:/aws/sagemaker/{group}"
        for action in _LOG:
            yield Request(action, f"{log}:log-stream:x/y")
        yield Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": f"/aws/sagemaker/{group}"})

    def _registering(self, arguments: Mapping[str, Any]) -> Iterator[Request]:
        name = str(self._value(arguments["ModelPackageGroupName"]))
        group = self._place.sagemaker("model-package-group", name)
        package = self._place.sagemaker("model-package", f"{name}/1")
        yield Request("sagemaker:DescribeModelPackageGroup", group)
        for action, resource in (("Create", package), ("Create", group), ("Describe", package)):
            yield Request(f"sagemaker:{action}ModelPackage", resource)
        yield Request("sagemaker:AddTags", package)
        yield from self._reading(self._model(), "S3Prefix")

    def _hosting(self) -> Iterator[Request]:
        """A model is downloaded by the role that CreateModel names, and its container pulled."""
        yield from self._reading(self._model(), "S3Prefix")
        yield from self._image(str(self._values["TrainingImage"]))
        yield from self._watching(f"Endpoints/{self._values['ModelPackageGroupName']}")

    def _model(self) -> str:
        folder = self._uri(self._steps["Train"]["Arguments"]["OutputDataConfig"]["S3OutputPath"])
        return f"{folder}pipelines-{EXECUTION}-Train-x/output/model.tar.gz"

    def _uri(self, expression: object) -> str:
        return str(self._value(expression))

    def _value(self, expression: Any) -> object:
        """An expression of the definition, as far as places and names are made of them."""
        if not isinstance(expression, dict):
            return expression
        if "Std:Join" in expression:
            join = expression["Std:Join"]
            return str(join["On"]).join(str(self._value(each)) for each in join["Values"])
        return self._reference(expression["Get"])

    def _reference(self, name: str) -> object:
        area, _, rest = name.partition(".")
        if area == "Parameters":
            return self._values[rest]
        if area == "Execution":
            return EXECUTION
        output = re.fullmatch(r"(\w+)\.ProcessingOutputConfig\.Outputs\['(\w+)'\]\.S3Output\.S3Uri", rest)
        if output is None:
            raise LookupError(f"tests/infra/jobs.py does not know {name}")
        outputs = self._steps[output[1]]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
        return self._value(next(each["S3Output"]["S3Uri"] for each in outputs if each["OutputName"] == output[2]))


def _found(value: Any, *names: str) -> Iterator[Mapping[str, Any]]:
    """All members of these names, however deep."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name in names:
                yield each
            else:
                yield from _found(each, *names)
    elif isinstance(value, list):
        for each in value:
            yield from _found(each, *names)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return f"arn:aws:s3:::{bucket}", key
