"""What the workers of one host tell each other, in a small file: a cache of what SageMaker and Label Studio know.

It lets ``/setup`` and the webhook answer without any call, in every worker and right after a restart. Losing it
loses nothing: the poller finds everything again.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What is known of a project.

    *live* is the model version that its endpoint serves ('' for none), *labels* are that model's. *prefetched* is the
    version that the waiting tasks were predicted with. *url* is how Label Studio calls this backend. The rest is what
    the pipeline's executions said when they were last asked (backend.trainer.History); *problem* is why they could
    not be asked or trained, '' where all is well.
    """

    project: int
    live: str = ""
    labels: tuple[str, ...] = ()
    prefetched: str = ""
    url: str = ""
    running: bool = False
    last_trained: int = 0
    failures: int = 0
    failed_at: int = 0
    failed_on: float = 0.0
    problem: str = ""


class StateFile:
    """The states of all projects; safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_suffix(".lock")
        self._lock = threading.Lock()
        self._states: dict[int, ProjectState] = {}
        self._stamp: tuple[int, int] | None = None

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
        with self._exclusive():
            states = dict(self._read())
            states[project] = replace(states.get(project, ProjectState(project)), **changes)
            self._write(states)
        return states[project]

    def _read(self) -> dict[int, ProjectState]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return self._states
        stamp = (status.st_mtime_ns, status.st_ino)
        with self._lock:
            if stamp != self._stamp:
                self._states, self._stamp = _parse(self._path.read_text(encoding="utf-8")), stamp
            return self._states

    def _write(self, states: dict[int, ProjectState]) -> None:
        """In one step, so that no reader ever sees half a file."""
        draft = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
        draft.write_text(json.dumps([asdict(state) for state in states.values()]), encoding="utf-8")
        draft.replace(self._path)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock_path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _parse(text: str) -> dict[int, ProjectState]:
    """States from a file's *text*; none from a file that is not ours: it is only a cache."""
    try:
        entries = json.loads(text)
        return {entry["project"]: _state(entry) for entry in entries}
    except (ValueError, TypeError, KeyError):
        return {}


def _state(entry: dict[str, Any]) -> ProjectState:
    known = {each.name for each in fields(ProjectState)}
    values = {name: value for name, value in entry.items() if name in known}
    return ProjectState(**{**values, "labels": tuple(values.get("labels", ()))})


class Leadership:
    """One process on this host holds it until it ends: the one that deploys and pre-annotates."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: Any = None

    def held(self) -> bool:
        """Whether this process leads, which it tries to on each call."""
        if self._handle is None:
            handle = self._path.open("w")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                return False
            self._handle = handle
        return True
