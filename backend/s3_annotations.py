"""Adapter: annotations as Label Studio's target storage in S3 has them. Label Studio itself is never asked.

The storage is one folder of ``S3_BUCKET`` (``ANNOTATIONS_PREFIX``) with an object for each annotation, which carries
its task (``annotations/17``), or for each task, with its annotations (``annotations/5.json``: Label Studio's setting
FUTURE_SAVE_TASK_TO_STORAGE). Only the bodies tell the project, and there may be several projects in one folder. So:

- An event brings the project's count along: no body is read until a training is due by that count.
- Then all are read, several at a time, and kept in memory, packed: a later look reads only those whose ETag is another.
- A look that no event asks for (the schedule) counts the annotations themselves: it finds what a lost event told of.

The labeling interface comes with the events too. It is kept beside the project's datasets for the looks without one.
"""

import json
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from backend.config import Settings
from backend.dataset import finished_annotations
from backend.errors import LabelConfigError
from backend.events import find_project_id

logger = logging.getLogger(__name__)
KEPT_BYTES = 128 * 2**20  # of packed bodies; what goes beyond is read each time
_READS_AT_ONCE = 10  # as many connections as botocore keeps
_INTERFACE = "labeling_interface.xml"
_SHOWN = 3
_NAME = re.compile(r"/*\d+(\.json)?")  # below the folder; a folder given with a slash at its end gets another one
Task: TypeAlias = dict[str, Any]


class ObjectStore(Protocol):
    """What this needs of S3."""

    def etags(self, prefix: str) -> dict[str, str]: ...
    def folders(self, prefix: str) -> list[str]: ...
    def get_object(self, bucket: str, key: str) -> bytes: ...
    def put_object(self, key: str, body: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class ToldProject:
    """A project as an event tells of it, or as it was found in S3; skipped annotations are not counted."""

    id: int
    label_config: str
    annotations: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that was read: its ETag then, its project (0 for what is no annotation), and its body, packed."""

    etag: str
    project: int
    packed: bytes


class S3Annotations:
    """The annotated tasks of all projects whose target storage is the folder."""

    def __init__(self, settings: Settings, *, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._kept: dict[str, Kept] = {}
        self._room = KEPT_BYTES
        self._left_out: set[str] = set()  # names of objects that are no annotations, each told once

    def projects(self) -> list[int]:
        """Every project that an event told of, or that was trained."""
        names = self._store.folders(f"{self._settings.key('projects')}/")
        return sorted(project for name in names if (project := find_project_id(name)) is not None)

    def remember(self, told: ToldProject) -> None:
        """Keep the project's labeling interface for the looks that no event asks for."""
        if self._interface(told.id) != told.label_config:
            self._store.put_object(self._interface_key(told.id), told.label_config.encode())

    def project(self, project: int) -> ToldProject:
        """The project, its annotations counted one by one.

        Raises:
            LabelConfigError: no event has told its labeling interface yet.
        """
        interface = self._interface(project)
        if not interface:
            raise LabelConfigError("its labeling interface is not known yet; the next event of Label Studio tells it")
        tasks = merge_tasks(_without_results(task) for task in self._tasks(project))
        return ToldProject(project, interface, sum(len(finished_annotations(task)) for task in tasks))

    def annotated_tasks(self, project: int) -> list[Task]:
        """Every task that has an annotation in the folder, with its annotations, as Label Studio would export it."""
        return merge_tasks(self._tasks(project))

    def _interface_key(self, project: int) -> str:
        return self._settings.key("projects", str(project), _INTERFACE)

    def _interface(self, project: int) -> str:
        key = self._interface_key(project)
        # To who may list some folders only, AWS calls a missing object forbidden: so it is looked for first.
        if key not in self._store.etags(key):
            return ""
        return self._store.get_object(self._settings.s3_bucket, key).decode()

    def _tasks(self, project: int) -> Iterator[Task]:
        """What the objects of the folder tell of the project's tasks; those that changed are read."""
        listed = self._listed()
        self._kept = {key: kept for key, kept in self._kept.items() if listed.get(key) == kept.etag}
        self._room = KEPT_BYTES - sum(len(kept.packed) for kept in self._kept.values())
        known = [kept.packed for kept in self._kept.values() if kept.project == project]
        unread = [key for key in listed if key not in self._kept]
        yield from filter(None, (read_task(zlib.decompress(packed)) for packed in known))
        for key, body in self._bodies(unread):
            task = read_task(body)
            self._keep(key, listed[key], task, body)
            if task is not None and task["project"] == project:
                yield task

    def _listed(self) -> dict[str, str]:
        """Key and ETag of what may be an annotation, by its name."""
        folder = f"{self._settings.annotations_prefix}/"
        found = self._store.etags(folder)
        usable = {key: etag for key, etag in found.items() if _NAME.fullmatch(key, len(folder))}
        self._tell_left_out(key for key in found if key not in usable and not key.endswith("/"))
        return usable

    def _bodies(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        bucket = self._settings.s3_bucket
        with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="annotations") as pool:
            yield from zip(keys, pool.map(lambda key: self._store.get_object(bucket, key), keys), strict=True)

    def _keep(self, key: str, etag: str, task: Task | None, body: bytes) -> None:
        if task is None:
            self._tell_left_out([key])
        kept = Kept(etag, task["project"], zlib.compress(body, 1)) if task else Kept(etag, 0, b"")
        if len(kept.packed) <= self._room:
            self._room -= len(kept.packed)
            self._kept[key] = kept

    def _tell_left_out(self, keys: Iterable[str]) -> None:
        if new := sorted(set(keys) - self._left_out):
            shown = ", ".join(key[:200] for key in new[:_SHOWN])
            logger.warning("%s object(s) among the annotations are none, such as %s", len(new), shown)
        self._left_out.update(new)


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


def _without_results(task: Task) -> Task:
    """As much of a task as counting needs."""
    kept = ("id", "was_cancelled", "updated_at")
    return {
        **task,
        "data": {},
        "annotations": [{name: each.get(name) for name in kept} for each in task["annotations"]],
    }
