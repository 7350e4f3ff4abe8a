"""``python -m backend destroy``: its arguments, and what is done with them."""

import argparse
import contextlib
import os
import sys

from backend.account import Account
from backend.attachments import Attachments
from backend.aws_clients import Clients
from backend.cli_setup import Commands
from backend.config import Settings
from backend.console import Console, agreed
from backend.deployment import settings_to_come
from backend.errors import LabelStudioError
from backend.label_studio_wiring import StudioWiring
from backend.ownership import Marks
from backend.rollout import Rollout
from backend.stacks import Stacks
from backend.teardown import Found, Teardown
from backend.unhooking import unhook


def add_destroy(commands: Commands) -> None:
    """``destroy``."""
    about = "take a deployment out of the AWS account, but for its bucket and model packages"
    again = "One that broke off goes on when it is run again."
    parser = commands.add_parser("destroy", help=about, description=f"{about[0].upper() + about[1:]}. {again}")
    parser.set_defaults(command=_destroy)
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is deleted")
    parser.add_argument(
        "--data", action="store_true", help="delete bucket and model packages too, with all that is in them"
    )
    parser.add_argument(
        "--leave-label-studio", action="store_true", help="its webhooks and ML backends stay as they are"
    )


def _destroy(options: argparse.Namespace) -> int:
    settings, console = settings_to_come(os.environ), Console(sys.stdout)
    clients = Clients.connect()
    teardown = Teardown(
        settings=settings,
        account=Account(settings.sagemaker_pipeline, clients),
        policies=Attachments(clients),
        rollout=Rollout(Stacks(clients.cloudformation), console),
        console=console,
        bucket_name=os.environ.get("S3_BUCKET", "").strip(),
    )
    found = teardown.find()
    if found.nothing and not (options.data and found.packages):
        beside = ", beside its models" if found.packages else ""
        console.say(f"There is nothing of {settings.sagemaker_pipeline} in region {clients.region}{beside}.")
        _tell_what_is_left(found, settings.sagemaker_pipeline, console)
        return 0
    for line in teardown.plan(found, data=options.data):
        console.say(line)
    if not agreed("\nGo on?", yes=options.yes, asked=sys.stdout, answers=sys.stdin):
        return 1
    if not options.leave_label_studio:
        _unhook(settings, teardown.marks(found), console)
    teardown.all(found, data=options.data)
    if not options.data:
        _tell_what_is_left(found, settings.sagemaker_pipeline, console)
    return 0


def _tell_what_is_left(found: Found, name: str, console: Console) -> None:
    left = [
        *([f"the bucket {found.bucket}"] if found.bucket else []),
        *(f"the models {each}" for each in found.packages),
    ]
    bucket = f"S3_BUCKET={found.bucket} " if found.bucket else ""
    command = f"{bucket}SAGEMAKER_PIPELINE={name} python -m backend destroy --data"
    if left:
        console.say(f"\nLeft: {', '.join(left)}. `{command}` deletes that too.")


def _unhook(settings: Settings, marks: Marks, console: Console) -> None:
    with contextlib.closing(StudioWiring(settings.label_studio_url, settings.label_studio_api_key)) as wiring:
        try:
            unhook(wiring, console, marks)
        except LabelStudioError as error:
            raise LabelStudioError(
                f"{error}\nNothing was deleted in AWS. Without Label Studio: --leave-label-studio"
            ) from error
