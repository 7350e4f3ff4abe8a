"""Ctrl-C asks ``predict`` for an end, and the second time makes one."""

import signal
from collections.abc import Iterator

import pytest

from backend.cli import main
from backend.cli_predict import interruptible


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """As on a terminal, whatever the tests were started by."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_told_and_the_second_ends_it(number: signal.Signals):
    with interruptible() as interrupted:
        assert interrupted() == 0
        signal.raise_signal(number)
        assert interrupted() > 0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_afterwards_signals_mean_what_they_meant_before():
    with interruptible():
        """Nothing."""

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with interruptible() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted() == 0


@pytest.mark.parametrize("arguments", [[], ["--project", "birds"], ["--project", "0"]])
def test_a_project_is_wanted(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["predict", *arguments])

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
