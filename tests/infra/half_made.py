"""CloudFormation that fails, in the emulated account: moto's own either does it all, or raises in the middle.

What cannot be made, updated or deleted is said with ``failing``; the stack is then left as AWS leaves it, with events.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from moto.cloudformation import models, parsing

Phase = Literal["CREATE", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Resources of the type *kind* cannot be made (or updated, or deleted), for *reason*; what the stack is then."""

    kind: str
    reason: str
    phase: Phase
    ends: str

    def strikes(self, stack: models.Stack) -> str:
        """The name of the stack's first resource of the kind, '' where it has none that is wanted."""
        resources = stack.resource_map
        for name, resource in stack.template_dict["Resources"].items():
            condition = resource.get("Condition")
            if resource["Type"] == self.kind and (not condition or resources.lazy_condition_map[condition]):
                return str(name)
        return ""

    def leave(self, stack: models.Stack) -> None:
        """The stack as CloudFormation leaves it; what failed since the first thing did is told after it."""
        name = self.strikes(stack)
        _happened(stack, name, self.kind, f"{self.phase}_FAILED", self.reason)
        _happened(stack, "Topic", "AWS::SNS::Topic", f"{self.phase}_FAILED", "Resource creation cancelled")
        stack._add_stack_event(self.ends, f"The following resource(s) failed to {self.phase.lower()}: [{name}]. ")
        stack.status = self.ends


@contextlib.contextmanager
def failing(kind: str, reason: str, *, phase: Phase = "CREATE", ends: str = "ROLLBACK_COMPLETE") -> Iterator[None]:
    """Within it CloudFormation fails with resources of the type *kind*."""
    fault = Fault(kind, reason, phase, ends)
    with pytest.MonkeyPatch.context() as patch:
        if phase == "CREATE":
            patch.setattr(models.Stack, "create_resources", _making(fault, models.Stack.create_resources))
        elif phase == "UPDATE":
            patch.setattr(models.Stack, "update", _updating(fault, models.Stack.update))
        else:
            backend = models.CloudFormationBackend
            patch.setattr(backend, "delete_stack", _deleting(fault, backend.delete_stack))
        yield


def _making(fault: Fault, real: Any) -> Any:
    def create(stack: models.Stack) -> None:
        if not fault.strikes(stack):
            real(stack)
            return
        fault.leave(stack)
        stack.output_map = parsing.OutputMap(stack.resource_map, {}, stack.stack_id)
        stack.template_dict = {**stack.template_dict, "Resources": {}}
        stack.resource_map._resource_json_map = {}

    return create


def _updating(fault: Fault, real: Any) -> Any:
    def update(stack: models.Stack, *arguments: Any, **named: Any) -> None:
        if not fault.strikes(stack):
            real(stack, *arguments, **named)
            return
        stack._add_stack_event("UPDATE_IN_PROGRESS", "User Initiated")
        fault.leave(stack)

    return update


def _deleting(fault: Fault, real: Any) -> Any:
    def delete(backend: models.CloudFormationBackend, name: str) -> None:
        stack = next((each for each in backend.stacks.values() if name in {each.name, each.stack_id}), None)
        if stack is None or not fault.strikes(stack):
            real(backend, name)
            return
        stack._add_stack_event("DELETE_IN_PROGRESS", "User Initiated")
        fault.leave(stack)

    return delete


def _happened(stack: models.Stack, name: str, kind: str, status: str, reason: str) -> None:
    stack.events.append(
        models.Event(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            logical_resource_id=name,
            physical_resource_id="",
            resource_type=kind,
            resource_status=status,
            resource_status_reason=reason,
            resource_properties=None,
        )
    )
