"""What becomes of a project's webhooks and ML backends when its deployment is to be heard elsewhere."""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backend.config import NO_MODEL
from backend.console import Console
from backend.label_studio import Project, basic_authorization
from backend.label_studio_wiring import Connection, Hook
from backend.switching import Switch
from tests import fakes

PROJECT = Project(3, "", 0, 0)
NEW = "http://new.example:9090"


def hook(url: str, password: str = "") -> Hook:
    headers = {"Authorization": basic_authorization("ls", password)} if password else {}
    return Hook(len(url), url, headers, active=True, with_payload=True)


def connection(url: str) -> Connection:
    return Connection(len(url), url, frozenset({NO_MODEL}), connected=True, problem="", timeout_s=100.0)


@dataclass
class Studio:
    """A Label Studio with one project, to look at, to make things in and to take them out."""

    password: str
    wired: list[Connection] = field(default_factory=list)
    hooked: list[Hook] = field(default_factory=list)

    def projects(self) -> list[Project]:
        return [PROJECT]

    def hooks(self, project: int) -> list[Hook]:
        return list(self.hooked)

    def connections(self, project: int) -> list[Connection]:
        return list(self.wired)

    def delete_hook(self, hook: Hook) -> None:
        self.hooked.remove(hook)

    def delete_connection(self, connection: Connection) -> None:
        self.wired.remove(connection)

    def webhook(self, project: Project, url: str) -> None:
        self.hooked.append(hook(f"{url}/webhook", self.password))

    def connection(self, project: Project, url: str, *, hears: bool) -> None:
        self.wired.append(connection(url))

    def shown(self, project: Project, url: str) -> None:
        """The predictions of a new ML backend are shown."""


@pytest.fixture
def told() -> io.StringIO:
    return io.StringIO()


def urls(studio: Studio) -> tuple[list[str], list[str]]:
    return [each.url for each in studio.hooked], [each.url for each in studio.wired]


def over(studio: Studio, told: io.StringIO, folder: Path) -> None:
    settings = replace(fakes.settings(folder), basic_auth_user="ls", basic_auth_pass=studio.password)
    console = Console(told)
    Switch(settings=settings, wiring=studio, setup=studio, console=console, hook=f"{NEW}/webhook", backend=NEW).over(
        PROJECT
    )


def test_the_deployments_former_ml_backend_goes_with_its_webhook(told: io.StringIO, tmp_path: Path):
    studio = Studio("ours", [connection("http://old:9090")], [hook("http://old:9090/webhook", "ours")])
    over(studio, told, tmp_path)
    assert urls(studio) == ([f"{NEW}/webhook"], [NEW])


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param("http://theirs:9090/webhook", id="its ML backend hears"),
        pytest.param("https://abc.execute-api.eu-west-1.amazonaws.com/v1/webhook", id="its function hears"),
    ],
)
def test_the_ml_backend_of_another_deployment_stays_and_is_told(theirs: str, told: io.StringIO, tmp_path: Path):
    studio = Studio("ours", [connection("http://theirs:9090")], [hook(theirs, "theirs")])
    over(studio, told, tmp_path)
    assert urls(studio) == ([theirs, f"{NEW}/webhook"], ["http://theirs:9090", NEW])
    assert "http://theirs:9090: left in project 3" in told.getvalue()
