"""What a command tells while it works."""

import io

import pytest

from backend.console import Console
from backend.errors import AwsError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def progress_at(console: Console, clock: Clock, *seconds: float) -> None:
    for clock.now in seconds:
        console.progress(f"at {clock.now:g}")


def test_what_is_quick_is_not_spoken_of():
    told, clock = io.StringIO(), Clock()
    console = Console(told, clock=clock)

    progress_at(console, clock, 0, 0.5, 1.9)
    console.item("bucket", "birds: found")
    progress_at(console, clock, 2, 3, 3.9)

    assert told.getvalue() == "bucket             birds: found\n"


def test_elsewhere_than_on_a_terminal_progress_is_a_line_now_and_then():
    told, clock = io.StringIO(), Clock()

    progress_at(Console(told, clock=clock), clock, *range(25))

    assert told.getvalue().splitlines() == ["at 2", "at 12", "at 22"]


def test_on_a_terminal_progress_is_one_line_that_goes_when_the_next_thing_is_said():
    told, clock = Terminal(), Clock()
    console = Console(told, clock=clock)

    progress_at(console, clock, 0, 2, 3)
    console.say("done")

    assert told.getvalue() == "\r\x1b[2Kat 2\r\x1b[2Kat 3\r\x1b[2Kdone\n"


def test_a_long_call_gives_its_result_and_tells_meanwhile():
    told, clock = io.StringIO(), Clock()
    console = Console(told, clock=clock)

    def call() -> int:
        while not told.getvalue():
            pass
        return 7

    def text() -> str:
        return "still at it"

    clock.now = 0
    console.progress(text)
    clock.now = 3

    assert console.during(text, call) == 7
    assert told.getvalue() == "still at it\n"


def test_a_long_call_s_error_comes_out_where_it_is_waited_for():
    def call() -> None:
        raise AwsError("no")

    with pytest.raises(AwsError, match="no"):
        Console(io.StringIO()).during(lambda: "", call)
