"""What the workers of one host tell each other, in a small file: a cache of what SageMaker and Label Studio know.

It lets ``/setup`` and the webhook answer without any call, in every worker and right after a restart. Losing it
loses nothing: the poller finds everything again.
"""

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
FORMAT = 1  # of the file; 0 is what 0.1.0 wrote: the list of projects alone


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What is known of a project.

    *live* is the model version that its endpoint serves ('' for none), *labels* are that model's. *prefetched* is the
    version that the waiting tasks were predicted with, *tasks_changed* when there last was something new to predict
    (as ``time.time`` has it). *deploying* is the version of the model package that the
    endpoint was last told to serve. *url* is how Label Studio calls this backend. The rest is what the pipeline's
    executions said when they were last asked (backend.trainer.History). *problem* is why they could not be asked or
    trained, *serving_problem* why the newest model could not be served; '' where all is well.
    """

    project: int
    live: str = ""
    labels: tuple[str, ...] = ()
    prefetched: str = ""
    tasks_changed: float = 0.0
    deploying: int = 0
    url: str = ""
    running: bool = False
    last_trained: int = 0
    refused: bool = False
    today: int = 0
    failures: int = 0
    failed_at: int = 0
    failed_on: float = 0.0
    problem: str = ""
    serving_problem: str = ""


class StateFile:
    """The states of all projects; safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_suffix(".lock")
        self._lock = threading.Lock()
        self._states: dict[int, ProjectState] = {}
        self._stamp = 0
        self._unreadable = False

    def get(self, project: int) -> ProjectState:
        """The project's state, an empty one if it was never heard of."""
        return self._read().get(project, ProjectState(project))

    def projects(self) -> list[int]:
        """Every project that was ever heard of."""
        return sorted(self._read())

    def update(self, project: int, **changes: Any) -> ProjectState:  # noqa: ANN401  # any field of ProjectState
        """Change some fields of a project's state; does not touch the file when they are so already."""
        current = self.get(project)
        if project in self._read() and replace(current, **changes) == current:
            return current
        try:
            with self._exclusive():
                states = self._changed(project, changes)
                self._write(states)
        except OSError as error:  # no space left, the folder is gone: a request must not fail for that
            logger.error("cannot write %s, going on from memory: %s", self._path, error)  # noqa: TRY400  # no fault
            self._states = states = self._changed(project, changes)
        return states[project]

    def _changed(self, project: int, changes: Mapping[str, Any]) -> dict[int, ProjectState]:
        states = dict(self._read())
        states[project] = replace(states.get(project, ProjectState(project)), **changes)
        return states

    def _read(self) -> dict[int, ProjectState]:
        try:
            stamp = self._path.stat().st_mtime_ns
        except OSError:
            return self._states
        with self._lock:
            if stamp != self._stamp:
                self._load(stamp)
            return self._states

    def _load(self, stamp: int) -> None:
        """Take over what the file says; where it cannot be read or is not ours, go on without it and say so once."""
        try:
            body = self._path.read_bytes()
        except OSError as error:
            if not self._unreadable:
                logger.error("cannot read %s, going on from memory: %s", self._path, error)  # noqa: TRY400  # no fault
            self._unreadable = True
            return
        self._unreadable = False
        self._stamp = stamp
        try:
            self._states = _parse(body)
        except NewerFormatError as error:
            logger.warning("%s: %s; starting anew, which loses nothing", self._path, error)
            self._states = {}
        except _NOT_OURS as error:
            logger.error("%s is no state file, starting anew: %s", self._path, error)  # noqa: TRY400  # no fault
            self._states = {}

    def _write(self, states: dict[int, ProjectState]) -> None:
        """In one step, so that no reader ever sees half a file, and with a time that no earlier one had."""
        draft = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
        content = {"format": FORMAT, "projects": [asdict(state) for state in states.values()]}
        draft.write_text(json.dumps(content), encoding="utf-8")
        # The system's own stamps move in steps of milliseconds: two writes in one step would look like one.
        before = self._path.stat().st_mtime_ns if self._path.exists() else 0
        now = max(time.time_ns(), before + 1)
        os.utime(draft, ns=(now, now))
        draft.replace(self._path)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock_path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


# Whatever bytes a file has: no UTF-8, no JSON, nested too deep, JSON of another form.
_NOT_OURS = (ValueError, RecursionError, TypeError, KeyError, AttributeError)


class NewerFormatError(Exception):
    """The file was written by a newer version of this backend."""


def _parse(body: bytes) -> dict[int, ProjectState]:
    """States from a file's bytes; raises one of ``_NOT_OURS`` for a file that is not ours."""
    content = json.loads(body.decode())
    entries = content if isinstance(content, list) else _entries(content)
    return {int(entry["project"]): _state(entry) for entry in entries}


def _entries(content: dict[str, Any]) -> list[dict[str, Any]]:
    if content["format"] > FORMAT:
        raise NewerFormatError(f"a newer version wrote it, in format {content['format']}; this one knows {FORMAT}")
    entries: list[dict[str, Any]] = content["projects"]
    return entries


def _state(entry: dict[str, Any]) -> ProjectState:
    known = {each.name for each in fields(ProjectState)}
    values = {name: value for name, value in entry.items() if name in known}
    return ProjectState(**{**values, "labels": tuple(values.get("labels", ()))})


class Leadership:
    """One process on this host holds it until it ends: the one that deploys and pre-annotates."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None  # never closed: the lock goes with the process

    def held(self) -> bool:
        """Whether this process leads, which it tries to on each call."""
        with self._lock:
            if self._descriptor is None:
                self._descriptor = _locked(self._path)
            return self._descriptor is not None


def _locked(path: Path) -> int | None:
    """A descriptor of the locked file *path*; None where another process has locked it or it cannot be made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    except OSError as error:
        logger.error("cannot write %s: %s", path, error)  # noqa: TRY400  # no fault of ours
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
