"""SageMaker's wire format, from botocore's own service model.

Requests are checked against the operation's input shape (what is required, types, lengths, patterns, enumerations),
answers are cut to its output shape, so neither can drift from what boto3 expects.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.loaders import Loader
from botocore.model import OperationNotFoundError, ServiceModel
from botocore.validate import ParamValidator

from sagemaker_local.errors import ApiError, validation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel

# botocore's stubs do not say which members each kind of shape has.
AnyShape = Any


class Placeholder(str):
    """A text that is not known yet: it stands for one that fits, whatever the pattern."""

    __slots__ = ()


class Protocol:
    """The operations of SageMaker: what a request must hold and what an answer may hold."""

    def __init__(self) -> None:
        self._model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
        self._validator = ParamValidator()

    def knows(self, operation: str) -> bool:
        """Whether SageMaker itself has this operation."""
        return operation in self._model.operation_names

    def parse(self, operation: str, body: bytes) -> dict[str, Any]:
        """The request's members; a JSON null counts as absent, as AWS takes it."""
        try:
            request = json.loads(body or b"{}")
        except ValueError as error:
            raise ApiError("SerializationException", f"The request body is not JSON: {error}") from error
        if not isinstance(request, dict):
            raise ApiError("SerializationException", "The request body must be a JSON object")
        members: dict[str, Any] = without_nulls(request)
        self.check(operation, members)
        return members

    def check(self, operation: str, request: dict[str, Any]) -> None:
        """Raise ValidationException unless the request fits the operation's input shape."""
        shape = self.input_shape(operation)
        report = self._validator.validate(request, shape)
        if report.has_errors():
            raise validation(report.generate_report())
        problems = list(_constraint_problems(request, shape, ""))
        if problems:
            count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
            raise validation(count + "; ".join(problems))

    def input_shape(self, operation: str) -> AnyShape:
        """The shape of an operation's request."""
        return self._operation(operation).input_shape

    def render(self, operation: str, result: dict[str, Any]) -> bytes:
        """The answer's JSON, with only the members that the output shape has."""
        shape = self._operation(operation).output_shape
        return json.dumps(_cut(result, shape) if shape else {}).encode()

    def _operation(self, name: str) -> OperationModel:
        try:
            return self._model.operation_model(name)
        except OperationNotFoundError as error:
            raise ApiError("UnknownOperationException", f"SageMaker has no operation {name!r}") from error


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value without the object members that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def children(value: Any, shape: AnyShape) -> Iterator[tuple[str, Any, AnyShape]]:  # noqa: ANN401 - any JSON value
    """The parts of a value with their shapes: (`.Member` or `[0]`, part, shape)."""
    if shape.type_name == "structure" and isinstance(value, dict):
        yield from ((f".{key}", item, shape.members[key]) for key, item in value.items() if key in shape.members)
    elif shape.type_name == "list" and isinstance(value, list):
        yield from ((f"[{index}]", item, shape.member) for index, item in enumerate(value))
    elif shape.type_name == "map" and isinstance(value, dict):
        yield from ((f".{key}", item, shape.value) for key, item in value.items())


def _constraint_problems(value: Any, shape: AnyShape, path: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """What botocore leaves to the service: patterns, greatest lengths and values, enumerations."""
    broken = _broken_constraint(value, shape)
    if broken:
        yield f"Value '{str(value)[:200]}' at '{path.lstrip('.')}' failed to satisfy constraint: Member must {broken}"
    for step, item, item_shape in children(value, shape):
        yield from _constraint_problems(item, item_shape, path + step)


def _broken_constraint(value: Any, shape: AnyShape) -> str:  # noqa: ANN401 - any JSON value
    greatest = shape.metadata.get("max")
    if isinstance(value, bool | Placeholder):
        return ""
    if isinstance(value, int | float):
        too_big = greatest is not None and value > greatest
        return f"have value less than or equal to {greatest}" if too_big else ""
    if isinstance(value, str | list) and greatest is not None and len(value) > greatest:
        return f"have length less than or equal to {greatest}"
    return _broken_text_constraint(value, shape) if isinstance(value, str) else ""


def _broken_text_constraint(text: str, shape: AnyShape) -> str:
    allowed = shape.metadata.get("enum")
    if allowed and text not in allowed:
        return f"satisfy enum value set: [{', '.join(allowed)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, text):
        return f"satisfy regular expression pattern: {pattern}"
    return ""


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None  # a pattern of Java's that Python cannot read is not checked


def _matches(pattern: str, text: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(text) is not None


def _cut(value: Any, shape: AnyShape) -> Any:  # noqa: ANN401 - any JSON value
    if shape.type_name == "structure" and isinstance(value, dict):
        return {key: _cut(value[key], member) for key, member in shape.members.items() if value.get(key) is not None}
    if shape.type_name == "list":
        return [_cut(item, shape.member) for item in value]
    return value
