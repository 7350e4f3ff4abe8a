"""The command line: exit status, and what a person is told when something goes wrong."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.cli import main

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "LABEL_STUDIO_URL": "http://127.0.0.1:9",
    "LABEL_STUDIO_API_KEY": "very-secret-token",
    "S3_BUCKET": "birds",
    "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "very-secret-key",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
SETUP = ["setup", "--backend-url", "http://localhost:9090", "--wait", "0"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Usable settings, and services that are all away."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return ENVIRONMENT


def test_missing_settings_are_told_together(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("S3_BUCKET", "LABEL_STUDIO_URL"):
        monkeypatch.delenv(name)

    assert main(SETUP) == 2

    told = capsys.readouterr().err
    assert "S3_BUCKET" in told
    assert "LABEL_STUDIO_URL" in told


def test_a_failure_is_told_without_a_traceback_and_without_secrets(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    assert main([*SETUP, "--storage-keys"]) == 1

    told = capsys.readouterr()
    assert told.err.startswith("AWS cannot be reached")
    assert "Traceback" not in told.err
    assert "very-secret" not in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--backend-url", "http://backend:9090"], "a host name without a dot", id="no dot"),
        pytest.param(["--labels", ","], "--labels", id="no labels"),
        pytest.param(["--label-config", "nowhere.xml"], "nowhere.xml", id="no such file"),
        pytest.param(["--images-prefix", "label-studio"], "--images-prefix", id="the backend's own prefix"),
        pytest.param(["--annotations-prefix", "/"], "--annotations-prefix", id="the whole bucket"),
        pytest.param(["--images-prefix", "a", "--annotations-prefix", "a/b"], "one beside the other", id="one place"),
        pytest.param(["--storage-endpoint", "s3:8333"], "--storage-endpoint", id="no address"),
        pytest.param(["--label-studio-public-url", "localhost"], "--label-studio-public-url", id="no public address"),
        pytest.param(["--set", "MaxTrainingSeconds"], "--set: wanted Name=Value", id="no value"),
    ],
)
def test_what_people_give_is_checked_before_anything_is_called(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
):
    assert main([*SETUP, *arguments]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["setup"], ["fly"], [*SETUP, "--labels", "a", "--label-config", "b"], [*SETUP, "--wait", "nan"]],
)
def test_a_wrong_command_line_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_credentials_that_expire_or_are_not_there_are_not_handed_on(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")

    assert main([*SETUP, "--storage-keys"]) == 1
    assert "found no AWS credentials" in capsys.readouterr().err


def test_ctrl_c_ends_with_status_130_and_a_word():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": url, "PATH": os.environ["PATH"]}
        with subprocess.Popen(
            [sys.executable, "-m", "backend", *SETUP],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = silent.accept()  # it is at work
            with connection:
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
                _, told = process.communicate(timeout=30)

    assert process.returncode == 130
    assert told == "interrupted\n"
