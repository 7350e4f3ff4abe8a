"""What is taken out of Label Studio, and how a person is asked first."""

import io
from dataclasses import dataclass, field

import pytest

from backend.console import Console, agreed
from backend.costs import Use, cost_lines
from backend.errors import BackendError
from backend.label_studio import Project, basic_authorization
from backend.label_studio_wiring import Connection, Hook
from backend.ownership import Marks
from backend.unhooking import unhook

TRIGGER = "https://abc.execute-api.eu-west-1.amazonaws.com/v1/webhook"


def hook(number: int, url: str, password: str = "") -> Hook:
    headers = {"Authorization": basic_authorization("label-studio", password)} if password else {}
    return Hook(number, url, headers, active=True, with_payload=True)


def connection(number: int, url: str, title: str) -> Connection:
    return Connection(number, url, frozenset({title}), connected=True, problem="", timeout_s=100.0)


@dataclass
class Studio:
    """A Label Studio with one project, and what is taken out of it."""

    wired: list[Connection] = field(default_factory=list)
    hooked: list[Hook] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def projects(self) -> list[Project]:
        return [Project(3, "", 0, 0)]

    def hooks(self, project: int) -> list[Hook]:
        return self.hooked

    def connections(self, project: int) -> list[Connection]:
        return self.wired

    def delete_hook(self, hook: Hook) -> None:
        self.deleted.append(hook.url)

    def delete_connection(self, connection: Connection) -> None:
        self.deleted.append(connection.url)


MARKS = Marks(
    is_version=lambda name: name.startswith("segmentation"),
    addresses={TRIGGER, ""},
    passwords=[("label-studio", "ours")],
)


def test_only_our_ml_backend_and_the_webhook_to_it_are_taken_out():
    studio = Studio(
        wired=[connection(1, "http://ours:9090", "segmentation v3"), connection(2, "http://other", "SAM")],
        hooked=[hook(1, "http://ours:9090/webhook", "ours"), hook(2, "http://other/webhook")],
    )
    unhook(studio, Console(io.StringIO()), MARKS)
    assert studio.deleted == ["http://ours:9090", "http://ours:9090/webhook"]


def test_what_another_deployment_has_in_the_same_label_studio_stays_and_is_told():
    told = io.StringIO()
    studio = Studio(
        wired=[connection(1, "http://theirs:9090", "segmentation v3")],
        hooked=[hook(1, "http://theirs:9090/webhook", "theirs")],
    )
    unhook(studio, Console(told), MARKS)
    assert studio.deleted == []
    assert "http://theirs:9090: left in project 3, since no webhook there tells" in told.getvalue()


def test_the_webhook_to_the_lambda_function_is_taken_out_with_the_ml_backend_of_its_project():
    studio = Studio(
        wired=[connection(1, "http://ours:9090", "segmentation v3")],
        hooked=[hook(1, TRIGGER), hook(2, "http://other/webhook")],
    )
    unhook(studio, Console(io.StringIO()), MARKS)
    assert studio.deleted == ["http://ours:9090", TRIGGER]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "goes_on"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_a_person_is_asked_and_anything_but_yes_is_no(answer: str, goes_on: bool):
    asked = io.StringIO()
    assert agreed("Go on?", yes=False, asked=asked, answers=Terminal(answer)) is goes_on
    assert asked.getvalue() == "Go on? [y/N] "


def test_nobody_is_asked_who_said_yes_before():
    assert agreed("Go on?", yes=True, asked=io.StringIO(), answers=io.StringIO()) is True


def test_without_a_terminal_nothing_goes_on():
    with pytest.raises(BackendError, match="--yes is wanted"):
        agreed("Go on?", yes=False, asked=io.StringIO(), answers=io.StringIO("y\n"))


def test_an_instance_without_a_known_price_is_said_to_have_none():
    told = "\n".join(
        cost_lines(Use(trigger="backend", training_instance="ml.new.large", endpoint_instance="ml.m5.large"))
    )
    assert "by the minute of ml.new.large: see AWS's price list" in told
    assert "$84 a month" in told
