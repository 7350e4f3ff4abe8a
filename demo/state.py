"""The demo's folder: where everything lies, what is remembered between starts, and the lock against a second demo."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.errors import DemoError
from demo.ports import choose_ports, is_taken, require_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LOCK = "lock"

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: `make` runs here, and `backend`, `pipeline` and the rest are imported from here."""

FREE_SPACE_GB = 3.0
"""Two trained models, their data, Label Studio's database and SeaweedFS's volumes, with room to spare."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The paths under the data folder *path* (`.demo` unless a check uses one of its own)."""

    path: Path

    @property
    def state(self) -> Path:
        """Ports and secrets; readable by its owner only."""
        return self.path / "state.json"

    @property
    def logs(self) -> Path:
        """One log file per service."""
        return self.path / "logs"

    @property
    def pids(self) -> Path:
        """One file per running service, so that a later start can sweep what a killed one left."""
        return self.path / "pids"

    def data(self, name: str) -> Path:
        """The folder of one service, made if it is not there."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def make(self) -> None:
        """Make the folders, closed to other users.

        Raises:
            DemoError: the folder cannot be made, or its disk is nearly full.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            self.pids.mkdir(exist_ok=True)
        except OSError as error:
            message = f"The demo keeps its data in {self.path}, but that folder cannot be made: {error.strerror}."
            raise DemoError(message) from error
        require_space(shutil.disk_usage(self.path).free, where=self.path)

    def empty(self) -> None:
        """Remove everything in the folder but its lock, which is held."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK:
                path.unlink(missing_ok=True)
        self.make()


def require_space(free_bytes: int, *, where: Path) -> None:
    """Raise DemoError if fewer than FREE_SPACE_GB are free."""
    free_gb = free_bytes / 1e9
    if free_gb < FREE_SPACE_GB:
        message = (
            f"The demo needs {FREE_SPACE_GB:g} GB of free disk space for {where}, but only {free_gb:.1f} GB are free: "
            "make room and start again."
        )
        raise DemoError(message)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords and keys of one demo, drawn at its first start."""

    label_studio_password: str = field(default_factory=lambda: secrets.token_urlsafe(9), repr=False)
    label_studio_token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    backend_password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    access_key_id: str = field(default_factory=lambda: "AKIA" + secrets.token_hex(8).upper(), repr=False)
    secret_access_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)


@dataclass(frozen=True, slots=True)
class State:
    """What is the same at every start of one demo: its ports and its secrets."""

    ports: dict[str, int]
    secrets: Secrets


def load_state(folder: Folder, preferred: Mapping[str, int], *, taken: Callable[[int], bool] = is_taken) -> State:
    """The state of an earlier start, or a new one with fresh secrets and free ports, if possible the *preferred* ones.

    Raises:
        DemoError: a remembered port is taken by another program, or the state cannot be read.
    """
    if not folder.state.exists():
        state = State(ports=choose_ports(preferred, taken=taken), secrets=Secrets())
        _write_private(folder.state, json.dumps(asdict(state), indent=1))
        return state
    state = _parse_state(folder.state, preferred)
    require_free(state.ports, taken=taken)
    return state


def _parse_state(path: Path, names: Iterable[str]) -> State:
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        ports = {name: int(known["ports"][name]) for name in names}
        return State(ports=ports, secrets=Secrets(**known["secrets"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} cannot be read as the state of an earlier demo: run `make clean` and start anew."
        raise DemoError(message) from error


def _write_private(path: Path, text: str) -> None:
    """Write *text* so that nobody else can read it and a cut-off write leaves no half file."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def only_demo(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock; the operating system lets go of it however the process ends.

    Raises:
        DemoError: another demo runs in this folder.
    """
    path = folder.path / LOCK
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            message = (
                f"Another demo runs in {folder.path} (process {holder}): stop it with Ctrl-C in its terminal first."
            )
            raise DemoError(message) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
