"""The parameters of a pipeline: their types, defaults and allowed values. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class DefinitionError(ValueError):
    """The definition is not valid; the message names the place."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A pipeline parameter; `default` is None if an execution must give a value."""

    name: str
    type: str
    default: Any = None
    allowed: tuple[str, ...] = ()


def parse_parameter(raw: object) -> Parameter:
    """A parameter of a definition; DefinitionError if it is not valid."""
    if not isinstance(raw, dict) or not isinstance(raw.get("Name"), str):
        raise DefinitionError(f"Pipeline definition: a parameter needs a 'Name': {raw!r}")
    name, kind = raw["Name"], raw.get("Type")
    if kind not in ("String", "Integer", "Float", "Boolean"):
        raise DefinitionError(f"Parameter {name!r}: Type must be String, Integer, Float or Boolean, not {kind!r}")
    parameter = Parameter(name=name, type=kind, allowed=tuple(raw.get("EnumValues") or ()))
    default = raw.get("DefaultValue")
    if default is None:
        return parameter
    value = parameter_value(parameter, default if isinstance(default, str) else json.dumps(default))
    return Parameter(name=name, type=kind, default=value, allowed=parameter.allowed)


def parameter_value(parameter: Parameter, text: str) -> str | int | float | bool:
    """A value given as text, as the parameter's type; DefinitionError if it is not one of its values."""
    if parameter.allowed and text not in parameter.allowed:
        allowed = ", ".join(parameter.allowed)
        raise DefinitionError(f"Parameter {parameter.name!r}: {text!r} is not one of the EnumValues [{allowed}]")
    if parameter.type == "String":
        return text
    try:
        return _typed(parameter.type, text)
    except (ValueError, KeyError) as error:
        raise DefinitionError(f"Parameter {parameter.name!r}: {text!r} is not of type {parameter.type}") from error


def _typed(kind: str, text: str) -> int | float | bool:
    if kind == "Boolean":
        return {"true": True, "false": False}[text.lower()]
    return int(text) if kind == "Integer" else float(text)
