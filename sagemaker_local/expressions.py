"""Pipeline expressions: `{"Get": ...}`, `{"Std:Join": ...}`, `{"Std:JsonGet": ...}`.

Pure: what they refer to is handed in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FUNCTIONS = ("Std:Join", "Std:JsonGet")
EXECUTION_VARIABLES = (
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
)

_PATH_PART = re.compile(r"\.?(?P<key>[^.\[\]]+)|\[(?P<quote>['\"])(?P<text>.*?)(?P=quote)\]|\[(?P<index>\d+)\]")


class ExpressionError(ValueError):
    """An expression that is malformed, or refers to what is not there."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a `Get` points at: `Parameters.Epochs` is kind `Parameters`, name `Epochs`, path `()`."""

    kind: str
    name: str
    path: tuple[str | int, ...]
    text: str

    @property
    def property_file(self) -> str | None:
        """The name of a step's property file, if that is what is meant."""
        is_file = self.kind == "Steps" and len(self.path) == 2 and self.path[0] == "PropertyFiles"
        return str(self.path[1]) if is_file else None


@dataclass(frozen=True, slots=True)
class Scope:
    """What references resolve to while an execution runs."""

    parameters: Mapping[str, Any]
    execution: Mapping[str, Any]
    step: Callable[[str], Mapping[str, Any]]
    """The properties of a step that has succeeded, shaped like its Describe operation's answer."""
    property_file: Callable[[str, str], bytes]
    """The content of (step, property file)."""
    s3_object: Callable[[str], bytes]
    """The content of an s3:// URI."""


def expression_function(value: object) -> str | None:
    """`Get`, `Std:Join`, ... if the JSON value is an expression, else None."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    key = str(next(iter(value)))
    return key if key == "Get" or key.startswith("Std:") else None


def parse_reference(text: object) -> Reference:
    """Take a Get's text apart; ExpressionError if it is none."""
    if not isinstance(text, str):
        raise ExpressionError(f"Get wants a text such as 'Parameters.Epochs', not {text!r}")
    parts = parse_path(text)
    if len(parts) < 2 or parts[0] not in ("Parameters", "Execution", "Steps"):
        raise ExpressionError(
            f"{text!r} is no reference: it must begin with 'Parameters.', 'Execution.' or 'Steps.' and a name"
        )
    return Reference(kind=str(parts[0]), name=str(parts[1]), path=tuple(parts[2:]), text=text)


def parse_path(text: str) -> list[str | int]:
    """`a.b['c d'][0]` -> `["a", "b", "c d", 0]`; a leading `$` (JSONPath) is dropped."""
    parts: list[str | int] = []
    position = 1 if text.startswith("$") else 0
    while position < len(text):
        match = _PATH_PART.match(text, position)
        if not match:
            raise ExpressionError(f"cannot read {text[position:]!r} in the path {text!r}")
        parts.append(_path_part(match))
        position = match.end()
    return parts


def _path_part(match: re.Match[str]) -> str | int:
    if match["index"] is not None:
        return int(match["index"])
    return match["text"] if match["key"] is None else match["key"]


def references(value: object) -> Iterator[Reference]:
    """All references anywhere inside a JSON value; ExpressionError at a malformed expression."""
    function = expression_function(value)
    if function == "Get":
        yield parse_reference(value["Get"])  # type: ignore[index]  # expression_function saw the dict
    elif function is not None:
        yield from _function_references(function, value[function])  # type: ignore[index]  # as above
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def _function_references(function: str, arguments: object) -> Iterator[Reference]:
    check_function(function, arguments)
    yield from references(list(arguments.values()) if isinstance(arguments, dict) else [])


def check_function(function: str, arguments: object) -> None:
    """Raise ExpressionError unless the function is known and has the arguments it needs."""
    if function not in FUNCTIONS:
        raise ExpressionError(
            f"sagemaker_local does not know the function {function!r}; it knows {', '.join(FUNCTIONS)}"
        )
    if not isinstance(arguments, dict):
        raise ExpressionError(f"{function} wants an object, not {arguments!r}")
    if function == "Std:Join" and not isinstance(arguments.get("Values"), list):
        raise ExpressionError("Std:Join wants 'On' and the list 'Values'")
    has_source = len({"PropertyFile", "S3Uri"} & set(arguments)) == 1
    if function == "Std:JsonGet" and not (has_source and isinstance(arguments.get("Path"), str)):
        raise ExpressionError("Std:JsonGet wants 'Path' and either 'PropertyFile' or 'S3Uri'")


def evaluate(value: Any, scope: Scope) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value with every expression in it replaced by its result."""
    function = expression_function(value)
    if function == "Get":
        return _get(parse_reference(value["Get"]), scope)
    if function is not None:
        check_function(function, value[function])
        return _join(value[function], scope) if function == "Std:Join" else _json_get(value[function], scope)
    if isinstance(value, dict):
        return {key: evaluate(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, scope) for item in value]
    return value


def _get(reference: Reference, scope: Scope) -> Any:  # noqa: ANN401 - any JSON value
    if reference.kind == "Steps":
        return look_up(scope.step(reference.name), reference.path, what=reference.text)
    values = scope.parameters if reference.kind == "Parameters" else scope.execution
    if reference.name not in values:
        raise ExpressionError(f"{reference.text} has no value here")
    return values[reference.name]


def _join(arguments: Mapping[str, Any], scope: Scope) -> str:
    values = [evaluate(item, scope) for item in arguments["Values"]]
    return str(arguments.get("On", "")).join(as_text(item) for item in values)


def as_text(value: object) -> str:
    """A scalar as Std:Join writes it: texts as they are, the rest as JSON."""
    if isinstance(value, dict | list):
        raise ExpressionError(f"Std:Join joins texts, numbers and booleans, not {json.dumps(value)[:100]}")
    return value if isinstance(value, str) else json.dumps(value)


def _json_get(arguments: Mapping[str, Any], scope: Scope) -> Any:  # noqa: ANN401 - any JSON value
    source, content = _json_source(arguments, scope)
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ExpressionError(f"{source} is not JSON: {error}") from error
    return look_up(document, tuple(parse_path(arguments["Path"])), what=f"{arguments['Path']} in {source}")


def _json_source(arguments: Mapping[str, Any], scope: Scope) -> tuple[str, bytes]:
    if "S3Uri" in arguments:
        uri = str(evaluate(arguments["S3Uri"], scope))
        return uri, scope.s3_object(uri)
    reference = parse_reference(arguments["PropertyFile"].get("Get"))
    if reference.property_file is None:
        raise ExpressionError(f"{reference.text} is not a property file: wanted Steps.<step>.PropertyFiles.<name>")
    return reference.text, scope.property_file(reference.name, reference.property_file)


def look_up(value: Any, path: tuple[str | int, ...], *, what: str) -> Any:  # noqa: ANN401 - any JSON value
    """Follow a path into a JSON value. A name inside a list finds the entry whose own `...Name` is that name."""
    for part in path:
        value = _member(value, part)
        if value is None:
            raise ExpressionError(f"{what} has no value: there is no {part!r}")
    return value


def _member(value: Any, part: str | int) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return value.get(str(part))
    if not isinstance(value, list):
        return None
    if isinstance(part, int):
        return value[part] if part < len(value) else None
    return next((item for item in value if part in _names(item)), None)


def _names(item: object) -> list[object]:
    """Values of an entry's naming members: OutputName, MetricName, ChannelName, ..."""
    return [value for key, value in item.items() if key.endswith("Name")] if isinstance(item, dict) else []
