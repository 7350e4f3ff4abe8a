"""Adapter: annotations as Label Studio's target storage in S3 has them. Label Studio itself is never asked.

The storage is one folder of ``S3_BUCKET`` (``ANNOTATIONS_PREFIX``) with an object for each annotation, which carries
its task (``annotations/17``), or for each task, with its annotations (``annotations/5.json``: Label Studio's setting
FUTURE_SAVE_TASK_TO_STORAGE). Only the bodies tell the project, and there may be several projects in one folder. So:

- An event brings the project's count along: no body is read until a training is due by that count.
- Then the project's are read, several at a time, and kept in memory, packed: later only what changed is read.
- A look that no event asks for (the schedule) counts the annotations themselves: it finds what a lost event told of.
  What counting needs of each body is kept in one object of S3, so that a fresh instance reads only what is new to all.

The labeling interface comes with the events too. It is kept beside the project's datasets for the looks without one.
"""

import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from backend.config import Settings
from backend.dataset import finished_annotations
from backend.errors import LabelConfigError
from backend.events import find_project_id
from backend.stored_annotations import Known, Task, merge_tasks, pack, read_task, unpack, without_results

logger = logging.getLogger(__name__)
KEPT_BYTES = 128 * 2**20  # of packed bodies; what goes beyond is read each time
_READS_AT_ONCE = 10  # as many connections as botocore keeps
_INTERFACE = "labeling_interface.xml"
_INDEX = "annotations.index"
_SAVED_EACH = 5000  # bodies: well below what one call of the function has time for
_SHOWN = 3
_NAME = re.compile(r"/*\d+(\.json)?")  # below the folder; a folder given with a slash at its end gets another one


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
    """The body of an object that was read, packed, and its ETag then."""

    etag: str
    packed: bytes


class S3Annotations:
    """The annotated tasks of all projects whose target storage is the folder."""

    def __init__(self, settings: Settings, *, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._index_key = settings.key("projects", _INDEX)
        self._index: dict[str, Known] | None = None  # by keys; None as long as it was not looked for in S3
        self._kept: dict[str, Kept] = {}
        self._room = KEPT_BYTES
        self._listing: dict[str, str] = {}  # keys and ETags, as they were last listed
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
        known = self._known()
        for _ in self._read([key for key in self._listing if key not in known]):
            pass
        tasks = merge_tasks(each.task for each in known.values() if each.task is not None and each.is_of(project))
        return ToldProject(project, interface, sum(len(finished_annotations(task)) for task in tasks))

    def annotated_tasks(self, project: int) -> list[Task]:
        """Every task that has an annotation in the folder, with its annotations, as Label Studio would export it."""
        return merge_tasks(task for task in self._tasks(project) if task["project"] == project)

    def _interface_key(self, project: int) -> str:
        return self._settings.key("projects", str(project), _INTERFACE)

    def _interface(self, project: int) -> str:
        return self._found(self._interface_key(project)).decode()

    def _found(self, key: str) -> bytes:
        """What lies in S3 under *key*, b"" for nothing."""
        # To who may list some folders only, AWS calls a missing object forbidden: so it is looked for first.
        if key not in self._store.etags(key):
            return b""
        return self._store.get_object(self._settings.s3_bucket, key)

    def _tasks(self, project: int) -> Iterator[Task]:
        """What the objects of the folder tell of the project's tasks, and of those that nobody knows yet."""
        known = self._known()
        wanted = [key for key in self._listing if key not in known or known[key].is_of(project)]
        kept = [self._kept[key].packed for key in wanted if key in self._kept]
        unkept = [key for key in wanted if key not in self._kept]
        yield from filter(None, (read_task(zlib.decompress(packed)) for packed in kept))
        yield from filter(None, self._read(unkept))

    def _known(self) -> dict[str, Known]:
        """What is known of the folder as it is now listed."""
        if self._index is None:
            self._index = unpack(self._found(self._index_key))
        listing = self._listing = self._listed()
        self._index = {key: known for key, known in self._index.items() if listing.get(key) == known.etag}
        self._kept = {key: kept for key, kept in self._kept.items() if listing.get(key) == kept.etag}
        self._room = KEPT_BYTES - sum(len(kept.packed) for kept in self._kept.values())
        return self._index

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

    def _read(self, keys: Sequence[str]) -> Iterator[Task | None]:
        """What these objects hold. What is learned of them is kept in S3, also where Lambda ends this halfway."""
        index = self._index if self._index is not None else {}
        learned = 0
        for key, body in self._bodies(keys):
            task = read_task(body)
            if key not in index:
                learned += 1
                self._learn(index, key, task)
                if learned % _SAVED_EACH == 0:
                    self._store.put_object(self._index_key, pack(index))
            self._keep(key, body)
            yield task
        if learned % _SAVED_EACH:
            self._store.put_object(self._index_key, pack(index))

    def _learn(self, index: dict[str, Known], key: str, task: Task | None) -> None:
        if task is None:
            self._tell_left_out([key])
        index[key] = Known(self._listing[key], without_results(task) if task else None)

    def _keep(self, key: str, body: bytes) -> None:
        kept = Kept(self._listing[key], zlib.compress(body, 1))
        if len(kept.packed) <= self._room:
            self._room -= len(kept.packed)
            self._kept[key] = kept

    def _tell_left_out(self, keys: Iterable[str]) -> None:
        if new := sorted(set(keys) - self._left_out):
            shown = ", ".join(key[:200] for key in new[:_SHOWN])
            logger.warning("%s object(s) among the annotations are none, such as %s", len(new), shown)
        self._left_out.update(new)
