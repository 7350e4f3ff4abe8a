"""moto forgets a stack's parameters that had their defaults, so that it cannot be asked to keep them."""

from typing import Any

from moto.cloudformation.models import CloudFormationBackend

Given = list[dict[str, Any]]
_resolve = CloudFormationBackend._resolve_update_parameters


def keep_parameters() -> None:
    """Let a default be kept too: it is what comes of a parameter that nobody gives."""
    backend: Any = CloudFormationBackend
    backend._resolve_update_parameters = _resolve_known


def _resolve_known(backend: CloudFormationBackend, *, instance: Any, incoming_params: Given) -> dict[str, str]:
    known = [
        each
        for each in incoming_params
        if not each.get("UsePreviousValue") or each["ParameterKey"] in instance.parameters
    ]
    return _resolve(backend, instance, known)
