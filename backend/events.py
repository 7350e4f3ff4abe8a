"""What Label Studio tells: a webhook's body -> Event. Pure.

The actions and their bodies are those that Label Studio 1.23 sends (recorded bodies in tests/data/label_studio).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from backend.errors import RequestError


class Kind(Enum):
    """What an action means to training."""

    LABELS_CHANGED = "labels changed"  # the number of annotations may be another now
    PROJECT_CHANGED = "project changed"  # the labeling interface may be another now
    TRAIN_NOW = "train now"
    MAYBE_SAVED = "maybe saved"  # a save that Label Studio announces as START_TRAINING, or the button: see parse_event
    OTHER = "other"


KINDS = {
    "ANNOTATION_CREATED": Kind.LABELS_CHANGED,  # submit, skip
    "ANNOTATIONS_CREATED": Kind.LABELS_CHANGED,  # Create Annotations From Predictions
    "ANNOTATION_UPDATED": Kind.LABELS_CHANGED,
    "ANNOTATIONS_DELETED": Kind.LABELS_CHANGED,
    "TASKS_CREATED": Kind.LABELS_CHANGED,  # an import may carry annotations; no other event tells of them
    "TASKS_DELETED": Kind.LABELS_CHANGED,
    "PROJECT_UPDATED": Kind.PROJECT_CHANGED,
    "START_TRAINING": Kind.TRAIN_NOW,
}


_ID_DIGITS = 18  # what a database's 64 bits hold


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook. *annotations* is the project's count without skipped ones, where the body tells it.

    *label_config* is its labeling interface, '' where the body does not tell it.
    """

    action: str
    kind: Kind
    project: int | None = None
    annotations: int | None = None
    label_config: str = field(default="", repr=False, compare=False)


def parse_event(action: object, body: object) -> Event:
    """Read a webhook's *body*; unknown actions give an event of kind OTHER.

    START_TRAINING is the button *Start Training*, unless the project's switch *Start model training on annotation
    submission* is on (``min_annotations_to_start_training`` above 0): then Label Studio sends the very same body at
    each save too, before the event of the annotation. The two cannot be told apart, so with the switch on the button
    counts as a save as well: a save must never train past the limits, and who presses the button can turn the switch
    off.

    Raises:
        RequestError: the action is no string, or the body no object.
    """
    if not isinstance(body, Mapping):
        raise RequestError(f"wanted a JSON object as the webhook's body, got {type(body).__name__}")
    if not isinstance(action, str) or not action:
        raise RequestError('wanted "action", the name of a Label Studio event, in the webhook\'s body')
    project = body.get("project")
    fields = project if isinstance(project, Mapping) else {}
    return Event(
        action=action,
        kind=_kind(action, fields),
        project=find_project_id(fields.get("id") if fields else project),
        annotations=_whole(fields.get("total_annotations_number")),
        label_config=_text(fields.get("label_config")),
    )


def _kind(action: str, project: Mapping[str, object]) -> Kind:
    kind = KINDS.get(action, Kind.OTHER)
    if kind is Kind.TRAIN_NOW and _whole(project.get("min_annotations_to_start_training")):
        return Kind.MAYBE_SAVED
    return kind


def parse_project_id(value: object) -> int:
    """Project id of ``/setup``, where it comes as ``"ID.timestamp"``.

    Raises:
        RequestError: there is none.
    """
    project = find_project_id(value)
    if project is None:
        raise RequestError(f'wanted "project" like "3.1795394318", got {_shown(value)}')
    return project


def find_project_id(value: object) -> int | None:
    """The same where it may be missing."""
    head = str(value).partition(".")[0] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    usable = head.isdecimal() and len(head) <= _ID_DIGITS and int(head) > 0
    return int(head) if usable else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _shown(value: object) -> str:
    return repr(value)[:80]
