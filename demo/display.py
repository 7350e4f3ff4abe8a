"""Progress for people: lines that stay, and on a terminal one line that is rewritten."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_REPEAT_S = 15.0
"""Without a terminal an unfinished step says how far it is this often."""


@dataclass(frozen=True, slots=True)
class Step:
    """One finished part of the walk-through and the seconds it took."""

    name: str
    seconds: float


@dataclass(slots=True)
class Display:
    """Writes progress to *stream*: rewrites the last line on a terminal, one line per change elsewhere."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    steps: list[Step] = field(default_factory=list)
    _open: bool = False
    _shown: str = ""
    _shown_at: float = 0.0

    def line(self, text: str = "") -> None:
        """Write a line that stays."""
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def status(self, text: str, *, waited_s: float | None = None) -> None:
        """Show what is going on now: *text*, and behind it the seconds waited so far.

        A terminal shows it in place. Elsewhere it becomes a line when *text* changes; a wait becomes one when it is
        long, and again every now and then.
        """
        full = text if waited_s is None else f"{text} ({waited_s:.0f} s)"
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[2K{full}")
            self.stream.flush()
            self._open = True
            return
        if waited_s is None:
            self._say(text, full, again_after_s=math.inf)
        elif waited_s >= QUIET_REPEAT_S:
            self._say(text, full, again_after_s=QUIET_REPEAT_S)

    def _say(self, text: str, full: str, *, again_after_s: float) -> None:
        now = time.monotonic()
        if text == self._shown and now - self._shown_at < again_after_s:
            return
        self._shown, self._shown_at = text, now
        self.stream.write(full + "\n")
        self.stream.flush()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a part of the walk-through; a part that raises is not recorded as done."""
        start = time.monotonic()
        yield
        self.steps.append(Step(name, round(time.monotonic() - start, 1)))

    def _clear(self) -> None:
        if self._open:
            self.stream.write("\r\x1b[2K")
            self._open = False
