"""``python -m backend predict``: its arguments, and what is done with them."""

import argparse
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from backend.aws import Aws
from backend.bulk import Bulk
from backend.cli_setup import Commands, project_id
from backend.config import Settings
from backend.console import Console
from backend.images import Images
from backend.label_studio import LabelStudio
from backend.predictor import Predictor


def add_predict(commands: Commands) -> None:
    """``predict``."""
    about = "predict every task that waits and lacks a prediction of the model that serves"
    more = "Ctrl-C stops it and loses nothing that was predicted; another run goes on with the rest."
    parser = commands.add_parser("predict", help=about, description=f"{about[0].upper() + about[1:]}. {more}")
    parser.set_defaults(command=_predict)
    parser.add_argument("--project", type=project_id, metavar="ID", required=True, help="the project")


def _predict(options: argparse.Namespace) -> int:
    logging.getLogger("backend.predictor").setLevel(logging.ERROR)  # each task is told of once, at the end
    settings = Settings.from_env()
    cloud, console = Aws(settings), Console(sys.stdout)
    with contextlib.closing(LabelStudio(settings.label_studio_url, settings.label_studio_api_key)) as studio:
        bulk = Bulk(
            settings=settings,
            project=options.project,
            studio=studio,
            registry=cloud,
            predictor=Predictor(settings, inference=cloud, images=Images(settings, store=cloud, files=studio)),
            console=console,
        )
        with interruptible() as interrupted:
            complete = bulk.run(interrupted)
            if interrupted():
                raise KeyboardInterrupt
    return 0 if complete else 1


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], float]]:
    """Let Ctrl-C and SIGTERM ask for an end, the first time; it yields what tells when that was, 0 until then.

    The second time they end it at once, as they do where nothing is said.
    """
    asked = 0.0

    def heard(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = time.monotonic()

    heeded = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, heard) for each in heeded}
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
