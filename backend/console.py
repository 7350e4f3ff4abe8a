"""What a command tells a person: lines that stay, and how far it is where something takes long."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO, TypeVar

from backend.errors import BackendError
from backend.patience import patiently

T = TypeVar("T")
PATIENT_S = 2.0  # without progress a person waits this long
REWRITE_S = 1.0  # on a terminal
REPEAT_S = 10.0  # elsewhere, where each time is a line
_TICK_S = 0.2


@dataclass(slots=True)
class Console:
    """Writes to *stream*: on a terminal progress is one line that is written anew, elsewhere a line now and then."""

    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _open: bool = False
    _next: float | None = None

    def say(self, text: str = "") -> None:
        """Write a line that stays."""
        self._write(f"{self._cleared()}{text}\n")
        self._next = None

    def item(self, name: str, text: str) -> None:
        """Write what was done or found about the thing called *name*."""
        self.say(f"{name:<18} {text}")

    def progress(self, text: str | Callable[[], str]) -> None:
        """Tell how far it is, now and then; what takes less than PATIENT_S is not spoken of."""
        now = self.clock()
        if self._next is None:
            self._next = now + PATIENT_S
        if now < self._next:
            return
        told = text if isinstance(text, str) else text()
        self._open = self.stream.isatty()
        self._write(f"\r\x1b[2K{told}" if self._open else f"{told}\n")
        self._next = now + (REWRITE_S if self._open else REPEAT_S)

    def during(self, text: Callable[[], str], call: Callable[[], T]) -> T:
        """What *call* returns or raises; *text* is told again and again until it does.

        It runs in a thread that is left behind if the person presses Ctrl-C.
        """
        results: queue.Queue[Callable[[], T]] = queue.Queue()
        threading.Thread(target=lambda: results.put(_outcome(call)), daemon=True).start()
        while True:
            try:
                return results.get(timeout=_TICK_S)()
            except queue.Empty:
                self.progress(text)

    def patiently(self, call: Callable[[], T], *, seconds: float) -> T:
        """What *call* returns; called again for so many *seconds* while something that it needs does not answer.

        Raises:
            AwayError: the time is over.
        """
        return patiently(
            call,
            seconds=seconds,
            tell=lambda error: self.progress(f"waiting for up to {seconds:.0f} s: {error}"),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _cleared(self) -> str:
        was_open, self._open = self._open, False
        return "\r\x1b[2K" if was_open else ""

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def agreed(question: str, *, yes: bool, asked: TextIO, answers: TextIO) -> bool:
    """Whether the person wants it: said beforehand with *yes*, or now.

    Raises:
        BackendError: there is nobody to ask.
    """
    if yes:
        return True
    if not answers.isatty():
        raise BackendError("nothing was changed: nobody can be asked here, so --yes is wanted to go on")
    asked.write(f"{question} [y/N] ")
    asked.flush()
    return answers.readline().strip().casefold() in {"y", "yes"}


def _outcome(call: Callable[[], T]) -> Callable[[], T]:
    """What a call came to, to be had in another thread."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  # it is raised again, where somebody waits for it
        caught = error

        def fail() -> T:
            raise caught

        return fail
    return lambda: result
