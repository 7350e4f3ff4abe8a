"""A pipeline definition (Version 2020-12-01): parsed, checked, and its dependency graph. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeVar

from sagemaker_local.conditions import check_conditions
from sagemaker_local.expressions import EXECUTION_VARIABLES, ExpressionError, Reference, references
from sagemaker_local.parameters import DefinitionError, Parameter, parse_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = "2020-12-01"
JOB_TYPES = ("Processing", "Training")
STEP_TYPES = (*JOB_TYPES, "Condition", "Fail", "RegisterModel", "Model", "EndpointConfig", "Endpoint")
RETRYABLE = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how often a step is tried again."""

    kinds: tuple[str, ...]
    interval_s: float = 1.0
    backoff: float = 2.0
    attempts: int = 5
    expire_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `after` holds what must have succeeded first, `branch` the (Condition step, outcome) it needs."""

    name: str
    type: str
    arguments: dict[str, Any]
    after: tuple[str, ...]
    branch: tuple[str, bool] | None
    retry_policies: tuple[RetryPolicy, ...] = ()
    property_files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> (output name, path below it)."""
    display_name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """Parameters and steps by name; the steps of branches are among `steps`."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]


def parse_definition(text: str) -> Definition:
    """Read and check a definition; DefinitionError says what is wrong and where."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DefinitionError(f"Pipeline definition is not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("Version") != VERSION:
        raise DefinitionError(f"Pipeline definition must be an object with 'Version': '{VERSION}'")
    if not isinstance(raw.get("Steps"), list) or not raw["Steps"]:
        raise DefinitionError("Pipeline definition must have 'Steps', a list with at least one step")
    parameters = _named([parse_parameter(item) for item in raw.get("Parameters") or []], "parameter")
    steps = _named(list(_steps(raw["Steps"], branch=None)), "step")
    definition = Definition(parameters=parameters, steps=steps)
    _check(definition)
    return definition


Named = TypeVar("Named", Parameter, Step)


def _named(items: list[Named], what: str) -> dict[str, Named]:
    named = {item.name: item for item in items}
    if len(named) < len(items):
        names = [item.name for item in items]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DefinitionError(f"Pipeline definition: {what} names must be unique; twice: {', '.join(twice)}")
    return named


def _steps(raw_steps: list[Any], branch: tuple[str, bool] | None) -> Iterator[Step]:
    for raw in raw_steps:
        step = _step(raw, branch)
        yield step
        if step.type == "Condition":
            arguments = raw["Arguments"]
            yield from _steps(arguments.get("IfSteps") or [], (step.name, True))
            yield from _steps(arguments.get("ElseSteps") or [], (step.name, False))


def _step(raw: object, branch: tuple[str, bool] | None) -> Step:
    if not isinstance(raw, dict) or not isinstance(raw.get("Name"), str):
        raise DefinitionError(f"Pipeline definition: a step needs a 'Name': {str(raw)[:100]}")
    name, kind = raw["Name"], raw.get("Type")
    if kind not in STEP_TYPES:
        raise DefinitionError(
            f"Step {name!r}: sagemaker_local does not know the step type {kind!r}; it knows {', '.join(STEP_TYPES)}"
        )
    if not isinstance(raw.get("Arguments"), dict):
        raise DefinitionError(f"Step {name!r}: 'Arguments' must be an object")
    return Step(
        name=name,
        type=kind,
        arguments=_arguments(raw),
        after=_after(raw, branch),
        branch=branch,
        retry_policies=tuple(_retry_policy(name, item) for item in raw.get("RetryPolicies") or []),
        property_files=_property_files(raw),
        display_name=raw.get("DisplayName"),
        description=raw.get("Description"),
    )


def _arguments(raw: dict[str, Any]) -> dict[str, Any]:
    """The step's own arguments: a Condition's branches are steps of their own."""
    arguments: dict[str, Any] = raw["Arguments"]
    return {"Conditions": arguments.get("Conditions")} if raw["Type"] == "Condition" else arguments


def _after(raw: dict[str, Any], branch: tuple[str, bool] | None) -> tuple[str, ...]:
    names = [_dependency(raw["Name"], item) for item in raw.get("DependsOn") or []]
    names += [item.name for item in _references(raw["Name"], _arguments(raw)) if item.kind == "Steps"]
    names += [branch[0]] if branch else []
    return tuple(dict.fromkeys(names))


def _dependency(step: str, raw: object) -> str:
    if isinstance(raw, dict) and raw.get("Trigger", "Completed") != "Completed":
        raise DefinitionError(f"Step {step!r}: sagemaker_local does not know the trigger {raw['Trigger']!r}")
    return str(raw["Step"] if isinstance(raw, dict) and "Step" in raw else raw)


def _references(step: str, arguments: dict[str, Any]) -> list[Reference]:
    try:
        return list(references(arguments))
    except ExpressionError as error:
        raise DefinitionError(f"Step {step!r}: {error}") from error


def _retry_policy(step: str, raw: dict[str, Any]) -> RetryPolicy:
    kinds = raw.get("ExceptionType") or []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    unknown = [kind for kind in kinds if kind not in RETRYABLE]
    if unknown or not kinds:
        raise DefinitionError(f"Step {step!r}: ExceptionType must be of {', '.join(RETRYABLE)}, not {unknown}")
    return RetryPolicy(
        kinds=tuple(kinds),
        interval_s=float(raw.get("IntervalSeconds", 1)),
        backoff=float(raw.get("BackoffRate", 2.0)),
        attempts=int(raw.get("MaxAttempts", 10_000 if "ExpireAfterMin" in raw else 5)),
        expire_s=60 * float(raw.get("ExpireAfterMin", "inf")),
    )


def _property_files(raw: dict[str, Any]) -> dict[str, tuple[str, str]]:
    files = raw.get("PropertyFiles") or []
    if files and raw["Type"] != "Processing":
        raise DefinitionError(f"Step {raw['Name']!r}: only a Processing step may have PropertyFiles")
    return {item["PropertyFileName"]: (item["OutputName"], item["FilePath"]) for item in files}


def _check(definition: Definition) -> None:
    for step in definition.steps.values():
        _check_step(step, definition)
    try:
        TopologicalSorter({step.name: step.after for step in definition.steps.values()}).prepare()
    except CycleError as error:
        raise DefinitionError(
            f"Pipeline definition: steps wait for one another: {' -> '.join(error.args[1])}"
        ) from error


def _check_step(step: Step, definition: Definition) -> None:
    unknown = [name for name in step.after if name not in definition.steps]
    if unknown:
        raise DefinitionError(f"Step {step.name!r} depends on a step that is not there: {', '.join(unknown)}")
    for reference in _references(step.name, step.arguments):
        problem = _broken_reference(reference, definition)
        if problem:
            raise DefinitionError(f"Step {step.name!r}: {reference.text!r}: {problem}")
    if step.type == "Condition":
        _check_condition_step(step)
    if step.type == "Fail" and "ErrorMessage" not in step.arguments:
        raise DefinitionError(f"Step {step.name!r}: a Fail step needs 'ErrorMessage'")


def _check_condition_step(step: Step) -> None:
    try:
        check_conditions(step.arguments["Conditions"])
    except ExpressionError as error:
        raise DefinitionError(f"Step {step.name!r}: {error}") from error


def _broken_reference(reference: Reference, definition: Definition) -> str:
    if reference.kind == "Parameters":
        return "" if reference.name in definition.parameters else "there is no such parameter"
    if reference.kind == "Execution":
        return "" if reference.name in EXECUTION_VARIABLES else "there is no such execution variable"
    file = reference.property_file
    if file and file not in definition.steps[reference.name].property_files:
        return f"step {reference.name!r} has no property file {file!r}"
    return ""
