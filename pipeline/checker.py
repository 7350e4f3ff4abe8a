"""Is a pipeline definition right? Checked against botocore's own model of SageMaker, without AWS. Pure.

Every expression is replaced by a placeholder of the type that stands there, then each step's arguments are validated as
the request that the service will make of them. What the service alone knows (quotas, roles, objects) is not checked.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

Json = Any
OPERATIONS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "RegisterModel": "CreateModelPackage",
    "Model": "CreateModel",
    "EndpointConfig": "CreateEndpointConfig",
    "Endpoint": "CreateEndpoint",
}
DESCRIBED = {
    "Processing": "DescribeProcessingJob",
    "Training": "DescribeTrainingJob",
    "RegisterModel": "DescribeModelPackage",
    "Model": "DescribeModel",
    "EndpointConfig": "DescribeEndpointConfig",
    "Endpoint": "DescribeEndpoint",
}
# The service makes these names itself.
NAMED_BY_SERVICE = {"ProcessingJobName", "TrainingJobName", "ModelPackageName", "ModelName"}
EXECUTION = {
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "PipelineName",
    "PipelineArn",
    "StartDateTime",
    "CurrentDateTime",
}
_STEP = re.compile(r"Steps\.([\w-]+)\.(.+)")
_PART = re.compile(r"(\w+)|\['([^']+)'\]|\[(\d+)\]|\.")


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition, its steps by name (also those within conditions) and its parameters by name."""

    steps: Mapping[str, Mapping[str, Json]]
    parameters: Mapping[str, Mapping[str, Json]]


def check_definition(document: Mapping[str, Json]) -> list[str]:
    """Every fault of *document*, one sentence each; none if it is right."""
    listed = list(_all_steps(document.get("Steps", [])))
    names = [step["Name"] for step in listed]
    faults = [f"two steps are called {name}" for name in sorted({each for each in names if names.count(each) > 1})]
    definition = Definition(
        steps={step["Name"]: step for step in listed},
        parameters={each["Name"]: each for each in document.get("Parameters", [])},
    )
    for step in listed:
        faults += [f"{step['Name']}: {fault}" for fault in _step_faults(step, definition)]
    return faults + _unused(document, definition)


def _all_steps(steps: list[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from _all_steps(step["Arguments"].get("IfSteps", []))
            yield from _all_steps(step["Arguments"].get("ElseSteps", []))


def _unused(document: Mapping[str, Json], definition: Definition) -> list[str]:
    used = {each["Get"] for each in _expressions(document["Steps"]) if "Get" in each}
    return [f"parameter {name} is not used" for name in definition.parameters if f"Parameters.{name}" not in used]


def _step_faults(step: Mapping[str, Json], definition: Definition) -> Iterator[str]:
    kind, arguments = step["Type"], step.get("Arguments", {})
    for name in step.get("DependsOn", []):
        if isinstance(name, str) and name not in definition.steps:
            yield f"depends on {name}, which is no step"
    yield from _reference_faults(arguments if kind != "Condition" else arguments["Conditions"], definition)
    if kind == "Condition":
        inner = [*arguments.get("IfSteps", []), *arguments.get("ElseSteps", [])]
        yield from (f"{each['Name']} is a condition within a condition" for each in inner if each["Type"] == kind)
    elif kind == "Fail":
        if set(arguments) != {"ErrorMessage"}:
            yield f"wanted ErrorMessage alone, found {sorted(arguments)}"
    elif kind in OPERATIONS:
        yield from _request_faults(kind, arguments, definition)
    else:
        yield f"step type {kind} is not known to this check"


# -- references ---------------------------------------------------------------------------------------------------


def _expressions(value: Json) -> Iterator[Mapping[str, Json]]:
    if isinstance(value, Mapping):
        if _is_expression(value):
            yield value
        for each in value.values():
            yield from _expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each)


def _is_expression(value: Json) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in {"Get", "Std:Join", "Std:JsonGet"}


def _reference_faults(value: Json, definition: Definition) -> Iterator[str]:
    for expression in _expressions(value):
        if "Get" in expression:
            yield from _get_faults(expression["Get"], definition)


def _get_faults(reference: str, definition: Definition) -> Iterator[str]:
    head, _, rest = reference.partition(".")
    if head == "Parameters":
        if rest not in definition.parameters:
            yield f"{reference} is no parameter"
    elif head == "Execution":
        if rest not in EXECUTION:
            yield f"{reference} is no execution variable"
    elif (match := _STEP.fullmatch(reference)) is None or match[1] not in definition.steps:
        yield f"{reference} names no step"
    elif fault := _property_fault(definition.steps[match[1]], match[2]):
        yield f"{reference}: {fault}"


def _property_fault(step: Mapping[str, Json], path: str) -> str:
    if path.startswith("PropertyFiles."):
        files = [each["PropertyFileName"] for each in step.get("PropertyFiles", [])]
        return "" if path.removeprefix("PropertyFiles.") in files else f"{step['Name']} has the property files {files}"
    if step["Type"] not in DESCRIBED:
        return f"a {step['Type']} step has no properties"
    shape = service_model().operation_model(DESCRIBED[step["Type"]]).output_shape
    return _walk(shape, _parts(path), step)


def _parts(path: str) -> list[str]:
    return [next(group for group in each.groups() if group) for each in _PART.finditer(path) if each[0] != "."]


def _walk(shape: Shape, parts: list[str], step: Mapping[str, Json]) -> str:
    """Follow *parts* through a Describe operation's answer; what is wrong, or '' if the path exists."""
    for position, part in enumerate(parts):
        if isinstance(shape, StructureShape):
            if part not in shape.members:
                return f"there is no {part} in {shape.name}"
            shape = shape.members[part]
        elif isinstance(shape, ListShape):
            if position and parts[position - 1] == "Outputs" and part not in _outputs(step):
                return f"{step['Name']} has the outputs {_outputs(step)}"
            shape = shape.member
        elif isinstance(shape, MapShape):
            shape = shape.value
        else:
            return f"{shape.name} has no parts"
    return ""


def _outputs(step: Mapping[str, Json]) -> list[str]:
    config = step["Arguments"].get("ProcessingOutputConfig", {})
    return [each["OutputName"] for each in config.get("Outputs", [])]


# -- requests -----------------------------------------------------------------------------------------------------


@functools.cache
def service_model() -> Any:  # noqa: ANN401  # botocore has no types
    """Botocore's own model of SageMaker."""
    return botocore.session.Session().get_service_model("sagemaker")


def _request_faults(kind: str, arguments: Mapping[str, Json], definition: Definition) -> Iterator[str]:
    shape = service_model().operation_model(OPERATIONS[kind]).input_shape
    faults: list[str] = []
    request = _fill(arguments, shape, definition, faults, kind)
    for name in NAMED_BY_SERVICE & set(shape.required_members):
        request.setdefault(name, "made-by-the-service")
    yield from faults
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        yield from report.generate_report().splitlines()
    if kind == "Training":
        yield from _spot_faults(arguments)


def _spot_faults(arguments: Mapping[str, Json]) -> Iterator[str]:
    """What SageMaker asks of managed spot training, and the service model does not know."""
    limit = arguments.get("StoppingCondition", {})
    runtime, wait = limit.get("MaxRuntimeInSeconds"), limit.get("MaxWaitTimeInSeconds")
    spot = arguments.get("EnableManagedSpotTraining", False)
    if wait is None:
        if spot is not False:
            yield "EnableManagedSpotTraining wants MaxWaitTimeInSeconds"
    elif spot is not True:
        yield "MaxWaitTimeInSeconds wants EnableManagedSpotTraining to be true"
    elif not isinstance(wait, int) or not isinstance(runtime, int):
        yield "MaxRuntimeInSeconds and MaxWaitTimeInSeconds must be numbers: an execution could set the first too long"
    elif wait < runtime:
        yield f"MaxWaitTimeInSeconds ({wait}) must be MaxRuntimeInSeconds ({runtime}) or more"


def _fill(value: Json, shape: Shape, definition: Definition, faults: list[str], path: str) -> Json:
    """*value* with a placeholder for each expression; notes expressions of another type than the place wants."""
    if _is_expression(value):
        return _placeholder(value, shape, definition, faults, path)
    if isinstance(value, Mapping) and isinstance(shape, StructureShape):
        members = shape.members
        return {
            name: _fill(each, members[name], definition, faults, f"{path}.{name}") if name in members else each
            for name, each in value.items()
        }
    if isinstance(value, Mapping) and isinstance(shape, MapShape):
        return {name: _fill(each, shape.value, definition, faults, f"{path}.{name}") for name, each in value.items()}
    if isinstance(value, list) and isinstance(shape, ListShape):
        return [_fill(each, shape.member, definition, faults, f"{path}[]") for each in value]
    return value


_PLACEHOLDERS: Mapping[str, Json] = {"integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True}
_TYPES = {"String": "string", "Integer": "integer", "Float": "float", "Boolean": "boolean"}


def _placeholder(
    expression: Mapping[str, Json], shape: Shape, definition: Definition, faults: list[str], path: str
) -> Json:
    kind = _type_of(expression, definition)
    numbers = {"integer", "long", "float", "double"}
    fits = kind == shape.type_name or {kind, shape.type_name} <= numbers or kind == "any"
    if not fits or (kind == "any" and "Std:JsonGet" in expression and shape.type_name == "string"):
        faults.append(f"{path}: wanted a {shape.type_name}, found {dict(expression)} of type {kind}; use Std:Join")
    if shape.type_name == "string":
        # Long enough for every minimum (a role's ARN has 20), of characters that every pattern takes.
        choices: list[str] = getattr(shape, "enum", [])
        return choices[0] if choices else "x" * max(20, shape.metadata.get("min", 0))
    return _PLACEHOLDERS.get(shape.type_name, 1)


def _type_of(expression: Mapping[str, Json], definition: Definition) -> str:
    if "Std:Join" in expression:
        return "string"
    if "Std:JsonGet" in expression:
        return "any"
    head, _, rest = expression["Get"].partition(".")
    if head == "Parameters":
        return _TYPES.get(definition.parameters.get(rest, {}).get("Type", ""), "any")
    return "string" if head == "Execution" else "any"
