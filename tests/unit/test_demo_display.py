"""Progress on a terminal is one line that is rewritten; in a log it is a line for each change."""

import io

import pytest

from demo.display import QUIET_REPEAT_S, Display


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_for_each_change():
    stream = io.StringIO()
    display = Display(stream)
    for text in ("annotations 1/16", "annotations 1/16", "annotations 2/16"):
        display.status(text)

    assert stream.getvalue() == "annotations 1/16\nannotations 2/16\n"


def test_a_log_is_spared_short_waits():
    stream = io.StringIO()
    display = Display(stream)
    display.status("Label Studio starts ...", waited_s=3)

    assert stream.getvalue() == ""


def test_a_log_gets_long_waits_with_their_seconds():
    stream = io.StringIO()
    display = Display(stream)
    display.status("Label Studio starts ...", waited_s=QUIET_REPEAT_S)

    assert stream.getvalue() == "Label Studio starts ... (15 s)\n"


def test_a_terminal_line_is_rewritten_and_gives_way_to_a_line_that_stays():
    stream = Terminal()
    display = Display(stream)
    display.status("annotations 1/16")
    display.line("done")

    assert stream.getvalue() == "\r\x1b[2Kannotations 1/16\r\x1b[2Kdone\n"


def test_steps_are_timed_and_a_failed_one_is_not_done():
    display = Display(io.StringIO())
    with display.step("first"):
        pass
    with pytest.raises(RuntimeError), display.step("second"):
        raise RuntimeError

    assert [step.name for step in display.steps] == ["first"]
