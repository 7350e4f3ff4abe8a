"""What the service was told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once from the command line and the environment."""

    data: Path
    region: str = "us-east-1"
    host: str = "127.0.0.1"
    port: int = 9091
    jobs_at_once: int = 2
    grace_s: float = 10.0
    """Between SIGTERM and SIGKILL."""
    startup_s: float = 120.0
    """How long a model server may take until /ping answers."""
    invoke_s: float = 60.0
    child_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What every job and model server gets; holds credentials for S3."""

    def log_path(self, name: str) -> Path:
        """The log of a job, or of an endpoint (`endpoint-<name>`)."""
        return self.data / "logs" / f"{name}.log"
