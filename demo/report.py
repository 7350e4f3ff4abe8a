"""The check's report: the figures, what fell short, a file for programs and a table for people."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from demo.display import Step

FIGURES = (
    "seconds_total",
    "seconds_16th_to_predictions",
    "executions_at_16",
    "executions_stress",
    "held_out_miou",
    "validation_miou",
    "webhook_p95_ms",
    "webhook_p95_ms_aws_down",
    "setup_p95_ms",
    "health_p95_ms",
    "backend_rss_mb",
    "sagemaker_local_rss_mb",
    "model_version",
    "screenshot",
)


@dataclass(slots=True)
class Report:
    """What was measured so far, and what fell short for reasons other than a limit."""

    figures: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def set(self, key: str, value: float | str | None) -> None:
        """Note a figure.

        Raises:
            KeyError: the report has no such figure.
        """
        if key not in FIGURES:
            raise KeyError(key)
        self.figures[key] = value

    def fault(self, message: str) -> None:
        """Note something that should not have happened."""
        self.faults.append(message)

    def shortfalls(self) -> list[str]:
        """What fell short: faults, figures on the wrong side of their limit, figures that were not reached."""
        return [*self.faults, *_beyond_limits(self.figures), *_missing(self.figures)]

    def write(self, path: Path, steps: Sequence[Step]) -> None:
        """Write the file for programs; a figure that was not reached is null."""
        content = {
            "passed": not self.shortfalls(),
            **{key: self.figures.get(key) for key in FIGURES},
            "steps": [{"name": step.name, "seconds": step.seconds} for step in steps],
        }
        path.write_text(json.dumps(content, indent=1) + "\n")


def _beyond_limits(figures: dict[str, Any]) -> list[str]:
    return [
        f"{limit.title} is {_number(figures[limit.key])} {limit.unit}".rstrip() + f", wanted {limit.wanted()}"
        for limit in LIMITS
        if figures.get(limit.key) is not None and not limit.holds(figures[limit.key])
    ]


def _missing(figures: dict[str, Any]) -> list[str]:
    missing = [key for key in FIGURES if figures.get(key) is None]
    return [f"not measured: {', '.join(missing)}"] if missing else []


def table(figures: dict[str, Any]) -> list[str]:
    """The figures beside their limits, a line each."""
    limits = {limit.key: limit for limit in LIMITS}
    lines = []
    for key in FIGURES:
        limit, value = limits.get(key), figures.get(key)
        wanted = limit.wanted() if limit else ""
        missed = value is None or (limit is not None and not limit.holds(value))
        lines.append(f"  {key:<30}{_number(value):>34}  {wanted:<10}{'  <- FELL SHORT' if missed else ''}".rstrip())
    return lines


def _number(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
