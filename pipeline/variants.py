"""Changes of the training step that cannot be parameters. Pure."""

from collections.abc import Callable, Mapping
from typing import Any


def with_training(
    definition: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """A copy of *definition* whose training steps have the arguments that *change* makes of theirs."""
    steps = [
        {**step, "Arguments": change(step["Arguments"])} if _trains(step) else step
        for step in definition.get("Steps", [])
    ]
    return {**definition, "Steps": steps}


def _trains(step: object) -> bool:
    return isinstance(step, Mapping) and step.get("Type") == "Training" and isinstance(step.get("Arguments"), Mapping)
