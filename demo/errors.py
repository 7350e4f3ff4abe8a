"""The one exception that a person reads."""

from __future__ import annotations


class DemoError(Exception):
    """What was wanted, what came instead and what to do, in a sentence or two; shown without a traceback."""
