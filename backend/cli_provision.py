"""``python -m backend provision``: its arguments, and what is done with them."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.account import Account
from backend.aws import Aws
from backend.aws_clients import Clients
from backend.cli_setup import (
    Commands,
    add_pipeline,
    add_project,
    add_storages,
    check,
    farewell,
    overrides,
    pipeline_env,
    public_url,
    storages,
    target,
    wanted_interface,
)
from backend.config import Settings
from backend.console import Console, agreed
from backend.costs import Use, cost_lines
from backend.env_file import SECRETS, service_env, write_env
from backend.errors import BackendError
from backend.inputs import backend_url, key_prefix, project_title
from backend.label_studio import Project
from backend.label_studio_setup import StudioSetup
from backend.label_studio_wiring import StudioWiring
from backend.lambda_package import build_package
from backend.provision import Parts, Provision, origin, settings_to_come, stack_name
from backend.rollout import Rollout
from backend.setup import Setup
from backend.stacks import Stack, Stacks
from backend.switching import Switch
from pipeline.algorithms import repository_arn
from pipeline.publish import Artifacts, publish
from pipeline.rendering import committed_definition
from pipeline.spot import without_spot

# How the services of docker-compose.yml call it; a deployment belongs to one Label Studio.
_IN_COMPOSE = {"LABEL_STUDIO_URL": "http://label-studio:8080"}
_LEFT_OUT = "\nLabel Studio was left out: the `setup` of docker-compose.yml makes the project and connects it."


def add_provision(commands: Commands) -> None:
    """``provision``."""
    about = "make all that a deployment needs in an AWS account, and a project in Label Studio"
    again = "Safe to run again: what is there is found, and mended where it differs."
    parser = commands.add_parser("provision", help=about, description=f"{about[0].upper() + about[1:]}. {again}")
    parser.set_defaults(command=_provision)
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for what does not answer yet (60)")
    _add_deployment(parser.add_argument_group("the deployment, called SAGEMAKER_PIPELINE"))
    add_project(parser.add_argument_group("the project"))
    add_storages(parser.add_argument_group("its images and annotations in the bucket"))
    add_pipeline(parser.add_argument_group("the pipeline"))


def _add_deployment(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trigger",
        choices=("backend", "lambda"),
        default="backend",
        help="what takes Label Studio's webhook: a backend that you run, or a Lambda function made here (backend)",
    )
    group.add_argument("--backend-url", metavar="URL", help="that backend as Label Studio reaches it, to be connected")
    group.add_argument(
        "--endpoint",
        action=argparse.BooleanOptionalAction,
        help="the Lambda function serves models too, for who calls the endpoint without a backend; a backend makes "
        "endpoints of its own (at first no, then as it was)",
    )
    group.add_argument(
        "--label-studio",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make the project there (yes); without, `docker compose up` does it, with what --write-env wrote",
    )
    group.add_argument("--write-env", type=Path, metavar="FILE", help="write the backend's settings there, mode 600")
    group.add_argument("--allowed-ips", metavar="LIST", help="from where the Lambda function's address may be called")
    group.add_argument("--email", metavar="ADDRESS", help="who is told of trainings and failures")
    group.add_argument("--budget", type=float, metavar="USD", help="monthly cost of SageMaker to be warned of")
    group.add_argument("--adopt", action="store_true", help="the deployment goes on with a Label Studio that has moved")


@dataclass(frozen=True, slots=True)
class CommittedPipeline:
    """The committed pipeline with what a person wants otherwise."""

    options: argparse.Namespace
    cloud: Aws

    def parts(self, settings: Settings) -> Parts:
        """What it is made of.

        Raises:
            BackendError: the algorithm, its image or a parameter is wrong, or the region has no image.
        """
        made = self._made(settings)
        objects = {made.script_key: made.script, made.definition_key: made.definition.encode()}
        return Parts(objects=objects, definition=json.loads(made.definition), definition_key=made.definition_key)

    def notes(self, settings: Settings) -> tuple[str, ...]:
        """What to know of it."""
        return self._made(settings).notes

    def _made(self, settings: Settings) -> Artifacts:
        return check(target(self.options, settings, self.cloud.region))

    def plain(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """A definition as it was before a person's choice of spot instances."""
        return without_spot(definition)

    def publish(self, settings: Settings) -> None:
        """Put it there whatever is there."""
        wanted = target(self.options, settings, self.cloud.region)
        self.cloud.lend(lambda s3, sagemaker: publish(wanted, committed_definition(), s3=s3, sagemaker=sagemaker))


def _provision(options: argparse.Namespace) -> int:
    console, settings = Console(sys.stdout), settings_to_come(_environment(options))
    # What people gave is checked before anything is made.
    title, interface, public = project_title(options.title), wanted_interface(options), public_url(options, settings)
    address = backend_url(options.backend_url) if options.backend_url else ""
    _check_options(options)
    parameters = _core_parameters(options, settings, public)
    clients, cloud = Clients.connect(), Aws(settings)
    pipelines = CommittedPipeline(options, cloud)
    notes = pipelines.notes(settings)
    provision = Provision(
        settings=settings,
        bucket_name=os.environ.get("S3_BUCKET", "").strip(),
        account=Account(settings.sagemaker_pipeline, clients),
        rollout=Rollout(Stacks(clients.cloudformation), console),
        pipelines=pipelines,
        console=console,
        open_bucket=Aws,
        adopt=options.adopt,
    )
    studio = StudioSetup(settings.label_studio_url, settings.label_studio_api_key)
    with contextlib.closing(studio):
        if options.label_studio:
            console.patiently(studio.whoami, seconds=options.wait)
        if not _agreed(options, provision, notes, console):
            return 1
        core, settings = provision.core(parameters)
        if options.write_env:  # early, for a backend that has to be started with it before it can be connected
            write_env(options.write_env, {**service_env(settings, clients.region), **pipeline_env(options)})
        setup = Setup(settings, cloud=Aws(settings), studio=studio, console=console, patience=options.wait)
        if options.images:
            setup.images(options.images, storages(options, settings, Aws(settings))[0].prefix)
        if not options.label_studio:
            _tell(console, [*_settings_lines(options, settings, clients.region, core), _LEFT_OUT])
            return 0
        hook = _function(options, provision, core, settings) or (f"{address}/webhook" if address else "")
        project, tasks = _project(options, setup, title, interface)
        _switch(options, provision, setup, project, hook=hook, backend=address)
    _tell(console, _settings_lines(options, settings, clients.region, core))
    if not hook:
        console.say(f"When the backend runs: `python -m backend connect --title {title!r} --backend-url URL`")
    console.say(farewell(public, project.id, tasks, settings))
    return 0


def _environment(options: argparse.Namespace) -> Mapping[str, str]:
    return os.environ if options.label_studio else {**_IN_COMPOSE, **os.environ}


def _tell(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.say(line)


def _core_parameters(options: argparse.Namespace, settings: Settings, public: str) -> dict[str, str]:
    """The parameters of core.yaml that a person gave, or that follow from what the person gave."""
    given = {
        **_folders(options, settings),
        "LabelStudioOrigin": origin(public) if options.presign else "",
        "ImageRepositoryArn": repository_arn(options.image),
    }
    if options.email is not None:
        given["NotificationEmail"] = options.email
    if options.budget is not None:
        given["MonthlyBudgetUsd"] = f"{options.budget:g}"
    return given


def _check_options(options: argparse.Namespace) -> None:
    if options.endpoint is not None and options.trigger != "lambda":
        given = "--endpoint" if options.endpoint else "--no-endpoint"
        raise BackendError(
            f"{given} is for the Lambda function: wanted --trigger lambda; a backend makes its endpoints"
        )
    if not options.label_studio and (options.trigger == "lambda" or options.backend_url):
        given = "--backend-url" if options.backend_url else "--trigger lambda"
        raise BackendError(
            f"{given} connects Label Studio with something, and --no-label-studio leaves that out: wanted one"
        )


def _folders(options: argparse.Namespace, settings: Settings) -> dict[str, str]:
    own = settings.s3_prefix
    return {
        "ImagesPrefix": key_prefix(options.images_prefix, "--images-prefix", own=own).rstrip("/"),
        "AnnotationsPrefix": key_prefix(options.annotations_prefix, "--annotations-prefix", own=own).rstrip("/"),
    }


def _agreed(options: argparse.Namespace, provision: Provision, notes: tuple[str, ...], console: Console) -> bool:
    for line in (*plan(options, provision), *notes):
        console.say(line)
    return agreed("\nGo on?", yes=options.yes, asked=sys.stdout, answers=sys.stdin)


def plan(options: argparse.Namespace, provision: Provision) -> Iterator[str]:
    """What will be made, and about what it costs."""
    settings, identity = provision.settings, provision.account.identity()
    there = provision.check() is not None
    what = "brought up to date" if there else "made"
    yield f"As {identity.arn} in account {identity.account}, region {provision.account.region}, is {what}:"
    yield f"  {stack_name(settings, 'core'):<44} bucket, roles, policies, pipeline, secret, notifications, alarms"
    trigger = provision.rollout.stacks.find(stack_name(settings, "trigger"))
    if options.trigger == "lambda":
        yield f"  {stack_name(settings, 'trigger'):<44} Lambda function, API with a password, event rules"
    elif trigger is not None:
        yield f"  {trigger.name:<44} is deleted: a backend takes Label Studio's webhook"
    if options.endpoint is False and _deployed_until_now(trigger):
        yield f"  {'endpoints':<44} those that are there stay and cost, until somebody deletes them"
    wired = ", webhook, ML backend" if options.backend_url else ", webhook" if options.trigger == "lambda" else ""
    if options.label_studio:
        yield f"  {settings.label_studio_url:<44} project {options.title!r}, its storages{wired}"
    yield ""
    yield from cost_lines(
        Use(
            trigger=options.trigger,
            training_instance=_training_instance(options),
            spot=options.spot,
            endpoint_instance=settings.sagemaker_instance_type,
            endpoint=_has_endpoint(options, trigger),
        )
    )


def _has_endpoint(options: argparse.Namespace, trigger: Stack | None) -> bool:
    """Whether what is made here comes to an endpoint: by the backend, or by the Lambda function."""
    if options.trigger == "backend" or options.backend_url:
        return True
    return _deployed_until_now(trigger) if options.endpoint is None else bool(options.endpoint)


def _deployed_until_now(trigger: Stack | None) -> bool:
    return trigger is not None and trigger.parameters.get("DeployEndpoints") == "true"


def _training_instance(options: argparse.Namespace) -> str:
    chosen = overrides(options)
    parameters = {each["Name"]: each.get("DefaultValue") for each in committed_definition()["Parameters"]}
    return str(chosen.get("TrainingInstanceType") or parameters["TrainingInstanceType"])


def _function(options: argparse.Namespace, provision: Provision, core: Stack, settings: Settings) -> str:
    """The address of the Lambda function; '' where a backend takes the webhook."""
    if options.trigger != "lambda":
        return ""
    return provision.trigger(core, settings, build_package(), trigger_parameters(options, settings))


def _switch(
    options: argparse.Namespace, provision: Provision, setup: Setup, project: Project, *, hook: str, backend: str
) -> None:
    """All projects of the deployment send their events to *hook*; a Lambda function that hears none any more goes."""
    settings, name = setup.settings, stack_name(setup.settings, "trigger")
    old = provision.rollout.settled(name) if options.trigger == "backend" else None
    with contextlib.closing(StudioWiring(settings.label_studio_url, settings.label_studio_api_key)) as wiring:
        switch = Switch(
            settings=settings,
            wiring=wiring,
            setup=setup,
            console=provision.console,
            hook=hook,
            backend=backend,
            former=old.outputs.get("WebhookUrl", "") if old else "",
        )
        switch.over(project)
        for other in switch.others(project):
            provision.console.item("project", f"{other.title}: number {other.id}, of this deployment too")
            if options.trigger == "lambda":
                setup.target(other, storages(options, settings, Aws(settings))[1])
            switch.over(other)
    if old is not None:
        provision.rollout.remove(name)
        provision.console.item("stack", f"{name}: deleted")


def trigger_parameters(options: argparse.Namespace, settings: Settings) -> dict[str, str]:
    """The parameters of trigger.yaml that a person gave; what is left out stays as it was."""
    given = _folders(options, settings)
    if options.endpoint is not None:
        given["DeployEndpoints"] = "true" if options.endpoint else "false"
    if options.allowed_ips is not None:
        given["AllowedIps"] = options.allowed_ips
    return given


def _project(options: argparse.Namespace, setup: Setup, title: str, interface: str) -> tuple[Project, int]:
    """The project with its storages, and the number of its tasks."""
    images, annotations = storages(options, setup.settings, Aws(setup.settings))
    project = setup.project(title, interface)
    tasks = setup.source(project, images, presign=options.presign)
    setup.target(project, annotations)
    return project, tasks


def _settings_lines(options: argparse.Namespace, settings: Settings, region: str, core: Stack) -> Iterator[str]:
    """What runs the backend needs to know; the secret part is in a file and in the secret alone."""
    if options.write_env:
        yield f"\nThe backend's settings, with token and password: {options.write_env}"
    elif options.trigger == "backend":
        yield "\nThe backend's settings:"
        yield from _open(service_env(settings, region))
        yield f"  {', '.join(SECRETS)}: in the secret {core.outputs['SecretArn']}, or in a file with --write-env FILE"
    yield f"Policy for the backend's role or user: {core.outputs['BackendPolicyArn']}"
    yield f"Policy for Label Studio's role or user: {core.outputs['LabelStudioStoragePolicyArn']}"


def _open(values: Mapping[str, str]) -> Iterator[str]:
    yield from (f"  {name}={value}" for name, value in values.items() if name not in SECRETS)
