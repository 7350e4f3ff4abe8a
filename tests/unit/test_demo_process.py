"""Child processes: what is said when they end, and what is swept after a demo was killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.errors import DemoError
from demo.process import Service, end_tree, ending, half_installed_hint, listeners, start, sweep, tail
from demo.state import Folder

LISTEN = (
    "import socket,time;s=socket.create_server(('127.0.0.1',0));print(s.getsockname()[1],flush=True);time.sleep(60)"
)
STUBBORN_PARENT = (
    "import signal,subprocess,sys,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);"
    "c=subprocess.Popen([sys.executable,'-c','import time;time.sleep(60)']);print(c.pid,flush=True);time.sleep(60)"
)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "data")
    folder.make()
    return folder


@pytest.fixture(name="sleeper")
def _sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time;time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def service(*command: str) -> Service:
    return Service("thing", "The thing", command, dict(os.environ), 1, "/", 5)


def test_a_service_that_ends_is_told_with_its_last_words(folder: Folder):
    child = start(service(sys.executable, "-c", "print('no luck today'); raise SystemExit(3)"), folder)
    child.process.wait()

    with pytest.raises(DemoError, match=r"The thing ended by itself \(exit status 3\)(.|\n)*no luck today"):
        child.require_alive()


def test_a_missing_module_is_told_as_a_half_installed_environment(folder: Folder):
    child = start(service(sys.executable, "-m", "module_that_is_not_there"), folder)
    child.process.wait()

    with pytest.raises(DemoError, match="run `make install` again"):
        child.require_alive()


def test_a_missing_program_is_told_as_a_half_installed_environment(folder: Folder):
    with pytest.raises(DemoError, match="run `make install` again"):
        start(service(str(folder.path / "no-such-program")), folder)


def test_the_log_of_the_start_before_is_kept(folder: Folder):
    for word in ("first", "second"):
        start(service(sys.executable, "-c", f"print('{word}')"), folder).process.wait()

    assert (folder.logs / "thing.previous.log").read_text() == "first\n"
    assert (folder.logs / "thing.log").read_text() == "second\n"


def test_stopping_ends_a_service_that_ignores_sigterm_and_its_children(folder: Folder):
    child = start(service(sys.executable, "-c", STUBBORN_PARENT), folder)
    grandchild = int(_first_line(child.log))

    child.stop(timeout_s=0.3)

    assert child.process.poll() is not None
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
    assert not child.pid_file.exists()


def test_what_a_killed_demo_left_is_swept(folder: Folder):
    child = start(service(sys.executable, "-c", "import time;time.sleep(60)"), folder)

    assert sweep(folder) == ["thing"]
    child.process.wait(timeout=5)
    assert list(folder.pids.iterdir()) == []


def test_what_a_killed_service_left_is_swept(folder: Folder):
    child = start(service(sys.executable, "-c", STUBBORN_PARENT), folder)
    grandchild = int(_first_line(child.log))
    child.process.kill()
    child.process.wait()

    assert sweep(folder, timeout_s=0.3) == ["thing"]
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"pid": None, "created": 0.0}, id="the number belongs to a younger process"),
        pytest.param({"pid": 2**22 + 1, "created": 0.0}, id="no such process"),
        pytest.param({}, id="not a record"),
    ],
)
def test_a_process_that_is_not_ours_is_left_alone(
    folder: Folder, sleeper: subprocess.Popen[bytes], record: dict[str, float | None]
):
    if record.get("pid", 0) is None:
        record = {**record, "pid": sleeper.pid}
    (folder.pids / "thing.json").write_text(json.dumps(record))

    assert sweep(folder) == []
    assert sleeper.poll() is None


def test_the_addresses_on_which_a_service_listens_are_seen(folder: Folder):
    child = start(service(sys.executable, "-c", LISTEN), folder)
    port = int(_first_line(child.log))
    try:
        assert listeners(child.process.pid) == {("127.0.0.1", port)}
    finally:
        child.stop()


def test_ending_a_process_that_has_ended_does_nothing(sleeper: subprocess.Popen[bytes]):
    sleeper.kill()
    sleeper.wait()

    end_tree(sleeper.pid, timeout_s=0.1)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit status 0"), (1, "exit status 1"), (-9, "killed by SIGKILL"), (-250, "killed by signal 250")],
)
def test_exit_codes_become_words(code: int, words: str):
    assert ending(code) == words


def test_the_tail_is_the_last_lines_that_say_something(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text("a\n\nb\n\nc\n\n")

    assert tail(path, 2) == ["b", "c"]
    assert tail(tmp_path / "none", 2) == []


def test_no_hint_is_given_without_a_sign():
    assert half_installed_hint(["Address already in use"]) == []


def _first_line(path: Path) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if "\n" in (text := path.read_text()):
            return text.splitlines()[0]
        time.sleep(0.02)
    raise AssertionError(path)
