"""The command line, and what a person is told when something foreseen goes wrong.

What a command needs is imported with it: the image of `play` has less than `run` and `check` need.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from demo.birds import LABELS
from demo.display import Display
from demo.errors import DemoError
from demo.pictures import BIRDS_TITLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

DATA = Path(".demo")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="The loop on this machine, without an AWS account."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the loop and keep it running until Ctrl-C")
    run.add_argument("--annotate", choices=("0", "1"), default="1", help="0: leave the annotating to you")
    run.add_argument("--images", type=Path, help="a folder with your own photos instead of synthetic birds")
    run.add_argument("--labels", help="with --images: your labels, separated by commas")
    check = commands.add_parser("check", help="run the loop without a person, measure it, and stop")
    for command in (run, check):
        command.add_argument(
            "--data", type=Path, default=DATA, help="folder for everything that is kept (default: .demo)"
        )
    play = commands.add_parser("play", help="annotate birds in a project that `python -m backend setup` made")
    play.add_argument("--title", default=BIRDS_TITLE, help=f"the project's (default: {BIRDS_TITLE})")
    play.add_argument("--label-studio-public-url", metavar="URL", help="as a person reaches it (LABEL_STUDIO_URL)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status. A person sees sentences, never a traceback, for what is foreseen."""
    options = parse(arguments)
    # SIGINT too: a shell starts its background jobs with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        again = "the same command" if options.command == "play" else "`make demo`"
        print(f"\nStopped. Everything is kept; {again} goes on from here.")
        return 0 if options.command == "run" else 130
    except DemoError as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _fail("The disk is full: make room and start again; nothing that was finished is lost.")
        return _fail(f"The demo cannot go on: {error}.")


def _run(options: argparse.Namespace) -> int:
    from demo.run import Options, run  # noqa: PLC0415

    wanted = Options(
        options.data.resolve(),
        annotate=options.annotate == "1",
        images=options.images,
        labels=chosen_labels(options.labels, options.images),
    )
    run(wanted, Display(), _isolate())
    return 0


def _check(options: argparse.Namespace) -> int:
    from demo.check import check  # noqa: PLC0415

    return check(options.data.resolve(), Display(), _isolate())


def _play(options: argparse.Namespace) -> int:
    from demo.play import play  # noqa: PLC0415

    play(options.title, Display(), os.environ, public_url=options.label_studio_public_url)
    return 0


_COMMANDS = {"run": _run, "check": _check, "play": _play}


def chosen_labels(labels: str | None, images: Path | None) -> tuple[str, ...]:
    """The labels that a person named, each once; the birds' if none.

    Raises:
        DemoError: labels are named without photos: the birds' polygons have labels of their own.
    """
    names = tuple(dict.fromkeys(name.strip() for name in (labels or "").split(",") if name.strip()))
    if names and images is None:
        message = f"LABELS={labels} are for your own photos: give IMAGES=folder too, or leave LABELS out."
        raise DemoError(message)
    return names or LABELS


def _isolate() -> dict[str, str]:
    """Keep the person's AWS account and proxies out of this process too; the environment for the services."""
    from demo.services import isolated_environment  # noqa: PLC0415

    environment = isolated_environment(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    return environment


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(message: str) -> int:
    print(f"\n{message}", file=sys.stderr)
    return 1
