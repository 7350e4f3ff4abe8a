"""What the demo remembers between starts, and who may read it."""

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.state import FREE_SPACE_GB, Folder, State, load_state, only_demo, require_space


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "data")
    folder.make()
    return folder


def load(folder: Folder, preferred: Mapping[str, int]) -> State:
    """The folder's state on a machine on which nobody listens."""
    return load_state(folder, preferred, taken=lambda port: False)


def test_the_second_start_has_the_ports_and_secrets_of_the_first(folder: Folder):
    first = load(folder, {"s3": 8333})

    assert load(folder, {"s3": 8333}) == first


def test_secrets_differ_between_folders(folder: Folder, tmp_path: Path):
    other = Folder(tmp_path / "other")
    other.make()

    assert load(folder, {}).secrets != load(other, {}).secrets


def test_nobody_else_can_read_the_state(folder: Folder):
    load(folder, {})

    assert stat.S_IMODE(folder.state.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_secrets_do_not_show_when_the_state_is_printed(folder: Folder):
    state = load(folder, {})

    assert state.secrets.label_studio_password not in repr(state)
    assert state.secrets.secret_access_key not in repr(state)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut off"),
        pytest.param('{"ports": {}, "secrets": {}}', id="a port is missing"),
        pytest.param('{"ports": {"s3": 1}, "secrets": {"password": 1}}', id="another version's secrets"),
        pytest.param("[]", id="no object"),
    ],
)
def test_a_state_that_cannot_be_read_is_told_in_a_sentence(folder: Folder, text: str):
    folder.state.write_text(text)

    with pytest.raises(DemoError, match="make clean"):
        load(folder, {"s3": 8333})


def test_a_second_demo_in_the_same_folder_is_refused(folder: Folder):
    with only_demo(folder), pytest.raises(DemoError, match="Another demo runs in"), only_demo(folder):
        pass


def test_the_lock_is_free_after_the_demo(folder: Folder):
    with only_demo(folder):
        pass
    with only_demo(folder):
        pass


def test_emptying_keeps_the_lock_and_removes_the_rest(folder: Folder):
    folder.data("s3").joinpath("volume").write_text("x")
    load(folder, {})
    with only_demo(folder):
        folder.empty()

    assert sorted(path.name for path in folder.path.iterdir()) == ["lock", "logs", "pids"]


def test_too_little_disk_space_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(DemoError, match=r"only 0\.1 GB are free"):
        require_space(100_000_000, where=tmp_path)


def test_enough_disk_space_is_fine(tmp_path: Path):
    require_space(int(FREE_SPACE_GB * 1e9), where=tmp_path)


def test_a_data_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(DemoError, match="cannot be made"):
        Folder(tmp_path / "file" / "data").make()
