"""``python -m backend provision``: its arguments, and what is done with them."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.account import Account
from backend.aws import Aws
from backend.aws_clients import Clients
from backend.cli_pipeline import CommittedPipeline, add_pipeline, pipeline_env
from backend.cli_plan import plan
from backend.cli_setup import (
    Commands,
    add_project,
    add_storages,
    add_wait,
    farewell,
    storages,
    wanted_interface,
)
from backend.cli_wanted import Deployed, Wanted, check_reachable, wanted
from backend.config import Settings
from backend.console import Console, agreed
from backend.deployment import output, settings_to_come, stack_name
from backend.env_file import SECRETS, check_values, check_writable, service_env, write_env
from backend.inputs import backend_url, project_title, region_name
from backend.label_studio import Project
from backend.label_studio_setup import StudioSetup
from backend.label_studio_wiring import StudioWiring
from backend.lambda_package import build_package
from backend.local_images import find_images
from backend.provision import Provision
from backend.rollout import Rollout
from backend.setup import Setup
from backend.stacks import Stack, Stacks
from backend.switching import Switch

# How the services of docker-compose.yml call it; a deployment belongs to one Label Studio.
_IN_COMPOSE = {"LABEL_STUDIO_URL": "http://label-studio:8080"}
_LEFT_OUT = "\nLabel Studio was left out: the `setup` of docker-compose.yml makes the project and connects it."


def add_provision(commands: Commands) -> None:
    """``provision``."""
    about = "make all that a deployment needs in an AWS account, and a project in Label Studio"
    again = (
        "Safe to run again: what is there is found and mended, and stays as it was chosen unless you choose otherwise."
    )
    parser = commands.add_parser("provision", help=about, description=f"{about[0].upper() + about[1:]}. {again}")
    parser.set_defaults(command=_provision)
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    add_wait(parser)
    _add_deployment(parser.add_argument_group("the deployment, called SAGEMAKER_PIPELINE"))
    add_project(parser.add_argument_group("the project"))
    add_storages(parser.add_argument_group("its images and annotations in the bucket"))
    add_pipeline(parser.add_argument_group("the pipeline"))


def _add_deployment(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trigger",
        choices=("backend", "lambda"),
        help="what takes Label Studio's webhook: a backend that you run, or a Lambda function made here (at first "
        "backend, then as it was)",
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
    group.add_argument("--budget", metavar="USD", help="monthly cost of SageMaker to be warned of")
    moved = "the deployment goes on with a Label Studio that has moved, or with a former one's models"
    group.add_argument("--adopt", action="store_true", help=moved)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person gave, checked; nothing has been looked for yet."""

    options: argparse.Namespace
    title: str
    interface: str
    address: str  # the ML backend's, '' for none

    @classmethod
    def read(cls, options: argparse.Namespace) -> "Asked":
        """Check what can be checked on this machine.

        Raises:
            BackendError: something is not usable.
        """
        if options.images:
            find_images(options.images)
        if options.write_env:
            check_writable(options.write_env)
        address = backend_url(options.backend_url) if options.backend_url else ""
        return cls(options, project_title(options.title), wanted_interface(options), address)


def _provision(options: argparse.Namespace) -> int:
    console, asked, env = Console(sys.stdout), Asked.read(options), _environment(options)
    settings, clients = settings_to_come(env), Clients.connect()
    region_name(clients.region)
    rollout = Rollout(Stacks(clients.cloudformation), console)
    aim = wanted(options, env, Deployed.find(settings, rollout, Aws))
    _check(aim, options, clients.region)
    pipelines = CommittedPipeline(aim.pipeline, Aws(aim.settings))
    notes = pipelines.notes(aim.settings)
    provision = Provision(
        settings=aim.settings,
        bucket_name=env.get("S3_BUCKET", "").strip(),
        account=Account(aim.settings.sagemaker_pipeline, clients),
        rollout=rollout,
        pipelines=pipelines,
        console=console,
        open_bucket=Aws,
        adopt=options.adopt,
    )
    with contextlib.closing(StudioSetup(settings.label_studio_url, settings.label_studio_api_key)) as studio:
        if options.label_studio:
            console.patiently(studio.whoami, seconds=options.wait)
        for line in (*plan(options, aim, provision), *notes):
            console.say(line)
        check_reachable(aim, Aws)
        if not agreed("\nGo on?", yes=options.yes, asked=sys.stdout, answers=sys.stdin):
            return 1
        Work(asked, aim, provision, studio, console).do()
    return 0


def _check(aim: Wanted, options: argparse.Namespace, region: str) -> None:
    """What is used when the stacks are there can be used."""
    if options.label_studio:
        storages(options, aim.settings, Aws(aim.settings), aim.folders)
    if options.write_env:
        check_values(_written(aim, aim.settings, region))


def _written(aim: Wanted, settings: Settings, region: str) -> dict[str, str]:
    """What --write-env writes."""
    return {**service_env(settings, region), **pipeline_env(aim.pipeline)}


def _environment(options: argparse.Namespace) -> Mapping[str, str]:
    given = {name: value for name, value in os.environ.items() if value.strip()}
    named = {"LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"} & given.keys()
    return given if options.label_studio or named else {**_IN_COMPOSE, **given}


@dataclass(frozen=True, slots=True)
class Work:
    """What is done once the person has agreed."""

    asked: Asked
    wanted: Wanted
    provision: Provision
    studio: StudioSetup
    console: Console

    def do(self) -> None:
        """All of it."""
        options, wanted = self.asked.options, self.wanted
        core, settings = self.provision.core(wanted.core)
        if options.write_env:  # early, for a backend that has to be started with it before it can be connected
            write_env(options.write_env, _written(wanted, settings, self.provision.account.region))
        setup = Setup(settings, cloud=Aws(settings), studio=self.studio, console=self.console, patience=options.wait)
        if options.images:
            setup.images(options.images, wanted.folders.images)
        closing = self._in_label_studio(core, setup) if options.label_studio else [_LEFT_OUT]
        for line in (*self._settings_lines(settings, core), *closing):
            self.console.say(line)

    def _in_label_studio(self, core: Stack, setup: Setup) -> list[str]:
        """Project and webhook. Returns what comes next."""
        hook = self._hook(core, setup.settings)
        project, tasks = self._project(setup)
        self._switch(setup, project, hook)
        connect = f"When the backend runs: `python -m backend connect --title {self.asked.title!r} --backend-url URL`"
        last = farewell(self.wanted.public, project.id, tasks, setup.settings)
        return [last] if hook else [connect, last]

    def _hook(self, core: Stack, settings: Settings) -> str:
        """What hears the events, '' where nobody is there yet."""
        if self.wanted.trigger == "lambda":
            return self.provision.trigger(core, settings, build_package(), self.wanted.function)
        return f"{self.asked.address}/webhook" if self.asked.address else ""

    def _project(self, setup: Setup) -> tuple[Project, int]:
        """The project with its storages, and the number of its tasks."""
        images, annotations = storages(self.asked.options, setup.settings, Aws(setup.settings), self.wanted.folders)
        project = setup.project(self.asked.title, self.asked.interface)
        tasks = setup.source(project, images, presign=self.wanted.presign)
        setup.target(project, annotations)
        return project, tasks

    def _switch(self, setup: Setup, project: Project, hook: str) -> None:
        """All projects of the deployment send events to *hook*; a Lambda function that hears none any more goes."""
        settings, name = setup.settings, stack_name(setup.settings, "trigger")
        old = self.provision.rollout.settled(name) if self.wanted.trigger == "backend" else None
        with contextlib.closing(StudioWiring(settings.label_studio_url, settings.label_studio_api_key)) as wiring:
            switch = Switch(
                settings=settings,
                wiring=wiring,
                setup=setup,
                console=self.console,
                hook=hook,
                backend=self.asked.address,
                former=old.outputs.get("WebhookUrl", "") if old else "",
            )
            switch.over(project)
            for other in switch.others(project):
                self._take_along(other, setup)
                switch.over(other)
        if old is not None:
            self.provision.rollout.remove(name)
            self.console.item("stack", f"{name}: deleted")

    def _take_along(self, other: Project, setup: Setup) -> None:
        self.console.item("project", f"{other.title}: number {other.id}, of this deployment too")
        if self.wanted.trigger == "lambda":
            options, settings = self.asked.options, setup.settings
            setup.target(other, storages(options, settings, Aws(settings), self.wanted.folders)[1])

    def _settings_lines(self, settings: Settings, core: Stack) -> Iterator[str]:
        """What runs the backend needs to know; the secret part is in a file and in the secret alone."""
        file = self.asked.options.write_env
        if file:
            yield f"\nThe backend's settings, with token and password: {file}"
        elif self.wanted.trigger == "backend":
            yield "\nThe backend's settings:"
            yield from _open(service_env(settings, self.provision.account.region))
            secret = output(core, "SecretArn")
            yield f"  {', '.join(SECRETS)}: in the secret {secret}, or in a file with --write-env FILE"
        yield f"Policy for the backend's role or user: {output(core, 'BackendPolicyArn')}"
        yield f"Policy for Label Studio's role or user: {output(core, 'LabelStudioStoragePolicyArn')}"


def _open(values: Mapping[str, str]) -> Iterator[str]:
    yield from (f"  {name}={value}" for name, value in values.items() if name not in SECRETS)
