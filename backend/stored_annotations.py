"""An object of Label Studio's target storage -> a task with its annotations; what is kept of many objects. Pure."""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Task: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """An object that was read: its ETag then, and its task without results; None for what is no annotation."""

    etag: str
    task: Task | None

    def is_of(self, project: int) -> bool:
        """Whether it has annotations of *project*."""
        return self.task is not None and self.task["project"] == project


def pack(index: Mapping[str, Known]) -> bytes:
    """What is known of objects, by their keys."""
    return zlib.compress(json.dumps({key: [each.etag, each.task] for key, each in index.items()}).encode())


def unpack(body: bytes) -> dict[str, Known]:
    """What :func:`pack` packed; nothing where it is something else, such as another version's."""
    try:
        value = json.loads(zlib.decompress(body))
        return {key: Known(etag, task) for key, (etag, task) in value.items()}
    except (zlib.error, ValueError, TypeError, AttributeError):
        return {}


def read_task(body: bytes) -> Task | None:
    """A task and its annotations from an object's *body*, whichever of the two forms it has; None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, nested too deep
        return None
    if not isinstance(value, dict):
        return None
    if "annotations" in value:
        return _task(value, value["annotations"], value.get("project"))
    return _task(value.get("task"), [value], value.get("project"))


def _task(task: Any, annotations: object, project: object) -> Task | None:  # noqa: ANN401  # whatever JSON says
    if not _is_record(task) or not isinstance(task.get("data"), dict) or not _is_id(project):
        return None
    if not isinstance(annotations, list) or not all(_is_record(each) for each in annotations):
        return None
    return {
        "id": task["id"],
        "project": project,
        "data": task["data"],
        "updated_at": str(task.get("updated_at") or ""),
        "annotations": annotations,
    }


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and _is_id(value.get("id"))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def merge_tasks(tasks: Iterable[Task]) -> list[Task]:
    """One of each task, with all of its annotations; of what is there twice the newest counts."""
    merged: dict[int, Task] = {}
    annotations: dict[int, dict[int, Mapping[str, Any]]] = {}
    for task in tasks:
        number = task["id"]
        if number not in merged or task["updated_at"] >= merged[number]["updated_at"]:
            merged[number] = task
        own = annotations.setdefault(number, {})
        for each in task["annotations"]:
            own[each["id"]] = max(own.get(each["id"], each), each, key=_updated)
    return [{**merged[number], "annotations": list(annotations[number].values())} for number in sorted(merged)]


def _updated(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or "")


def without_results(task: Task) -> Task:
    """As much of a task as counting needs."""
    kept = ("id", "was_cancelled", "updated_at")
    return {
        **task,
        "data": {},
        "annotations": [{name: each.get(name) for name in kept} for each in task["annotations"]],
    }
