"""What a Lambda function is called with -> what is meant by it. Pure.

It is called by API Gateway (a REST API's proxy integration), by EventBridge, and by itself: see :class:`TrainRequest`.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from backend.errors import RequestError
from backend.events import find_project_id

SCHEDULE = "Scheduled Event"
EXECUTION_CHANGED = "SageMaker Model Building Pipeline Execution Status Change"
PACKAGE_CHANGED = "SageMaker Model Package State Change"
_TRAIN = "train"


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request over HTTP. *path* is without the API's stage."""

    method: str
    path: str
    body: str = field(repr=False)
    is_base64: bool = False

    def json(self) -> dict[str, Any]:
        """The body.

        Raises:
            RequestError: it is no JSON object.
        """
        try:
            value = json.loads(base64.b64decode(self.body, validate=True) if self.is_base64 else self.body)
        except (ValueError, RecursionError) as error:
            raise RequestError("wanted a JSON object as the body, got something else") from error
        if not isinstance(value, dict):
            raise RequestError(f"wanted a JSON object as the body, got {type(value).__name__}")
        return value


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """To decide on a project's training: what the function asks of itself when Label Studio's webhook has come.

    A person may ask for it too, with ``{"train": {"project": 3, "forced": true}}``. *label_config* and *annotations*
    are as the webhook told them; without them they are looked up.
    """

    project: int
    forced: bool = False
    label_config: str = field(default="", repr=False)
    annotations: int | None = None

    def as_event(self) -> dict[str, object]:
        """For calling the function with."""
        return {
            _TRAIN: {
                "project": self.project,
                "forced": self.forced,
                "label_config": self.label_config,
                "annotations": self.annotations,
            }
        }


@dataclass(frozen=True, slots=True)
class Look:
    """To see after a project's trainings and its endpoint; after all of them, where none is named."""

    project: int | None = None


Call: TypeAlias = WebRequest | TrainRequest | Look


def parse_call(event: object, *, pipeline: str) -> Call | None:
    """What *event* asks for; None for an event that is of no interest, such as one of another pipeline.

    Raises:
        RequestError: it is none that this function is ever called with.
    """
    if not isinstance(event, Mapping):
        raise RequestError(f"wanted an event, a JSON object, got {type(event).__name__}")
    if "httpMethod" in event:
        return _web_request(event)
    if _TRAIN in event:
        return _train_request(event[_TRAIN])
    detail = event.get("detail")
    return _look(event.get("detail-type"), detail if isinstance(detail, Mapping) else {}, pipeline)


def _web_request(event: Mapping[str, Any]) -> WebRequest:
    # Behind a domain name of one's own the path begins with what that name maps to the API; the resource does not.
    paths = (event.get("resource"), event.get("path"))
    usable = [path for path in paths if isinstance(path, str) and "{" not in path]
    return WebRequest(
        method=str(event["httpMethod"]),
        path=usable[0] if usable else "",
        body=str(event.get("body") or ""),
        is_base64=event.get("isBase64Encoded") is True,
    )


def _train_request(asked: object) -> TrainRequest:
    fields = asked if isinstance(asked, Mapping) else {}
    project = find_project_id(fields.get("project"))
    if project is None:
        raise RequestError('wanted "train" with a "project" in it, found none')
    label_config, annotations = fields.get("label_config"), fields.get("annotations")
    return TrainRequest(
        project=project,
        forced=fields.get("forced") is True,
        label_config=label_config if isinstance(label_config, str) else "",
        annotations=annotations if isinstance(annotations, int) else None,
    )


def _look(kind: object, detail: Mapping[str, Any], pipeline: str) -> Look | None:
    if kind == SCHEDULE:
        return Look()
    name = ""
    if kind == PACKAGE_CHANGED:
        name = str(detail.get("ModelPackageGroupName") or "").removeprefix(f"{pipeline}-")
    elif kind == EXECUTION_CHANGED and str(detail.get("pipelineArn") or "").endswith(f":pipeline/{pipeline.lower()}"):
        name = str(detail.get("pipelineExecutionDisplayName") or "").partition("-")[0]
    project = find_project_id(name[1:]) if re.fullmatch(r"p\d+", name) else None
    return None if project is None else Look(project)
