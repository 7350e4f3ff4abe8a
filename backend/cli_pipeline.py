"""The pipeline as a person wants it: by an option, else by a variable, else as it was chosen before."""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.aws import Aws
from backend.config import Settings
from backend.errors import BackendError
from backend.provision import Parts
from pipeline.choice import PipelineChoice
from pipeline.publish import Artifacts, PublishError, Target, artifacts, parse_override, publish
from pipeline.rendering import committed_definition
from pipeline.spot import without_spot
from pipeline.warm_start import without_warm_start

_SWITCHES = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


def choice_key(definition_key: str) -> str:
    """Where the choice lies that a definition came of."""
    return f"{definition_key.removesuffix('.json')}-chosen.json"


def add_pipeline(group: argparse._ArgumentGroup) -> None:
    """What differs from the committed pipeline."""
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter's default")
    about = "what to train with: builtin, SageMaker's own, or segmenter, of which you give the image (builtin)"
    group.add_argument("--algorithm", metavar="NAME", help=about)
    group.add_argument("--image", metavar="ADDRESS", help="segmenter's image in ECR")
    about = "train on spot instances, which cost less and may wait"
    group.add_argument("--spot", action=argparse.BooleanOptionalAction, help=about)
    about = "begin each training with the live model: for segmenter, which the local SageMaker always trains with"
    group.add_argument("--warm-start", action=argparse.BooleanOptionalAction, help=about)
    group.add_argument("--processing-image", metavar="IMAGE", help="instead of AWS's PyTorch image")


def pipeline_choice(options: argparse.Namespace, before: PipelineChoice | None = None) -> PipelineChoice:
    """What is wanted of the pipeline, with what was chosen *before* where nothing is said of it now.

    Raises:
        BackendError: a parameter is not of the form NAME=VALUE, or a variable is neither true nor false.
    """
    env = os.environ.get
    variables = env("PIPELINE_PARAMETERS", "").split(",")
    by_variable = (before or PipelineChoice()).but(
        algorithm=env("ALGORITHM"),
        image=env("ALGORITHM_IMAGE"),
        spot=_switch("SPOT_TRAINING"),
        processing_image=env("PROCESSING_IMAGE") or None,
        warm_start=_switch("WARM_START"),
        overrides=_overrides("PIPELINE_PARAMETERS", [each for each in variables if each.strip()]),
    )
    return by_variable.but(
        algorithm=options.algorithm,
        image=options.image,
        spot=options.spot,
        processing_image=options.processing_image,
        warm_start=options.warm_start,
        overrides=_overrides("--set", options.set),
    )


def _switch(name: str) -> bool | None:
    given = os.environ.get(name, "").strip()
    if given and given.lower() not in _SWITCHES:
        raise BackendError(f"{name}: wanted true or false, got {given!r}")
    return _SWITCHES.get(given.lower())


def _overrides(where: str, texts: list[str]) -> dict[str, str]:
    try:
        return dict(parse_override(each.strip()) for each in texts)
    except PublishError as error:
        raise BackendError(f"{where}: {error}") from error


def pipeline_env(choice: PipelineChoice) -> dict[str, str]:
    """The variables by which a choice is found again, so that nothing that runs later undoes it."""
    return {
        "ALGORITHM": choice.algorithm,
        "ALGORITHM_IMAGE": choice.image,
        "SPOT_TRAINING": str(choice.spot).lower(),
        "PROCESSING_IMAGE": choice.processing_image,
        "WARM_START": "" if choice.warm_start is None else str(choice.warm_start).lower(),
        "PIPELINE_PARAMETERS": ",".join(f"{name}={value}" for name, value in choice.overrides.items()),
    }


def target(choice: PipelineChoice, settings: Settings, region: str) -> Target:
    """What the pipeline is to be like."""
    return Target(
        bucket=settings.s3_bucket,
        prefix=settings.s3_prefix,
        role_arn=settings.sagemaker_role_arn,
        region=region,
        pipeline=settings.sagemaker_pipeline,
        choice=choice,
    )


def check(target: Target) -> Artifacts:
    """What the pipeline is made of, if it can be made.

    Raises:
        BackendError: the algorithm, its image or a parameter is wrong, or the region has no image.
    """
    try:
        return artifacts(target, committed_definition())
    except PublishError as error:
        raise BackendError(str(error)) from error


def training_instance(choice: PipelineChoice) -> str:
    """What a training runs on."""
    defaults = {each["Name"]: each.get("DefaultValue") for each in committed_definition()["Parameters"]}
    return str(choice.overrides.get("TrainingInstanceType") or defaults["TrainingInstanceType"])


@dataclass(frozen=True, slots=True)
class CommittedPipeline:
    """The committed pipeline with what a person wants otherwise."""

    choice: PipelineChoice
    cloud: Aws

    def parts(self, settings: Settings) -> Parts:
        """What it is made of.

        Raises:
            BackendError: the algorithm, its image or a parameter is wrong, or the region has no image.
        """
        made = self._made(settings)
        objects = {
            made.script_key: made.script,
            made.definition_key: made.definition.encode(),
            choice_key(made.definition_key): self.choice.written(),
        }
        return Parts(objects=objects, definition=json.loads(made.definition), definition_key=made.definition_key)

    def notes(self, settings: Settings) -> tuple[str, ...]:
        """What to know of it."""
        return self._made(settings).notes

    def _made(self, settings: Settings) -> Artifacts:
        return check(target(self.choice, settings, self.cloud.region))

    def plain(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """A definition as it was before a person's choice of spot instances and of where training begins."""
        return without_warm_start(without_spot(definition))

    def publish(self, settings: Settings) -> None:
        """Put it there whatever is there."""
        wanted = target(self.choice, settings, self.cloud.region)
        self.cloud.lend(lambda s3, sagemaker: publish(wanted, committed_definition(), s3=s3, sagemaker=sagemaker))
