"""Step arguments against the request they become: CreateTrainingJob, CreateProcessingJob, ...

At CreatePipeline the arguments still hold expressions; each counts as a value of the wanted type, unless its own type
is known and differs: then SageMaker's own complaint is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ApiError
from sagemaker_local.expressions import expression_function, parse_reference
from sagemaker_local.parameters import DefinitionError
from sagemaker_local.protocol import Placeholder, Protocol, without_nulls

if TYPE_CHECKING:
    from sagemaker_local.definition import Definition, Step
    from sagemaker_local.protocol import AnyShape

REQUESTS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "RegisterModel": "CreateModelPackage",
    "Model": "CreateModel",
    "EndpointConfig": "CreateEndpointConfig",
    "Endpoint": "CreateEndpoint",
}
# What the service itself gives a name, if the definition does not.
_NAMED = {
    "Processing": "ProcessingJobName",
    "Training": "TrainingJobName",
    "Model": "ModelName",
    "EndpointConfig": "EndpointConfigName",
    "Endpoint": "EndpointName",
}
_TYPES = {"String": "string", "Integer": "integer", "Float": "float", "Boolean": "boolean"}
_PLACEHOLDERS: dict[str, Any] = {"integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True}


def check_arguments(definition: Definition, protocol: Protocol) -> None:
    """Raise DefinitionError unless every step's arguments fit the request that the step will make."""
    for step in definition.steps.values():
        if step.type in REQUESTS:
            _check_step(step, definition, protocol)


def named_request(step_type: str, arguments: dict[str, Any], name: str) -> dict[str, Any]:
    """The request without nulls and with the name that the service chose, where the step gave none."""
    member = _NAMED.get(step_type)
    request: dict[str, Any] = without_nulls(arguments)
    return {member: name, **request} if member else request


def _check_step(step: Step, definition: Definition, protocol: Protocol) -> None:
    operation = REQUESTS[step.type]
    request = named_request(step.type, step.arguments, "name")
    try:
        protocol.check(operation, _filled(request, protocol.input_shape(operation), definition))
    except ApiError as error:
        raise DefinitionError(f"Step {step.name!r}: {error.message}") from error


def _filled(value: Any, shape: AnyShape, definition: Definition) -> Any:  # noqa: ANN401 - any JSON value
    """The value with each expression replaced by a placeholder of the wanted type."""
    if expression_function(value):
        return _placeholder(value, shape, definition)
    if shape.type_name == "structure" and isinstance(value, dict):
        return {k: _filled(v, shape.members[k], definition) if k in shape.members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_filled(item, shape.member, definition) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _filled(item, shape.value, definition) for key, item in value.items()}
    return value


def _placeholder(expression: dict[str, Any], shape: AnyShape, definition: Definition) -> Any:  # noqa: ANN401 - any JSON value
    wanted, given = shape.type_name, _expression_type(expression, definition)
    if given and given != wanted and not {given, wanted} <= {"integer", "long", "float", "double"}:
        what = expression.get("Get") or next(iter(expression))
        raise DefinitionError(f"Cannot assign property reference [{what}] to argument of type [{wanted.capitalize()}]")
    if wanted in _PLACEHOLDERS:
        return max(_PLACEHOLDERS[wanted], shape.metadata.get("min", 1))
    return Placeholder("x" * 64) if wanted == "string" else expression


def _expression_type(expression: dict[str, Any], definition: Definition) -> str | None:
    """The type of an expression's result, or None if only a run can tell."""
    if "Get" not in expression:
        return "string" if "Std:Join" in expression else None
    reference = parse_reference(expression["Get"])
    if reference.kind == "Parameters":
        return _TYPES[definition.parameters[reference.name].type]
    return "string" if reference.kind == "Execution" else None
