"""The walk through the loop: a project with images, sixteen annotations, and everything that follows from them."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.birds import LABELS, to_regions
from demo.errors import DemoError
from demo.labelling import BackendAddress, Bucket, Labelling, label_config
from demo.limits import BIRD_COUNT, TRAIN_AT
from demo.pictures import Picture, bird_pictures, bird_scene, bird_seed, photo_pictures, upload
from demo.services import BACKEND_USER, BUCKET, PIPELINE, REGION
from demo.trouble import NO_GOOD_ANSWER, in_words
from demo.watch import Progress, Watch, changes, now

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from demo.display import Display
    from demo.stack import Stack

LOOK_EVERY_S = 1.0
FOLLOW_EVERY_S = 3.0
PATIENCE_S = 15 * 60.0
"""An unattended walk gives up if the predictions are not there this long after the last annotation."""

UPLOADS_PER_LINE = 20
WEBHOOK_S = 20.0
TITLE_NAME = 30
"""Letters of a folder's name in its project's title, of which Label Studio takes 50."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a project is about: its title, its labels, its images."""

    title: str
    prefix: str
    labels: tuple[str, ...]
    pictures: Sequence[Picture]


def bird_parts() -> Subject:
    """The project *Bird parts*: synthetic birds, whose polygons are known."""
    prefix = "images/"
    return Subject("Bird parts", prefix, LABELS, bird_pictures(prefix, range(1, BIRD_COUNT + 1)))


def own_photos(folder: Path, labels: tuple[str, ...] = LABELS) -> Subject:
    """A project of the photos in a person's folder; its own, also if another folder has the same name."""
    where = folder.expanduser().resolve()
    mark = hashlib.sha256(str(where).encode()).hexdigest()[:6]
    prefix = f"photos/{where.name}-{mark}/"
    return Subject(f"Photos: {where.name[:TITLE_NAME]} ({mark})", prefix, labels, photo_pictures(prefix, where))


def open_project(stack: Stack, labelling: Labelling, subject: Subject) -> int:
    """The project of *subject*: its images in S3, its source storage synced, the ML backend connected."""
    display = stack.display
    with display.step("images into S3"):
        new = _upload(stack, subject)
    display.line(f"  images             {len(subject.pictures)} in s3://{BUCKET}/{subject.prefix} ({new} new)")
    with display.step("project, storage and ML backend"):
        project = labelling.ensure_project(subject.title, label_config(subject.labels))
        labelling.sync(labelling.ensure_source(project, source_bucket(stack, subject.prefix)))
        address = backend_address(stack)
        labelling.ensure_backend(project, address)
        wait_for_webhook(stack, labelling, project, address)
    tasks = len(labelling.tasks(project))
    display.line(f"  project            {subject.title}: {tasks} tasks, ML backend connected")
    return project


def _upload(stack: Stack, subject: Subject) -> int:
    def told(count: int) -> None:
        stack.require_alive()
        if count % UPLOADS_PER_LINE == 0:
            stack.display.status(f"  images {count}/{len(subject.pictures)}")

    return upload(stack.s3(), BUCKET, list(subject.pictures), on_progress=told)


def source_bucket(stack: Stack, prefix: str) -> Bucket:
    """The demo's bucket as a source storage."""
    secrets = stack.plan.state.secrets
    return Bucket(BUCKET, prefix, stack.plan.url("s3"), REGION, secrets.access_key_id, secrets.secret_access_key)


def backend_address(stack: Stack, name: str = "backend") -> BackendAddress:
    """How Label Studio reaches a backend of the demo."""
    return BackendAddress(stack.plan.url(name), BACKEND_USER, stack.plan.state.secrets.backend_password)


def wait_for_webhook(stack: Stack, labelling: Labelling, project: int, address: BackendAddress) -> None:
    """Wait until the backend has given its webhook in Label Studio the header without which its events are refused.

    A backend that never does it still learns of annotations, by asking; so the wait is short and not an error.
    """
    start = time.monotonic()
    while time.monotonic() - start < WEBHOOK_S:
        if labelling.webhook_is_authorized(project, f"{address.url}/webhook"):
            return
        stack.display.status("The backend looks after its webhook ...", waited_s=time.monotonic() - start)
        stack.sleep(0.5)
    stack.display.line(
        "  webhook            has no Authorization header: the backend will learn of annotations by asking"
    )


def annotate(stack: Stack, labelling: Labelling, project: int, *, count: int = TRAIN_AT) -> int:
    """Submit annotations, one after the other, until *count* tasks have one; how many were new.

    The polygons are the birds' own, and the lead times those of a person who draws four polygons.
    """
    tasks = labelling.tasks(project)
    done = sum(task.annotations > 0 for task in tasks)
    open_tasks = [task for task in tasks if task.annotations == 0]
    times = random.Random(project)
    with stack.display.step(f"{count} annotations"):
        for number, task in enumerate(open_tasks[: max(0, count - done)], start=done + 1):
            stack.require_alive()
            labelling.submit(
                task.id, to_regions(bird_scene(bird_seed(task.key))), lead_time_s=round(times.uniform(25, 70), 1)
            )
            stack.display.status(f"  annotations {number}/{count}")
    new = max(0, count - done)
    stack.display.line(f"  annotations {max(done, count)}/{count}" + ("" if new else " (from an earlier start)"))
    return new


def watch(stack: Stack, labelling: Labelling, project: int, *, pipeline: str = PIPELINE) -> Watch:
    """A look-out on the project's loop."""
    return Watch(labelling, stack.sagemaker(), project, pipeline)


def wait_for_predictions(stack: Stack, lookout: Watch, *, patience_s: float = PATIENCE_S) -> Progress:
    """Tell what happens until every waiting task has its prediction; the state then.

    A failed execution is waited through if the backend tries again.

    Raises:
        DemoError: the last attempt failed, a service ended, or it took longer than *patience_s*.
    """
    deadline = time.monotonic() + patience_s
    before, progress = Progress(), lookout.look()
    earlier = _train_anew(stack, lookout, progress)
    while not _tell(stack.display, before, progress):
        _require_hope(progress, earlier=earlier, late=time.monotonic() > deadline, logs=stack.plan.folder.path)
        stack.sleep(LOOK_EVERY_S)
        before, progress = progress, lookout.look()
    return progress


def _train_anew(stack: Stack, lookout: Watch, progress: Progress) -> str:
    """Ask for a training if an earlier start's last attempt failed, since nothing would follow it; its ARN or ""."""
    execution = progress.execution
    if progress.served or execution is None or not execution.failed or execution.retried:
        return ""
    stack.display.line(
        f"  pipeline    {execution.name} ended as {execution.status} earlier: training is asked for anew"
    )
    lookout.labelling.start_training(lookout.project)
    return execution.arn


def _require_hope(progress: Progress, *, earlier: str, late: bool, logs: Path) -> None:
    execution = progress.execution
    if execution is not None and execution.failed and not execution.retried and execution.arn != earlier:
        reason = execution.reason or "no reason given"
        message = (
            f"Execution {execution.name} ended as {execution.status}: {reason} (logs: {logs}). "
            "It is not tried again by itself; the next start asks for it again."
        )
        raise DemoError(message)
    if late:
        message = (
            f"The predictions did not come in time; it stands at{now(progress, threshold=TRAIN_AT)} (logs: {logs})"
        )
        raise DemoError(message)


def follow(stack: Stack, lookout: Watch) -> None:
    """Tell what happens for as long as the services live: until Ctrl-C.

    Raises:
        DemoError: a service ended. One that lives and for once gives no good answer is asked again.
    """
    before = lookout.look()
    while True:
        stack.display.status(now(before, threshold=TRAIN_AT) + "   (Ctrl-C stops everything)")
        stack.sleep(FOLLOW_EVERY_S)
        try:
            progress = lookout.look()
        except NO_GOOD_ANSWER as error:
            stack.blame(error)
            stack.display.status(f"  {in_words(error)}; asked again ...")
            continue
        for line in changes(before, progress):
            stack.display.line(line)
        before = progress


def _tell(display: Display, before: Progress, after: Progress) -> bool:
    """Tell what happened between two looks; whether the loop has come to its end."""
    for line in changes(before, after):
        display.line(line)
    if not after.served:
        display.status(now(after, threshold=TRAIN_AT))
    return after.served
