"""`make demo`: everything up, the loop once round, and then it stays for a person to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.birds import LABELS
from demo.limits import TRAIN_AT
from demo.projects import Subject, bird_parts, open_project, own_photos, watch
from demo.services import LOGIN
from demo.stack import Stack, running
from demo.state import Folder
from demo.walk import WITH_MODEL, annotate, follow, wait_for_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from demo.display import Display


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    data: Path
    annotate: bool = True
    images: Path | None = None
    labels: tuple[str, ...] = LABELS


def run(options: Options, display: Display, environment: Mapping[str, str]) -> None:
    """Walk through the loop and stay until Ctrl-C (KeyboardInterrupt).

    Raises:
        DemoError: something that the person has to know or to do.
    """
    subject = own_photos(options.images, options.labels) if options.images else bird_parts()
    display.line("Starting (all data and logs are in " + str(options.data) + "):")
    with running(Folder(options.data), display, environment) as stack:
        labelling = stack.labelling()
        project = open_project(stack, labelling, subject)
        lookout = watch(stack, labelling, project)
        if options.annotate and not options.images:
            new = annotate(stack, labelling, project)
            if new or lookout.look().endpoint != "InService":
                wait_for_predictions(stack, lookout)
            display.line(_farewell(stack, project, WITH_MODEL))
        else:
            display.line(_farewell(stack, project, _what_to_label(subject, options)))
        follow(stack, lookout)


def _what_to_label(subject: Subject, options: Options) -> str:
    reason = (
        f"  * no polygons are known for the photos of {options.images}, so none are submitted\n"
        if options.images
        else ""
    )
    enough = (
        f"  * the folder has only {len(subject.pictures)} images: a training starts at {TRAIN_AT} annotated ones\n"
        if len(subject.pictures) < TRAIN_AT
        else ""
    )
    return (
        f"{reason}{enough}"
        f"  * press Label All Tasks and draw the parts: {', '.join(subject.labels)}"
        " (Settings > Labeling Interface changes them)\n"
        f"  * after the {TRAIN_AT}th image the training starts by itself; this window tells how it goes"
    )


def _farewell(stack: Stack, project: int, advice: str) -> str:
    address = f"{stack.plan.url('label_studio')}/projects/{project}/data"
    return "\n".join(
        [
            "",
            f"Open      {address}",
            f"Log in    {LOGIN}   password {stack.plan.state.secrets.label_studio_password}",
            "Look at",
            advice,
            "",
        ]
    )
