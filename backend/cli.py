"""``python -m backend COMMAND``: what is done beside the running service, with the service's own settings."""

import argparse
import logging
import sys
from collections.abc import Sequence

from backend.cli_destroy import add_destroy
from backend.cli_doctor import add_doctor
from backend.cli_predict import add_predict
from backend.cli_provision import add_provision
from backend.cli_setup import Commands, add_connect, add_setup, project_id
from backend.config import Settings
from backend.errors import BackendError, SettingsError
from backend.status import show_status

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 1 if it failed, 2 if it cannot start, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        status: int = options.command(options)
    except SettingsError as error:
        return _tell(error, USAGE)
    except BackendError as error:
        return _tell(error, FAILED)
    except KeyboardInterrupt:
        return _tell("interrupted", INTERRUPTED)
    return status


def _tell(what: object, status: int) -> int:
    sys.stdout.flush()  # so that it comes after what was said before
    sys.stderr.write(f"{what}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m backend", description="The ML backend's commands.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_setup(commands)
    add_connect(commands)
    _add_status(commands)
    add_predict(commands)
    add_provision(commands)
    add_doctor(commands)
    add_destroy(commands)
    return parser


def _add_status(commands: Commands) -> None:
    about = "show how projects stand: annotations, execution, models, endpoint, predictions"
    which = "All projects are shown that have this ML backend connected."
    status = commands.add_parser("status", help=about, description=f"{about[0].upper() + about[1:]}. {which}")
    status.set_defaults(command=_status)
    status.add_argument("--project", type=project_id, metavar="ID", help="only this one, connected or not")
    status.add_argument("--watch", action="store_true", help="go on, and tell every change until Ctrl-C")
    status.add_argument("--every", type=_interval, metavar="SECONDS", help="from look to look (POLL_SECONDS, 2 to 30)")


def _interval(text: str) -> float:
    seconds = float(text) if text.replace(".", "", 1).isdecimal() else 0.0
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"wanted seconds from 1 to 3600, got {text!r}")
    return seconds


def _status(options: argparse.Namespace) -> int:
    settings = Settings.from_env(writes=False)
    return show_status(settings, out=sys.stdout, project=options.project, watch=options.watch, every=options.every)
