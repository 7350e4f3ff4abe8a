"""What the workers of a host tell each other."""

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from backend.state import FORMAT, Leadership, ProjectState, StateFile

RECORDED = Path(__file__).parents[1] / "data" / "upgrade" / "0.1.0" / "backend" / "projects.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "projects.json"


def test_a_project_never_heard_of_has_an_empty_state(path: Path):
    states = StateFile(path)

    assert states.get(3) == ProjectState(3)
    assert states.projects() == []


def test_what_one_worker_writes_another_reads(path: Path):
    first, second = StateFile(path), StateFile(path)

    first.update(3, live="birds v1", labels=("Beak", "Head"))

    assert second.get(3) == ProjectState(3, live="birds v1", labels=("Beak", "Head"))
    second.update(3, url="http://backend:9090")
    assert first.get(3) == ProjectState(3, live="birds v1", labels=("Beak", "Head"), url="http://backend:9090")


def test_a_project_is_known_from_the_first_update_even_without_news(path: Path):
    StateFile(path).update(3, url="")

    assert StateFile(path).projects() == [3]


def test_an_update_without_news_does_not_touch_the_file(path: Path):
    states = StateFile(path)
    states.update(3, live="birds v1")
    before = path.stat()

    states.update(3, live="birds v1")

    assert path.stat() == before


@pytest.mark.parametrize(
    "text",
    [
        *("", "not json", "5", "{}", "[5]", '{"a": 1}', '[{"live": "x"}]', '[{"project": 3, "labels": 5}]', "\ufeff[]"),
        *("[", '{"format": 1}', '{"format": "1", "projects": []}', '{"format": 1, "projects": 5}'),
    ],
)
def test_a_file_that_is_not_ours_is_as_none(path: Path, text: str):
    path.write_text(text, encoding="utf-8")
    states = StateFile(path)

    assert states.projects() == []
    assert states.update(3, live="birds v1").live == "birds v1"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xff\xfe\x00broken", id="no UTF-8"),
        pytest.param(b"\x00" * 4096, id="zeros, as a crash leaves them"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
    ],
)
def test_a_file_that_cannot_be_decoded_is_as_none_and_told_once(
    path: Path, body: bytes, caplog: pytest.LogCaptureFixture
):
    path.write_bytes(body)
    states = StateFile(path)

    assert [states.projects() for _ in range(3)] == [[], [], []]
    assert caplog.text.count("is no state file") == 1
    assert states.update(3, live="birds v1").live == "birds v1"
    assert StateFile(path).projects() == [3]


def test_a_file_that_cannot_be_read_is_told_once_and_read_when_it_can_be(path: Path, caplog: pytest.LogCaptureFixture):
    StateFile(path).update(3, live="birds v1")
    aside = path.rename(path.with_suffix(".aside"))
    path.mkdir()  # what root cannot read either
    states = StateFile(path)

    assert [states.projects() for _ in range(3)] == [[], [], []]
    assert caplog.text.count("cannot read") == 1
    assert states.update(4, live="birds v1").live == "birds v1"
    path.rmdir()
    aside.rename(path)
    assert states.projects() == [3]


def test_the_file_of_0_1_0_which_did_not_tell_its_format_is_read(path: Path):
    shutil.copy(RECORDED, path)
    states = StateFile(path)

    assert states.get(1).live == "segmentation v1"
    assert states.get(1).labels == ("Beak", "Head", "Wing", "Body")
    states.update(1, live="segmentation v2")
    assert json.loads(path.read_bytes())["format"] == FORMAT
    assert StateFile(path).get(1) == replace(states.get(1), live="segmentation v2")


def test_a_file_of_a_newer_format_is_as_none_and_told_once(path: Path, caplog: pytest.LogCaptureFixture):
    path.write_text(json.dumps({"format": FORMAT + 1, "projects": {"3": {}}}), encoding="utf-8")
    states = StateFile(path)

    assert [states.projects() for _ in range(3)] == [[], [], []]
    assert caplog.text.count(f"a newer version wrote it, in format {FORMAT + 1}") == 1
    assert states.update(3, live="birds v1").live == "birds v1"
    assert StateFile(path).projects() == [3]


def test_fields_of_another_release_are_passed_over(path: Path):
    projects = [{**asdict(ProjectState(3, live="birds v1")), "future": 1}]
    path.write_text(json.dumps({"format": FORMAT, "projects": projects}), encoding="utf-8")

    assert StateFile(path).get(3).live == "birds v1"


def test_when_the_folder_is_gone_the_state_is_kept_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    states = StateFile(tmp_path / "gone" / "projects.json")

    states.update(3, live="birds v1")
    states.update(4, live="birds v2")

    assert (states.get(3).live, states.get(4).live) == ("birds v1", "birds v2")
    assert "cannot write" in caplog.text


def test_no_update_of_many_threads_is_lost(path: Path):
    files = [StateFile(path) for _ in range(4)]  # as four workers have them

    def work(number: int) -> None:
        for count in range(25):
            files[number].update(3, **{["live", "url", "prefetched", "problem"][number]: str(count)})
            files[number].update(100 * number + count, live="x")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    state = StateFile(path).get(3)
    assert (state.live, state.url, state.prefetched, state.problem) == ("24", "24", "24", "24")
    assert len(StateFile(path).projects()) == 100
    assert {each.name for each in path.parent.iterdir()} == {"projects.json", "projects.lock"}


def test_a_reader_notices_every_write_however_fast_they_follow(path: Path):
    writer, reader = StateFile(path), StateFile(path)
    for count in range(200):
        writer.update(3, failures=count)
        assert reader.get(3).failures == count


LEAD = """
import sys, pathlib
from backend.state import Leadership
leadership = Leadership(pathlib.Path(sys.argv[1]))
print(leadership.held(), flush=True)
sys.stdin.read()
"""


def test_one_process_leads_until_it_ends(tmp_path: Path):
    lock = tmp_path / "leader.lock"
    here = Leadership(lock)
    with subprocess.Popen(
        [sys.executable, "-c", LEAD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not here.held()
        other.kill()

    assert here.held()
    assert here.held()


def test_nobody_leads_where_nothing_can_be_written(tmp_path: Path):
    assert not Leadership(tmp_path / "gone" / "leader.lock").held()
