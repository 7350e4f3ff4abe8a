"""Managed spot training: what publishing changes in the definition for it. Pure.

It cannot be a parameter: SageMaker refuses MaxWaitTimeInSeconds without EnableManagedSpotTraining, and an execution's
own MaxRuntimeInSeconds could be longer than the wait, which it refuses too. So both times are put in as numbers.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.algorithms import BUILT_IN
from pipeline.variants import with_training

WAIT_SECONDS = 3600  # for spare capacity, at the start and after interruptions, on top of the longest training
_LIMIT = {"MaxRuntimeInSeconds": {"Get": "Parameters.MaxRuntimeInSeconds"}}
_CHECKPOINTS = [
    {"Get": "Parameters.ArtifactsS3Uri"},
    "scratch",
    {"Get": "Execution.PipelineExecutionId"},
    "checkpoints",
    "",
]


def with_spot(definition: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """A copy of *definition* that trains on spot instances.

    The built-in algorithm writes checkpoints and goes on from them, so SageMaker's limit of an hour for built-in
    algorithms that write none does not hold for it. The segmenter writes none, and has no place for them.
    """
    runtime = _runtime(definition)

    def on_spot(arguments: Mapping[str, Any]) -> dict[str, Any]:
        limit = {"MaxRuntimeInSeconds": runtime, "MaxWaitTimeInSeconds": runtime + WAIT_SECONDS}
        changed = {**arguments, "EnableManagedSpotTraining": True, "StoppingCondition": limit}
        if algorithm == BUILT_IN:
            changed["CheckpointConfig"] = {"S3Uri": {"Std:Join": {"On": "/", "Values": _CHECKPOINTS}}}
        return changed

    return with_training(definition, on_spot)


def without_spot(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition as it was before :func:`with_spot`, or a copy of one that never was."""

    def on_demand(arguments: Mapping[str, Any]) -> dict[str, Any]:
        if not arguments.get("EnableManagedSpotTraining"):
            return dict(arguments)
        kept = {name: value for name, value in arguments.items() if name not in _ADDED}
        return {**kept, "StoppingCondition": _LIMIT}

    return with_training(definition, on_demand)


_ADDED = ("EnableManagedSpotTraining", "CheckpointConfig")


def spot_note(definition: Mapping[str, Any], algorithm: str) -> str:
    """What a person should know who trains on spot instances; *definition* is the one that :func:`with_spot` takes."""
    after = (
        "goes on from its last checkpoint"
        if algorithm == BUILT_IN
        else "begins anew, since segmenter writes no checkpoints"
    )
    runtime = _runtime(definition)
    return (
        f"spot instances: a training waits for spare capacity and trains, {runtime + WAIT_SECONDS} s at most together, "
        f"{runtime} s of it training (MaxRuntimeInSeconds); one that is interrupted {after}"
    )


def _runtime(definition: Mapping[str, Any]) -> int:
    defaults = {each["Name"]: each.get("DefaultValue") for each in definition["Parameters"]}
    return int(defaults["MaxRuntimeInSeconds"])
