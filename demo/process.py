"""Child processes: started in groups of their own, watched, stopped, and swept when a killed demo left them behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import requests

from demo.errors import DemoError
from demo.ports import HOST
from demo.state import ROOT, Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from demo.display import Display

LOG_TAIL_LINES = 12
KILL_S = 2.0
STOP_S = 8.0
"""A child that has not ended this long after SIGTERM is killed."""

SAME_START_S = 2.0
"""A process is the one we started if its start time is this close: the system counts it from its boot."""


@dataclass(frozen=True, slots=True)
class Service:
    """How to start one service and how to know that it is ready."""

    name: str
    title: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    port: int
    health_path: str
    timeout_s: float

    @property
    def url(self) -> str:
        """The address that people and the other services use."""
        return f"http://{HOST}:{self.port}"


@dataclass(slots=True)
class Child:
    """A running service."""

    service: Service
    folder: Folder
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> Path:
        """Where the service's output goes."""
        return self.folder.logs / f"{self.service.name}.log"

    @property
    def pid_file(self) -> Path:
        """What lets a later start find this process."""
        return self.folder.pids / f"{self.service.name}.json"

    def require_alive(self) -> None:
        """Raise DemoError, with the end of its log, if the service has ended."""
        code = self.process.poll()
        if code is None:
            return
        message = f"{self.service.title} ended by itself ({ending(code)}).\n{self.last_words()}"
        raise DemoError(message)

    def last_words(self) -> str:
        """The end of the log, indented, and where the rest is."""
        lines = tail(self.log, LOG_TAIL_LINES)
        hint = half_installed_hint(lines)
        return "\n".join([f"Its last lines ({self.log}):", *(f"    {line}" for line in lines), *hint])

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the service and everything it started: SIGTERM, and SIGKILL for what has not ended after *timeout_s*."""
        end_tree(self.process.pid, timeout_s=timeout_s)
        self.process.wait()
        self.pid_file.unlink(missing_ok=True)


def start(service: Service, folder: Folder) -> Child:
    """Start *service* with its output in a log file (the one of the start before is kept) and its process id on disk.

    Raises:
        DemoError: its program is not there.
    """
    path = folder.logs / f"{service.name}.log"
    if path.exists():
        path.replace(path.with_suffix(".previous.log"))
    with path.open("wb") as log:
        try:
            process = subprocess.Popen(
                service.command,
                env=dict(service.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            message = (
                f"{service.title} cannot be started ({service.command[0]}: {error.strerror}): run `make install` again."
            )
            raise DemoError(message) from error
    child = Child(service, folder, process)
    _record(child.pid_file, process.pid)
    return child


def _record(path: Path, pid: int) -> None:
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    path.write_text(json.dumps({"pid": pid, "created": created}))


def wait_until_ready(child: Child, display: Display, *, others: Iterable[Child] = ()) -> float:
    """Wait until *child* answers, while it and *others* live; the seconds since its start.

    Raises:
        DemoError: a child died, the time is over, or somebody else answers on the child's port.
    """
    service = child.service
    while True:
        waited_s = time.monotonic() - child.started
        for each in (child, *others):
            each.require_alive()
        if answers(f"{service.url}{service.health_path}"):
            _require_own_port(child)
            return waited_s
        if waited_s > service.timeout_s:
            message = f"{service.title} did not answer within {service.timeout_s:.0f} s.\n{child.last_words()}"
            raise DemoError(message)
        display.status(f"{service.title} starts ...", waited_s=waited_s)
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether *url* answers with a status below 400 within a second."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def _require_own_port(child: Child) -> None:
    """Raise DemoError if the port that answered belongs to a process that is not of the child's family."""
    listening = {port for _, port in listeners(child.process.pid)}
    if child.service.port not in listening:
        message = (
            f"{child.service.title} was to listen on port {child.service.port}, but another program took that port "
            "meanwhile: stop that program and start again."
        )
        raise DemoError(message)


def family(pid: int) -> list[psutil.Process]:
    """The process, its descendants, and what is left in its session if it has ended itself; as far as they live."""
    found: dict[int, psutil.Process] = {}
    try:
        process = psutil.Process(pid)
        found = {each.pid: each for each in (process, *process.children(recursive=True))}
    except psutil.NoSuchProcess:
        pass
    return list({**found, **{each.pid: each for each in psutil.process_iter() if _session(each.pid) == pid}}.values())


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def listeners(pid: int) -> set[tuple[str, int]]:
    """The addresses (host, port) on which the process and its descendants listen."""
    found: set[tuple[str, int]] = set()
    for process in family(pid):
        try:
            connections = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def end_tree(pid: int, *, timeout_s: float) -> None:
    """End the process and its family: SIGTERM to the eldest, SIGKILL to all that are left after *timeout_s*."""
    processes = family(pid)
    _signal(processes[:1], signal.SIGTERM)
    _signal(_still_alive(processes, timeout_s=timeout_s), signal.SIGKILL)
    _still_alive(processes, timeout_s=KILL_S)


def _still_alive(processes: Sequence[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Those that have not ended after *timeout_s*; sooner if all have. What only waits for its parent has ended."""
    deadline = time.monotonic() + timeout_s
    while True:
        alive = [process for process in processes if _lives(process)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def sweep(folder: Folder, *, timeout_s: float = STOP_S) -> list[str]:
    """End the services that a killed demo left in *folder*; their names.

    Processes are ended only if they are the recorded one or descend from it: the system gives process ids out again.
    """
    swept = []
    for path in sorted(folder.pids.glob("*.json")):
        pid = _left_behind(path)
        if pid is not None:
            end_tree(pid, timeout_s=timeout_s)
            swept.append(path.stem)
        path.unlink(missing_ok=True)
    return swept


def _left_behind(path: Path) -> int | None:
    """The process id recorded in *path* if that very process, or something in the session that it began, lives."""
    try:
        record = json.loads(path.read_text())
        pid, created = int(record["pid"]), float(record["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        same = abs(psutil.Process(pid).create_time() - created) < SAME_START_S
    except psutil.Error:
        # Its number is not given out again while its session has members.
        same = bool(family(pid))
    return pid if same else None


def tail(path: Path, count: int) -> list[str]:
    """The last *count* lines of a text file that are not empty; none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 20_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def ending(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def half_installed_hint(lines: Sequence[str]) -> list[str]:
    """What to do if the log's end speaks of a module or package that is missing."""
    signs = ("ModuleNotFoundError", "ImportError", "No module named", "PackageNotFoundError")
    if any(sign in line for line in lines for sign in signs):
        return ["The installation is not complete: run `make install` again (`make reinstall` if that does not help)."]
    return []
