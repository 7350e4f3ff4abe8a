"""``python -m backend doctor``: its arguments, and what is done with them."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator

from backend.account import Account
from backend.aws import Aws
from backend.aws_clients import Clients
from backend.cli_provision import CommittedPipeline
from backend.cli_setup import Commands, project_id
from backend.config import Settings
from backend.console import Console
from backend.doctor_aws import AwsDoctor
from backend.doctor_label_studio import StudioDoctor
from backend.errors import BackendError, SettingsError
from backend.findings import Finding, State, ok, wrong
from backend.inspection import Inspection
from backend.label_studio_wiring import StudioWiring
from backend.probe import ask
from backend.provision import stack_name
from backend.stacks import Stacks


def add_doctor(commands: Commands) -> None:
    """``doctor``."""
    about = "examine settings, AWS, Label Studio and the backend, and say what to do where something is wrong"
    parser = commands.add_parser("doctor", help=about, description=f"{about[0].upper() + about[1:]}.")
    parser.set_defaults(command=_doctor, set=(), training_image="any", processing_image="any")
    parser.add_argument("--project", type=project_id, metavar="ID", help="only this one, connected or not")


def _doctor(options: argparse.Namespace) -> int:
    console, counts = Console(sys.stdout), dict.fromkeys(State, 0)
    for finding in _findings(options):
        counts[finding.state] += 1
        console.say(str(finding))
    console.say("\n" + ", ".join(f"{count} {state.value}" for state, count in counts.items()))
    return 1 if counts[State.WRONG] else 0


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    try:
        settings = Settings.from_env(os.environ, writes=False)
        clients, cloud = Clients.connect(), Aws(settings)
    except SettingsError as error:
        yield from (wrong("settings", problem) for problem in error.problems)
        return
    yield ok("settings", "all can be used")
    stacks = Stacks(clients.cloudformation)
    yield from AwsDoctor(
        settings=settings,
        account=Account(settings.sagemaker_pipeline, clients),
        details=Inspection(clients),
        stacks=stacks,
        pipelines=CommittedPipeline(options, cloud),
    ).findings()
    with contextlib.closing(StudioWiring(settings.label_studio_url, settings.label_studio_api_key)) as studio:
        yield from StudioDoctor(
            settings=settings,
            studio=studio,
            cloud=cloud,
            probe=ask,
            trigger=_trigger(stacks, settings),
            only=options.project,
        ).findings()


def _trigger(stacks: Stacks, settings: Settings) -> str:
    """The Lambda function's address; '' where there is none, or nobody may say."""
    try:
        stack = stacks.find(stack_name(settings, "trigger"))
    except BackendError:
        return ""
    return stack.outputs.get("WebhookUrl", "") if stack else ""
