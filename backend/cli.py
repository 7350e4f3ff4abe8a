"""``python -m backend COMMAND``: what is done beside the running service, with the service's own settings."""

import argparse
import logging
import sys
from collections.abc import Sequence

from backend.config import Settings
from backend.errors import BackendError, SettingsError

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
    _add_setup(commands)
    return parser


def _add_setup(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    setup = commands.add_parser("setup", help="make what a project needs in S3, SageMaker and Label Studio")
    setup.set_defaults(command=_setup)


def _setup(_options: argparse.Namespace) -> int:
    Settings.from_env()
    return 0
