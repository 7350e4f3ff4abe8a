"""What a person wants of ``provision``: by an option, else by a variable, else as it is deployed."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from backend.cli_pipeline import choice_key, pipeline_choice
from backend.cli_setup import folders, public_url
from backend.config import Settings
from backend.deployment import (
    STUDIO_TAG,
    VARIABLES,
    Trigger,
    check_name,
    check_ours,
    origin,
    settings_to_come,
    stack_name,
    trigger_settings,
    variables,
)
from backend.errors import BackendError
from backend.inputs import (
    FOLDERS,
    Folders,
    email_address,
    instance_type,
    monthly_budget,
    networks,
    stack_folder,
)
from backend.rollout import Rollout
from backend.stacks import Stack
from pipeline.algorithms import repository_arn
from pipeline.choice import PipelineChoice

_OPTIONS = {
    "ImagesPrefix": "--images-prefix",
    "AnnotationsPrefix": "--annotations-prefix",
    "LabelStudioOrigin": "--presign",
    "NotificationEmail": "--email",
    "MonthlyBudgetUsd": "--budget",
    "DeployEndpoints": "--endpoint",
    "AllowedIps": "--allowed-ips",
}
_CALLED = VARIABLES | _OPTIONS


class Objects(Protocol):
    """What is read from the bucket."""

    def has_object(self, key: str) -> bool: ...
    def has_objects(self, prefix: str) -> bool: ...
    def get_object(self, bucket: str, key: str) -> bytes: ...


Open = Callable[[Settings], Objects]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What is there already, and what was chosen for it; *pipeline* is None where nobody knows."""

    core: Stack | None = None
    trigger: Stack | None = None
    pipeline: PipelineChoice | None = None

    @classmethod
    def find(cls, settings: Settings, rollout: Rollout, open_bucket: Open) -> "Deployed":
        """The deployment of this name, when CloudFormation is not at work on it.

        Raises:
            BackendError: the name is none for stacks, or somebody else's stack has it.
        """
        check_name(settings)
        core, trigger = (rollout.settled(stack_name(settings, layer)) for layer in ("core", "trigger"))
        for stack in (core, trigger):
            if stack is not None:
                check_ours(stack, settings)
        if core is None or core.unusable:
            return cls(trigger=trigger)
        return cls(core=core, trigger=trigger, pipeline=_chosen(core, settings, open_bucket))

    @property
    def parameters(self) -> dict[str, str]:
        """Those of both stacks that a person chooses."""
        found = {**_parameters(self.trigger), **_parameters(self.core)}
        return {name: value for name, value in found.items() if name in _CALLED}

    @property
    def variables(self) -> dict[str, str]:
        """The parameters that are variables too."""
        return variables(self.parameters)

    @property
    def folders(self) -> Folders:
        """Where images and annotations lie."""
        known = self.parameters
        images, annotations = known.get("ImagesPrefix"), known.get("AnnotationsPrefix")
        return Folders(
            f"{images}/" if images else FOLDERS.images, f"{annotations}/" if annotations else FOLDERS.annotations
        )

    @property
    def hears(self) -> Trigger:
        """What takes Label Studio's webhook; a stack that was to go, and has not gone, does not."""
        return "lambda" if self.trigger is not None and self.trigger.status != "DELETE_FAILED" else "backend"

    @property
    def serves(self) -> bool:
        """Whether the Lambda function makes endpoints."""
        return self.parameters.get("DeployEndpoints") == "true"


def _parameters(stack: Stack | None) -> Mapping[str, str]:
    return stack.parameters if stack is not None else {}


def _chosen(core: Stack, settings: Settings, open_bucket: Open) -> PipelineChoice | None:
    key, bucket = core.parameters.get("PipelineDefinitionKey", ""), core.outputs.get("BucketName", "")
    if not key or not bucket:
        return None
    objects = open_bucket(replace(settings, s3_bucket=bucket))
    chosen = choice_key(key)
    return PipelineChoice.read(objects.get_object(bucket, chosen)) if objects.has_object(chosen) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the deployment is to be. *core* and *function* are parameters of the stacks beside those of the settings.

    *label_studio* is whether its part is done, and the Lambda function's with it.
    """

    settings: Settings
    deployed: Deployed
    trigger: Trigger
    folders: Folders
    pipeline: PipelineChoice
    public: str
    core: Mapping[str, str]
    function: Mapping[str, str]
    label_studio: bool

    @property
    def presign(self) -> bool:
        """Whether browsers fetch images from S3."""
        return bool(self.core["LabelStudioOrigin"])

    @property
    def serves(self) -> bool:
        """Whether the Lambda function is to make endpoints."""
        return self.function.get("DeployEndpoints", str(self.deployed.serves).lower()) == "true"

    def changes(self) -> dict[str, tuple[str, str]]:
        """What was chosen otherwise before, by option or variable: the old and the new."""
        if self.deployed.core is None:
            return {}
        before, after = dict(self.deployed.parameters), dict(self.core)
        if self.label_studio and self.trigger == self.deployed.hears == "lambda":
            after |= {**trigger_settings(self.settings), **self.function}
        pairs = {_CALLED[name]: (before.get(name, ""), value) for name, value in after.items() if name in _CALLED}
        return {name: pair for name, pair in {**pairs, **self._of_pipeline()}.items() if pair[0] != pair[1]}

    def _of_pipeline(self) -> dict[str, tuple[str, str]]:
        if self.deployed.pipeline is None:
            return {}
        before, after = self.deployed.pipeline.told(), self.pipeline.told()
        return {name: (before.get(name, ""), after.get(name, "")) for name in {**before, **after}}


def wanted(options: argparse.Namespace, env: Mapping[str, str], deployed: Deployed) -> Wanted:
    """What the person asks for, checked; it is deployed as it was where the person says nothing.

    Raises:
        BackendError: something is not usable, or does not go with the rest.
    """
    given = {name: value for name, value in env.items() if value.strip()}
    settings = settings_to_come({**deployed.variables, **given})
    trigger, function = options.trigger or deployed.hears, _function(options)
    _check_together(options, trigger, deployed)
    stack_folder(settings.s3_prefix, "S3_PREFIX")
    instance_type(settings.sagemaker_instance_type)
    places, pipeline = folders(options, settings, deployed.folders), pipeline_choice(options, deployed.pipeline)
    prefixes = {
        "ImagesPrefix": stack_folder(places.images, "--images-prefix"),
        "AnnotationsPrefix": stack_folder(places.annotations, "--annotations-prefix"),
    }
    public = public_url(options, settings)
    return Wanted(
        settings=settings,
        deployed=deployed,
        trigger=trigger,
        folders=places,
        pipeline=pipeline,
        public=public,
        core={
            **prefixes,
            "LabelStudioOrigin": _origin(options, public, deployed),
            "ImageRepositoryArn": repository_arn(pipeline.image),
            **_notifications(options),
        },
        function={**prefixes, **function},
        label_studio=options.label_studio,
    )


def _check_together(options: argparse.Namespace, trigger: Trigger, deployed: Deployed) -> None:
    for given, instead in _for_the_function(options):
        if trigger != "lambda":
            raise BackendError(f"{given} is for the Lambda function: wanted --trigger lambda; {instead}")
        if not options.label_studio:
            raise BackendError(
                f"{given} is for the Lambda function, and --no-label-studio leaves that as it is: wanted one"
            )
    if options.label_studio:
        return
    switches = options.trigger == "lambda" or (options.trigger == "backend" and deployed.trigger is not None)
    if switches or options.backend_url:
        given = "--backend-url" if options.backend_url else f"--trigger {trigger}"
        raise BackendError(
            f"{given} connects Label Studio with something, and --no-label-studio leaves that out: wanted one"
        )


def _for_the_function(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The options that are for the Lambda function alone, each with how it is with a backend."""
    if options.endpoint is not None:
        yield "--endpoint" if options.endpoint else "--no-endpoint", "a backend makes its endpoints"
    if options.allowed_ips is not None:
        yield "--allowed-ips", "who reaches a backend is up to the network that it runs in"


def _origin(options: argparse.Namespace, public: str, deployed: Deployed) -> str:
    """From where browsers fetch images; '' where Label Studio hands them on."""
    before = deployed.parameters.get("LabelStudioOrigin", "")
    presign = bool(before) if options.presign is None else options.presign
    if not presign:
        return ""
    moved = deployed.core is not None and before == origin(deployed.core.tags.get(STUDIO_TAG, ""))
    return origin(public) if options.label_studio_public_url or moved or not before else before


def _notifications(options: argparse.Namespace) -> dict[str, str]:
    given = {}
    if options.email is not None:
        given["NotificationEmail"] = email_address(options.email)
    if options.budget is not None:
        given["MonthlyBudgetUsd"] = monthly_budget(options.budget)
    return given


def _function(options: argparse.Namespace) -> dict[str, str]:
    given = {}
    if options.endpoint is not None:
        given["DeployEndpoints"] = "true" if options.endpoint else "false"
    if options.allowed_ips is not None:
        given["AllowedIps"] = networks(options.allowed_ips)
    return given


def check_reachable(wanted: Wanted, open_bucket: Open) -> None:
    """What lies in the deployment's folders stays where it is looked for.

    Raises:
        BackendError: a folder that has something in it is to be another one.
    """
    core, before = wanted.deployed.core, wanted.deployed.folders
    if core is None or before == wanted.folders:
        return
    objects = open_bucket(replace(wanted.settings, s3_bucket=core.outputs["BucketName"]))
    changed = (
        ("--images-prefix", before.images, wanted.folders.images),
        ("--annotations-prefix", before.annotations, wanted.folders.annotations),
    )
    for option, old, new in changed:
        if old != new and objects.has_objects(old):
            raise BackendError(
                f"{option}: what this deployment has lies in {old}, and Label Studio knows it by that name; in {new} "
                f"nobody would look for it: leave {option} out, or choose another SAGEMAKER_PIPELINE for another "
                "deployment"
            )
