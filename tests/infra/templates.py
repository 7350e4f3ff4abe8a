"""The CloudFormation templates as plain dictionaries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

FOLDER = Path(__file__).parents[2] / "infra"
NAMES = ("core", "trigger", "container")
Template: TypeAlias = dict[str, Any]
Faults: TypeAlias = Iterator[str]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms of functions."""


def _function(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag in {"Ref", "Condition"} else f"Fn::{tag}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if tag == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def path(name: str) -> Path:
    """Where a template lies."""
    return FOLDER / f"{name}.yaml"


def load(name: str) -> Template:
    """A template by its name, ``core`` say."""
    template: Template = yaml.load(path(name).read_text(encoding="utf-8"), _Loader)  # noqa: S506  # a SafeLoader
    return template


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type, by their logical ids."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }
