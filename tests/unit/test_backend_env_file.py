"""The settings file: private, and never less than it was."""

import stat
from pathlib import Path

import pytest

from backend.env_file import SECRETS, check_values, check_writable, service_env, write_env
from backend.errors import BackendError
from tests import fakes


def test_only_its_owner_can_read_it(tmp_path: Path):
    file = tmp_path / "backend.env"
    write_env(file, {"S3_BUCKET": "birds"})
    assert file.read_text() == "S3_BUCKET=birds\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_closed(tmp_path: Path):
    file = tmp_path / "backend.env"
    file.write_text("OTHER=1\n")
    file.chmod(0o644)
    write_env(file, {"S3_BUCKET": "birds"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_other_lines_stay_and_old_values_go(tmp_path: Path):
    file = tmp_path / "backend.env"
    file.write_text("# mine\nS3_BUCKET=old\nexport S3_PREFIX=x\nLOG_LEVEL=DEBUG\n")
    write_env(file, {"S3_BUCKET": "birds", "S3_PREFIX": "p"})
    assert file.read_text() == "# mine\nLOG_LEVEL=DEBUG\nS3_BUCKET=birds\nS3_PREFIX=p\n"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(BackendError, match="--write-env"):
        write_env(tmp_path / "no" / "backend.env", {})


def test_the_secret_ones_are_known_as_such(tmp_path: Path):
    values = service_env(fakes.settings(tmp_path, basic_auth_user="u", basic_auth_pass="p"), "eu-west-1")
    assert set(SECRETS) < set(values)
    assert values["AWS_REGION"] == "eu-west-1"


@pytest.mark.parametrize("value", ["pa$$word", "a\\b", "'a'", 'a"b', "a`b", "a #b", "#a", "a\nb", " a", "a "])
def test_a_value_that_programs_would_read_otherwise_is_refused_and_not_shown(tmp_path: Path, value: str):
    file = tmp_path / "backend.env"
    with pytest.raises(BackendError, match="--write-env: BASIC_AUTH_PASS: wanted a value that") as caught:
        write_env(file, {"S3_BUCKET": "birds", "BASIC_AUTH_PASS": value})
    assert repr(value) not in str(caught.value)
    assert not file.exists()


@pytest.mark.parametrize("value", ["", "a-B_9", "a#b", "Epochs=40,CropSize=300", "http://h:1/a?b&c", "a;b (c) !%~*"])
def test_a_value_that_is_read_as_it_is_is_written_as_it_is(tmp_path: Path, value: str):
    check_values({"ANY": value})
    write_env(tmp_path / "backend.env", {"ANY": value})
    assert (tmp_path / "backend.env").read_text() == f"ANY={value}\n"


@pytest.mark.parametrize("name", ["no/backend.env", "."])
def test_a_file_that_could_not_be_written_is_told_before_it_is(tmp_path: Path, name: str):
    with pytest.raises(BackendError, match="--write-env"):
        check_writable(tmp_path / name)


def test_a_file_that_could_be_written_is_not_touched(tmp_path: Path):
    check_writable(tmp_path / "backend.env")
    assert not (tmp_path / "backend.env").exists()
