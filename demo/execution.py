"""One run of the pipeline as the demo looks at it, and whether the backend tries again when it failed."""

from __future__ import annotations

import re
from dataclasses import dataclass

ATTEMPTS = 3
"""The backend trains this often with the same annotations; after that it waits for more."""

DISPLAY_NAME = re.compile(r"p(?P<project>\d+)-n(?P<count>\d+)-(?P<attempt>\d+)")
"""How the backend names executions; the first attempt has the number 0."""

FLOOR_STEP = "BelowMinimumMIoU"
"""The Fail step: its model was trained, but is not good enough, and the same annotations would give it again."""


@dataclass(frozen=True, slots=True)
class StepState:
    """A step of an execution; *seconds* is how long it took, once it ended."""

    name: str
    status: str
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """A run of the pipeline; *miou* is known once its training ended. Two may have one name, never one *arn*."""

    name: str
    status: str
    steps: tuple[StepState, ...] = ()
    miou: float | None = None
    reason: str = ""
    arn: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended without a model."""
        return self.status in {"Failed", "Stopped"}

    @property
    def retried(self) -> bool:
        """Whether it failed and the backend tries again by itself, with the same annotations."""
        refused = any(step.name == FLOOR_STEP for step in self.steps)
        return self.status == "Failed" and not refused and self.attempt % ATTEMPTS != 0

    @property
    def attempt(self) -> int:
        """Which attempt it was, counted from 1; 0 if its name does not tell."""
        name = DISPLAY_NAME.fullmatch(self.name)
        return int(name["attempt"]) + 1 if name else 0
