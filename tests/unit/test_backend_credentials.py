"""What containers are given of a profile, as their boto3 reads it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.credentials import Credentials, DeferredRefreshableCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError, UnauthorizedSSOTokenError
from werkzeug.serving import make_server

from backend.credentials import LIFETIME, Profile, create_app, of_the_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "between-containers"
HEADERS = {"Authorization": TOKEN}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "annotators")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)


def write_keys(folder: Path, secret: str) -> None:
    keys = f"[annotators]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {secret}\n"
    (folder / "credentials").write_text(keys)


@contextmanager
def served(profile: Profile) -> Iterator[str]:
    """The address that SDKs ask."""
    server = make_server("127.0.0.1", 0, create_app(profile), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/credentials"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def of_a_container(monkeypatch: pytest.MonkeyPatch, url: str) -> Credentials:
    """What boto3 finds in a container that has neither a profile nor keys."""
    with monkeypatch.context() as inside:
        inside.delenv("AWS_PROFILE")
        inside.setenv("AWS_CONFIG_FILE", "nowhere")
        inside.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
        inside.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        found: Credentials | None = boto3.session.Session().get_credentials()
    assert found
    return found


def role(*, key: str, expires: datetime) -> Credentials:
    """Credentials of a role, which botocore fetches when they are first wanted and again before they expire."""
    fetched = {"access_key": key, "secret_key": "secret", "token": "session", "expiry_time": expires.isoformat()}
    made: Credentials = DeferredRefreshableCredentials(lambda: fetched, "assume-role")
    return made


def test_a_container_gets_the_keys_of_the_profile(monkeypatch: pytest.MonkeyPatch):
    with served(Profile(lambda: Credentials("AKIDEXAMPLE", "first"))) as url:
        found = of_a_container(monkeypatch, url).get_frozen_credentials()

    assert (found.access_key, found.secret_key, found.token) == ("AKIDEXAMPLE", "first", None)


def test_keys_that_were_exchanged_are_handed_out_at_the_next_question(tmp_path: Path):
    client = create_app().test_client()
    write_keys(tmp_path, "first")
    assert client.get("/credentials", headers=HEADERS).get_json()["SecretAccessKey"] == "first"

    write_keys(tmp_path, "second")

    assert client.get("/credentials", headers=HEADERS).get_json()["SecretAccessKey"] == "second"


def test_keys_without_an_end_are_asked_for_again_within_the_hour():
    answer = Profile(lambda: Credentials("AKID", "secret")).answer()

    assert answer["Expiration"]
    left = datetime.fromisoformat(answer["Expiration"]) - datetime.now(UTC)
    assert LIFETIME - timedelta(seconds=10) < left <= LIFETIME


def test_a_role_comes_with_its_session_and_its_end(monkeypatch: pytest.MonkeyPatch):
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    profile = Profile(lambda: role(key="ASIA", expires=end))

    with served(profile) as url:
        found = of_a_container(monkeypatch, url).get_frozen_credentials()

    assert (found.access_key, found.secret_key, found.token) == ("ASIA", "secret", "session")
    assert profile.answer()["Expiration"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_role_is_not_assumed_anew_for_each_container():
    assumed = []

    def load() -> Credentials:
        assumed.append(1)
        return role(key="ASIA", expires=datetime.now(UTC) + timedelta(hours=2))

    profile = Profile(load)
    for _ in range(5):
        profile.answer()

    assert len(assumed) == 1


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic something"}], ids=["none", "another"])
def test_who_does_not_know_the_token_gets_nothing(tmp_path: Path, headers: dict[str, str]):
    write_keys(tmp_path, "first")

    answer = create_app().test_client().get("/credentials", headers=headers)

    assert answer.status_code == 401
    assert "first" not in answer.get_data(as_text=True)


def test_without_a_token_it_does_not_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")

    with pytest.raises(SystemExit):
        create_app()

    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN is not set" in capsys.readouterr().err


def test_it_is_well_while_there_are_credentials_and_shows_none(tmp_path: Path):
    client = create_app().test_client()
    assert client.get("/livez").status_code == 503

    write_keys(tmp_path, "first")

    answer = client.get("/livez")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "UP"})


def no_credentials() -> None:
    return None


def without_a_terminal() -> Credentials:
    raise EOFError


def ended() -> Credentials:
    raise UnauthorizedSSOTokenError


def refused() -> Credentials:
    raise CredentialRetrievalError(provider="custom-process", error_msg="exit 1")


def not_to_be_assumed() -> Credentials:
    told = "not authorized to perform: sts:AssumeRole"
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": told}}, "AssumeRole")


def printed_by_a_process() -> Credentials:
    raise json.JSONDecodeError("Expecting value", "no JSON", 0)


@pytest.mark.parametrize(
    ("load", "cure"),
    [
        (of_the_environment, "in a folder that user"),
        (no_credentials, "in a folder that user"),
        (without_a_terminal, "mfa_serial"),
        (ended, "aws sso login --profile annotators"),
        (refused, "aws sts get-caller-identity --profile annotators"),
        (not_to_be_assumed, "aws sts get-caller-identity --profile annotators"),
        (printed_by_a_process, "aws sts get-caller-identity --profile annotators"),
    ],
)
def test_a_profile_without_credentials_is_told_with_its_cure(
    load: Callable[[], Credentials | None], cure: str, caplog: pytest.LogCaptureFixture
):
    answer = create_app(Profile(load)).test_client().get("/credentials", headers=HEADERS)

    assert answer.status_code == 503
    assert answer.get_json()["message"].startswith("no credentials from the profile 'annotators': ")
    assert cure in answer.get_json()["message"]
    assert [record.getMessage() for record in caplog.records] == [answer.get_json()["message"]]
