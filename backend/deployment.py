"""A deployment by its name: its stacks, whose they are, and the settings that are parameters of theirs."""

import re
import urllib.parse
from collections.abc import Mapping
from typing import Literal

from backend.config import Settings
from backend.errors import AwsError, BackendError
from backend.stacks import Stack

Trigger = Literal["backend", "lambda"]
Layer = Literal["core", "trigger", "container"]
LAYERS: tuple[Layer, ...] = ("core", "trigger", "container")  # each stands on the first
STUDIO_TAG = "label-studio"
# The variables that a stack has as parameters, by the parameter's name.
VARIABLES = {
    "S3Prefix": "S3_PREFIX",
    "TrainEvery": "START_TRAINING_EACH_N_UPDATES",
    "MinimumMIoU": "MINIMUM_MIOU",
    "MIoUTolerance": "MIOU_TOLERANCE",
    "TrainingCooldownSeconds": "TRAINING_COOLDOWN_SECONDS",
    "MaxTrainingsPerDay": "MAX_TRAININGS_PER_DAY",
    "EndpointInstanceType": "SAGEMAKER_INSTANCE_TYPE",
    "ModelName": "MODEL_NAME",
    "LogLevel": "LOG_LEVEL",
}
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+@-]")
_LONGEST_TAG = 256
_STACK_NAME = re.compile(r"[a-z](-*[a-z0-9])*")
# What is known only when the stack is there.
_TO_COME = {"S3_BUCKET": "to-be-made", "SAGEMAKER_ROLE_ARN": "arn:aws:iam::000000000000:role/to-be-made"}


def settings_to_come(env: Mapping[str, str]) -> Settings:
    """The settings, with a stand-in for what will be made.

    Raises:
        SettingsError: a variable is missing or cannot be used.
    """
    return Settings.from_env({**_TO_COME, **{key: value for key, value in env.items() if value}}, writes=False)


def stack_name(settings: Settings, layer: Layer) -> str:
    """What a deployment's stack is called."""
    return f"{settings.sagemaker_pipeline}-{layer}"


def check_name(settings: Settings) -> None:
    """Raise BackendError for a name that stacks cannot have."""
    name = settings.sagemaker_pipeline
    if not _STACK_NAME.fullmatch(name):
        raise BackendError(
            "SAGEMAKER_PIPELINE: wanted lower-case letters, digits and hyphens, and a letter first, since it is the "
            f"stacks' name too, got {name!r}"
        )


def check_studio(settings: Settings) -> None:
    """Raise BackendError for an address of Label Studio that the stacks cannot carry as a tag."""
    url = settings.label_studio_url
    if strange := sorted(set(_NOT_IN_TAGS.findall(url))):
        got = " ".join(strange)
    elif len(url) > _LONGEST_TAG:
        got = f"{len(url)}"
    else:
        return
    raise BackendError(
        "LABEL_STUDIO_URL: wanted an address that a tag in AWS can hold, which tells whose the deployment is: letters, "
        f"digits and . : / - _ = + @, {_LONGEST_TAG} characters at most, got one with {got}"
    )


def check_ours(stack: Stack, settings: Settings) -> None:
    """Raise BackendError for a stack that has a deployment's name, and is none of this backend's."""
    if STUDIO_TAG not in stack.tags and stack.parameters.get("Name") != settings.sagemaker_pipeline:
        raise BackendError(
            f"stack {stack.name} is somebody else's, not of this backend: it is left alone; choose another "
            "SAGEMAKER_PIPELINE"
        )


def other_studio(stack: Stack, settings: Settings) -> str:
    """The Label Studio that a deployment belongs to, '' if it is ours or nobody knows."""
    studio = stack.tags.get(STUDIO_TAG, "")
    return "" if studio == settings.label_studio_url else studio


def output(stack: Stack, name: str) -> str:
    """What a stack gives out.

    Raises:
        AwsError: it does not give that out.
    """
    if name not in stack.outputs:
        raise AwsError(f"stack {stack.name} has no output {name}: it is not the one of this version; run this again")
    return stack.outputs[name]


def core_outputs(core: Stack) -> dict[str, str]:
    """The parameters that trigger.yaml takes from core.yaml."""
    names = ("BucketName", "BackendPolicyArn", "SecretArn", "PipelineName", "SageMakerRoleArn", "TopicArn")
    return {name: output(core, name) for name in names}


def trigger_settings(settings: Settings) -> dict[str, str]:
    """The parameters of trigger.yaml that are settings of the service too."""
    return {
        "Name": settings.sagemaker_pipeline,
        "S3Prefix": settings.s3_prefix,
        "TrainEvery": f"{settings.start_training_each_n_updates}",
        "MinimumMIoU": _number(settings.minimum_miou),
        "MIoUTolerance": _number(settings.miou_tolerance),
        "TrainingCooldownSeconds": _number(settings.training_cooldown_seconds),
        "MaxTrainingsPerDay": f"{settings.max_trainings_per_day}",
        "EndpointInstanceType": settings.sagemaker_instance_type,
        "ModelName": settings.model_name,
        "LogLevel": settings.log_level,
    }


def variables(parameters: Mapping[str, str]) -> dict[str, str]:
    """Those of a stack's parameters that are variables too, by the variables' names."""
    return {VARIABLES[name]: value for name, value in parameters.items() if name in VARIABLES and value}


def _number(value: float) -> str:
    """Without the zeros at its end, so that the same number is always written alike."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def origin(url: str) -> str:
    """The part of an address that browsers compare."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
