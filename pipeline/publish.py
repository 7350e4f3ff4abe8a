"""Put the pipeline where it runs: the script into S3, the definition into SageMaker. Safe to run again."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline.algorithms import training_image
from pipeline.choice import PipelineChoice
from pipeline.images import processing_image
from pipeline.parameters import check_settings
from pipeline.spot import spot_note, with_spot
from pipeline.warm_start import with_warm_start

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

SCRIPT = Path(__file__).with_name("preprocess.py")


class PublishError(Exception):
    """The pipeline cannot be put there; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to put it, and what differs from the committed definition."""

    bucket: str
    role_arn: str
    region: str
    prefix: str = "label-studio"
    pipeline: str = "label-studio-segmentation"
    choice: PipelineChoice = field(default_factory=PipelineChoice)


@dataclass(frozen=True, slots=True)
class Published:
    """What was done: the pipeline's ARN, whether it is new, where the script lies, and what to know of it."""

    arn: str
    created: bool
    code_uri: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a pipeline is made of, as it is to lie in the bucket: by key, each key with the digest of its bytes.

    What has changed so has another key, and a run that is going on keeps the script that it was started with.
    """

    definition: str
    definition_key: str
    script: bytes
    script_key: str
    notes: tuple[str, ...] = ()


def artifacts(target: Target, definition: Mapping[str, Any]) -> Artifacts:
    """The script, and *definition* with the defaults that *target* wants.

    Raises:
        PublishError: the algorithm and its image do not go together, the region has no such image, or a parameter is
            unknown or has a value that is not allowed.
    """
    script, choice = SCRIPT.read_bytes(), target.choice
    folder = _key(target, "code", hashlib.sha256(script).hexdigest())
    filled = fill_defaults(definition, _defaults(target, folder))
    if choice.begins_warm:
        filled = with_warm_start(filled)
    text = json.dumps(with_spot(filled, choice.algorithm) if choice.spot else filled)
    return Artifacts(
        definition=text,
        definition_key=_key(target, "pipeline", f"{hashlib.sha256(text.encode()).hexdigest()}.json"),
        script=script,
        script_key=f"{folder}/{SCRIPT.name}",
        notes=(spot_note(filled, choice.algorithm),) if choice.spot else (),
    )


def _key(target: Target, *parts: str) -> str:
    return "/".join(part for part in (target.prefix, *parts) if part)


def publish(
    target: Target, definition: Mapping[str, Any], *, s3: "S3Client", sagemaker: "SageMakerClient"
) -> Published:
    """Upload preprocess.py under its digest, and create the pipeline or update the one that is there.

    Raises:
        PublishError: as :func:`artifacts`.
        ClientError: AWS refuses.
    """
    made = artifacts(target, definition)
    s3.put_object(Bucket=target.bucket, Key=made.script_key, Body=made.script)
    request = {
        "PipelineName": target.pipeline,
        "PipelineDefinition": made.definition,
        "RoleArn": target.role_arn,
        "PipelineDescription": "Label Studio annotations -> a segmentation model in the registry",
    }
    uri = f"s3://{target.bucket}/{made.script_key.removesuffix(SCRIPT.name)}"
    try:
        arn = sagemaker.update_pipeline(**request)["PipelineArn"]  # type: ignore[arg-type]  # all are strings
    except ClientError as error:
        if not _is_absent(error):
            raise
    else:
        return Published(arn, created=False, code_uri=uri, notes=made.notes)
    token = hashlib.sha256(json.dumps(request).encode()).hexdigest()
    arn = sagemaker.create_pipeline(**request, ClientRequestToken=token)["PipelineArn"]  # type: ignore[arg-type]
    return Published(arn, created=True, code_uri=uri, notes=made.notes)


def _is_absent(error: ClientError) -> bool:
    details = error.response.get("Error", {})
    told = details.get("Message", "")
    return details.get("Code") == "ResourceNotFound" or "does not exist" in told or "Could not find" in told


def _defaults(target: Target, folder: str) -> dict[str, str]:
    choice = target.choice
    try:
        images = {
            "TrainingImage": training_image(choice.algorithm, choice.image, target.region),
            "ProcessingImage": choice.processing_image or processing_image(target.region),
        }
        check_settings(choice.overrides, choice.algorithm)
    except ValueError as error:
        raise PublishError(str(error)) from error
    root = f"s3://{target.bucket}/{target.prefix}" if target.prefix else f"s3://{target.bucket}"
    return {
        **images,
        "RoleArn": target.role_arn,
        "CodeS3Uri": f"s3://{target.bucket}/{folder}/",
        "ArtifactsS3Uri": root,
        **choice.overrides,
    }


def fill_defaults(definition: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """A copy of *definition* whose parameters have *values* as defaults.

    Raises:
        PublishError: it has no such parameter, or the value is not of its type or not among its choices.
    """
    known = {parameter["Name"] for parameter in definition["Parameters"]}
    if unknown := sorted(set(values) - known):
        raise PublishError(f"the pipeline has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    parameters = [
        {**parameter, "DefaultValue": _typed(parameter, values[parameter["Name"]])}
        if parameter["Name"] in values
        else dict(parameter)
        for parameter in definition["Parameters"]
    ]
    return {**definition, "Parameters": parameters}


_PARSE: Mapping[str, Callable[[str], str | int | float]] = {"Integer": int, "Float": float}


def _typed(parameter: Mapping[str, Any], value: str) -> str | int | float:
    choices = parameter.get("EnumValues")
    if choices and value not in choices:
        raise PublishError(f"{parameter['Name']}: wanted one of {', '.join(choices)}, got {value!r}")
    try:
        return _PARSE.get(parameter["Type"], str)(value)
    except ValueError as error:
        raise PublishError(f"{parameter['Name']}: wanted {parameter['Type']}, got {value!r}") from error


def parse_override(text: str) -> tuple[str, str]:
    """``Name=Value`` as a pair.

    Raises:
        PublishError: it is not of that form.
    """
    if match := re.fullmatch(r"(\w+)=(.*)", text):
        return match[1], match[2]
    raise PublishError(f"wanted Name=Value, got {text!r}")
