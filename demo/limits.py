"""The figures that `make demo-check` holds the loop to.

They are the project's promises for two ordinary processor cores, measured with the small model of `segmenter`.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAIN_AT = 16
"""Annotations that start the first training."""

BIRD_COUNT = 60
"""Images in the project *Bird parts*; 16 are annotated, 44 wait for the model."""

CHECK_S = 15 * 60.0
"""Everything that `make demo-check` does, in seconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure of the report, the side on which it has to lie, and how it is printed."""

    key: str
    title: str
    bound: float
    unit: str = ""
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether *value* is on the right side of the bound (the bound itself is right)."""
        return value >= self.bound if self.at_least else value <= self.bound

    def wanted(self) -> str:
        """The limit as a person reads it, such as `<= 50 ms`."""
        return f"{'>=' if self.at_least else '<='} {self.bound:g} {self.unit}".strip()


LIMITS = (
    Limit("seconds_16th_to_predictions", "16th annotation to predictions stored", 120, "s"),
    Limit("held_out_miou", "mean IoU of four parts, images never annotated", 0.75, at_least=True),
    Limit("webhook_p95_ms", "POST /webhook, p95", 50, "ms"),
    Limit("webhook_p95_ms_aws_down", "POST /webhook, p95, S3 and SageMaker away", 50, "ms"),
    Limit("setup_p95_ms", "POST /setup, p95", 20, "ms"),
    Limit("health_p95_ms", "GET /health, p95", 20, "ms"),
    Limit("backend_rss_mb", "memory of a backend worker", 250, "MB"),
    Limit("sagemaker_local_rss_mb", "memory of sagemaker_local, idle", 120, "MB"),
    Limit("seconds_total", "the whole check", CHECK_S, "s"),
)
