"""`python -m demo play`: a person who labels birds, beside services that somebody else started.

It is what the profile `demo` of docker-compose runs, after `python -m backend setup`, with the backend's settings.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config

from demo.birds import LABELS
from demo.errors import DemoError
from demo.labelling import Labelling
from demo.limits import BIRD_COUNT, TRAIN_AT
from demo.pictures import BIRDS_PREFIX, all_birds, upload
from demo.trouble import NO_GOOD_ANSWER, in_words
from demo.walk import WITH_MODEL, annotate, wait_for_predictions
from demo.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sagemaker import SageMakerClient

    from demo.display import Display

LOOK_EVERY_S = 3.0
PATIENCE_S = 60 * 60.0
"""On AWS itself a training takes a quarter of an hour, and an endpoint nearly as long to start."""

UPLOADS_PER_LINE = 20
_CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})


@dataclass(frozen=True, slots=True)
class Visitor:
    """The Host of a walk whose services somebody else watches over."""

    display: Display
    logs: str = "those of the backend and of SageMaker"

    def require_alive(self) -> None:
        """Nothing was started here."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def blame(self, error: Exception) -> None:
        """A service that was restarted answers again in a moment."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the services are, by the backend's own settings; AWS is where boto3's say."""

    label_studio: str
    token: str
    bucket: str
    pipeline: str
    train_at: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """Read the settings.

        Raises:
            DemoError: one is missing.
        """

        def value(*names: str, default: str = "") -> str:
            found = next((environment[name] for name in names if environment.get(name)), default)
            if not found:
                message = f"{names[0]} is not set: `play` needs the settings that the backend has."
                raise DemoError(message)
            return found

        train_at = value("START_TRAINING_EACH_N_UPDATES", default=str(TRAIN_AT))
        return cls(
            label_studio=value("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST").rstrip("/"),
            token=value("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"),
            bucket=value("S3_BUCKET"),
            pipeline=value("SAGEMAKER_PIPELINE", default="label-studio-segmentation"),
            train_at=_threshold(train_at),
        )


def _threshold(text: str) -> int:
    """The annotations that start a training; one bird at least has to be left for the model.

    Raises:
        DemoError: there are not so many birds.
    """
    if not text.isdecimal() or int(text) >= BIRD_COUNT:
        message = f"START_TRAINING_EACH_N_UPDATES: the demo has {BIRD_COUNT} birds, so wanted fewer, got {text!r}."
        raise DemoError(message)
    return int(text)


class Interfaces(Protocol):
    """What knows the labeling interfaces of projects."""

    def label_config(self, project: int) -> str:
        """The labeling interface of a project."""
        ...


def require_bird_labels(labelling: Interfaces, project: int, title: str) -> None:
    """Raise DemoError unless the project has the labels of the birds' parts."""
    interface = labelling.label_config(project)
    if missing := [label for label in LABELS if f'"{label}"' not in interface]:
        message = (
            f"Project {title!r} does not have the labels {', '.join(missing)}, so birds cannot be labelled in it: "
            "name another project that has them or that `setup` is to make (PROJECT_TITLE, PROJECT_LABELS)."
        )
        raise DemoError(message)


def play(title: str, display: Display, environment: Mapping[str, str], *, public_url: str | None = None) -> None:
    """Upload the birds, annotate as many as start a training, and tell what follows until all others have predictions.

    Safe to run again: it goes on where it stopped, and adds nothing to what is complete.

    Raises:
        DemoError: a setting, the project or its source storage is not there; a service gives no good answer; or the
            training failed for good.
    """
    place = Place.of(environment)
    host = Visitor(display)
    try:
        with closing(Labelling(place.label_studio, place.token)) as labelling:
            project = labelling.project(title)
            require_bird_labels(labelling, project, title)
            _upload(place, display)
            labelling.sync(project, BIRDS_PREFIX)
            display.line(f"  tasks              {len(labelling.tasks(project))} in {title}")
            annotate(host, labelling, project, count=place.train_at)
            lookout = Watch(labelling, _sagemaker(), project, place.pipeline, place.train_at)
            wait_for_predictions(host, lookout, patience_s=PATIENCE_S, every_s=LOOK_EVERY_S)
    except NO_GOOD_ANSWER as error:
        message = f"{in_words(error)}; run it again: it goes on where it stopped."
        raise DemoError(message) from error
    address = (public_url or place.label_studio).rstrip("/")
    display.line("\n".join(["", f"Open      {address}/projects/{project}/data", "Look at", WITH_MODEL]))


def _upload(place: Place, display: Display) -> None:
    birds = all_birds()

    def told(count: int) -> None:
        if count % UPLOADS_PER_LINE == 0:
            display.status(f"  images {count}/{len(birds)}")

    new = upload(boto3.client("s3", config=_CLIENT_CONFIG), place.bucket, birds, on_progress=told)
    display.line(f"  images             {len(birds)} in s3://{place.bucket}/{BIRDS_PREFIX} ({new} new)")


def _sagemaker() -> SageMakerClient:
    return boto3.client("sagemaker", config=_CLIENT_CONFIG)
