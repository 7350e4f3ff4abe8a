"""What the person who waits is told."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")
_STEP_S = 5.0
"""Seconds between two lines of progress where they cannot be written over."""


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(f"bench: {text}\n")
    sys.stdout.flush()


def counted(items: Sequence[T], what: str) -> Iterator[T]:
    """The items one by one, telling how many are done."""
    began = told = time.monotonic()
    over = sys.stdout.isatty()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= (0.2 if over else _STEP_S) and number < len(items):
            told = now
            begin, end = ("\r", "") if over else ("", "\n")
            sys.stdout.write(f"{begin}bench: {what}: {number} of {len(items)}{end}")
            sys.stdout.flush()
    sys.stdout.write("\r" * over)
    say(f"{what}: {len(items)} of {len(items)}, {time.monotonic() - began:.0f} s")
