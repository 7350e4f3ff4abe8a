"""The walk through the loop: sixteen annotations, and everything that follows from them."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Protocol

from demo.birds import to_regions
from demo.errors import DemoError
from demo.limits import TRAIN_AT
from demo.pictures import bird_scene, bird_seed, is_bird
from demo.trouble import NO_GOOD_ANSWER, in_words
from demo.watch import Progress, Watch, changes, now

if TYPE_CHECKING:
    from demo.display import Display
    from demo.labelling import Labelling

LOOK_EVERY_S = 1.0
FOLLOW_EVERY_S = 3.0
PATIENCE_S = 15 * 60.0
"""An unattended walk gives up if the predictions are not there this long after the last annotation."""


WITH_MODEL = """\
  * any task that is not annotated: it opens with the polygons drawn; correct and submit them
  * Settings > Model: the connected backend and the version of the model that serves
  * annotate 16 more: the next training starts by itself, and the better model takes over"""
"""What there is to see, once a model serves."""


class Host(Protocol):
    """Where the walk happens, such as a Stack: where it is told, and what has to live meanwhile."""

    @property
    def display(self) -> Display:
        """Where it is told."""

    @property
    def logs(self) -> str:
        """Where a person finds out more."""

    def require_alive(self) -> None:
        """Raise DemoError if a service has ended."""

    def sleep(self, seconds: float) -> None:
        """Wait, and notice a service that has ended."""

    def blame(self, error: Exception) -> None:
        """Raise DemoError if *error* comes of a service that has ended."""


def annotate(host: Host, labelling: Labelling, project: int, *, count: int = TRAIN_AT) -> int:
    """Submit annotations of birds, one after the other, until *count* tasks have one; how many were new.

    The polygons are the birds' own, and the lead times those of a person who draws four polygons.
    """
    tasks = labelling.tasks(project)
    done = sum(task.annotations > 0 for task in tasks)
    birds = [task for task in tasks if task.annotations == 0 and is_bird(task.key)]
    wanted = birds[: max(0, count - done)]
    times = random.Random(project)
    with host.display.step(f"{count} annotations"):
        for number, task in enumerate(wanted, start=done + 1):
            host.require_alive()
            regions = to_regions(bird_scene(bird_seed(task.key)))
            labelling.submit(task.id, regions, lead_time_s=round(times.uniform(25, 70), 1))
            host.display.status(f"  annotations {number}/{count}")
    told = f"  annotations {done + len(wanted)}/{count}"
    host.display.line(told if wanted else f"{told} (from an earlier start)")
    return len(wanted)


def wait_for_predictions(
    host: Host, lookout: Watch, *, patience_s: float = PATIENCE_S, every_s: float = LOOK_EVERY_S
) -> Progress:
    """Tell what happens until every waiting task has its prediction; the state then.

    A failed execution is waited through if the backend tries again.

    Raises:
        DemoError: the last attempt failed, a service ended, or it took longer than *patience_s*.
    """
    deadline = time.monotonic() + patience_s
    before, progress = Progress(), _look(host, lookout, deadline=deadline)
    earlier = _train_anew(host, lookout, progress)
    while not _tell(host.display, before, progress, threshold=lookout.train_at):
        standing = now(progress, threshold=lookout.train_at) if time.monotonic() > deadline else ""
        _require_hope(progress, earlier=earlier, late=standing, logs=host.logs)
        host.sleep(every_s)
        before, progress = progress, _look(host, lookout, deadline=deadline)
    return progress


def _look(host: Host, lookout: Watch, *, deadline: float = math.inf) -> Progress:
    """The state now; services that live and for once give no good answer are asked again until *deadline*."""
    while True:
        try:
            return lookout.look()
        except NO_GOOD_ANSWER as error:
            host.blame(error)
            if time.monotonic() > deadline:
                raise
            host.display.status(f"  {in_words(error)}; asked again ...")
            host.sleep(LOOK_EVERY_S)


def _train_anew(host: Host, lookout: Watch, progress: Progress) -> str:
    """Ask for a training if an earlier start's last attempt failed, since nothing would follow it; its ARN or ""."""
    execution = progress.execution
    if progress.served or execution is None or not execution.failed or execution.retried:
        return ""
    host.display.line(f"  pipeline    {execution.name} ended as {execution.status} earlier: training is asked for anew")
    lookout.labelling.start_training(lookout.project)
    return execution.arn


def _require_hope(progress: Progress, *, earlier: str, late: str, logs: str) -> None:
    """Raise DemoError if nothing more is to be waited for, or it is too *late*: then that says how it stands."""
    execution = progress.execution
    if execution is not None and execution.failed and not execution.retried and execution.arn != earlier:
        reason = execution.reason or "no reason given"
        message = (
            f"Execution {execution.name} ended as {execution.status}: {reason} (logs: {logs}). "
            "It is not tried again by itself; the next start asks for it again."
        )
        raise DemoError(message)
    if late:
        message = f"The predictions did not come in time; it stands at{late} (logs: {logs})"
        raise DemoError(message)


def follow(host: Host, lookout: Watch) -> None:
    """Tell what happens for as long as the services live: until Ctrl-C.

    Raises:
        DemoError: a service ended.
    """
    before = _look(host, lookout)
    while True:
        host.display.status(now(before, threshold=lookout.train_at) + "   (Ctrl-C stops everything)")
        host.sleep(FOLLOW_EVERY_S)
        progress = _look(host, lookout)
        for line in changes(before, progress):
            host.display.line(line)
        before = progress


def _tell(display: Display, before: Progress, after: Progress, *, threshold: int) -> bool:
    """Tell what happened between two looks; whether the loop has come to its end."""
    for line in changes(before, after):
        display.line(line)
    if not after.served:
        display.status(now(after, threshold=threshold))
    return after.served
