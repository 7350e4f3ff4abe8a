"""The demo's projects: their images in S3, and everything in Label Studio and SageMaker that the command makes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.birds import LABELS
from demo.latency import BackendAddress
from demo.pictures import BIRDS_PREFIX, BIRDS_TITLE, Picture, all_birds, photo_pictures, upload
from demo.services import BACKEND_USER, BUCKET, PIPELINE, BackendSettings
from demo.setup import PARAMETERS, set_up
from demo.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from demo.labelling import Labelling
    from demo.stack import Stack

UPLOADS_PER_LINE = 20
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
    return Subject(BIRDS_TITLE, BIRDS_PREFIX, LABELS, all_birds())


def own_photos(folder: Path, labels: tuple[str, ...] = LABELS) -> Subject:
    """A project of the photos in a person's folder; its own, also if another folder has the same name."""
    where = folder.expanduser().resolve()
    mark = hashlib.sha256(str(where).encode()).hexdigest()[:6]
    prefix = f"photos/{where.name}-{mark}/"
    return Subject(f"Photos: {where.name[:TITLE_NAME]} ({mark})", prefix, labels, photo_pictures(prefix, where))


def open_project(
    stack: Stack,
    labelling: Labelling,
    subject: Subject,
    *,
    settings: BackendSettings | None = None,
    parameters: Sequence[str] = PARAMETERS,
) -> int:
    """The project of *subject*: set up, its images in S3, a task for each of them."""
    display = stack.display
    with display.step("set-up"):
        set_up(
            stack,
            title=subject.title,
            labels=subject.labels,
            prefix=subject.prefix,
            settings=settings,
            parameters=parameters,
        )
        project = labelling.project(subject.title)
    with display.step("images into S3"):
        new = _upload(stack, subject)
    display.line(f"  images             {len(subject.pictures)} in s3://{BUCKET}/{subject.prefix} ({new} new)")
    with display.step("tasks of the images"):
        labelling.sync(project, subject.prefix)
    display.line(f"  tasks              {len(labelling.tasks(project))} in {subject.title}")
    return project


def _upload(stack: Stack, subject: Subject) -> int:
    def told(count: int) -> None:
        stack.require_alive()
        if count % UPLOADS_PER_LINE == 0:
            stack.display.status(f"  images {count}/{len(subject.pictures)}")

    return upload(stack.s3(), BUCKET, list(subject.pictures), on_progress=told)


def backend_address(stack: Stack, name: str = "backend") -> BackendAddress:
    """How Label Studio reaches a backend of the demo."""
    return BackendAddress(stack.plan.url(name), BACKEND_USER, stack.plan.state.secrets.backend_password)


def watch(stack: Stack, labelling: Labelling, project: int, *, pipeline: str = PIPELINE) -> Watch:
    """A look-out on the project's loop."""
    return Watch(labelling, stack.sagemaker(), project, pipeline)
