"""The folders of a SageMaker container, and the file that says why a job failed."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segmenter.errors import ConfigError

# SageMaker shows at most this much of output/failure as the job's FailureReason.
FAILURE_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Container:
    """Where SageMaker puts things, and expects them, under one base folder (`/opt/ml`)."""

    base: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Container":
        """Take the base folder from SAGEMAKER_BASE_DIR, else SageMaker's own."""
        return cls(Path(env.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))

    @property
    def model(self) -> Path:
        """The folder that becomes model.tar.gz after training, and is its content when serving."""
        return self.base / "model"

    def channel(self, name: str) -> Path:
        """The folder of one input channel; it need not exist."""
        return self.base / "input" / "data" / name

    def hyperparameters(self) -> dict[str, str]:
        """Read the job's hyperparameters, all of them strings.

        Raises:
            ConfigError: the file is missing, or is not a JSON object of strings.
        """
        path = self.base / "input" / "config" / "hyperparameters.json"
        try:
            values = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} should hold the hyperparameters as a JSON object: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path} should hold a JSON object, not a {type(values).__name__}")
        return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}

    def write_failure(self, reason: str) -> None:
        """Leave the reason where SageMaker looks for it; a disk that refuses that too changes nothing."""
        output = self.base / "output"
        with contextlib.suppress(OSError):
            output.mkdir(parents=True, exist_ok=True)
            (output / "failure").write_text(reason[:FAILURE_CHARACTERS], "utf-8")
