"""Adapter: CloudFormation through boto3."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from backend.aws_errors import error_code, error_message, translated
from backend.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef, StackEventTypeDef, StackTypeDef

MAX_TEMPLATE_BYTES = 51200  # of one that is sent along with the request
_NEVER_MADE = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED"}
_FOLLOWS = re.compile(r"Resource (creation|update|deletion) cancelled|The following resource\(s\) failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as it is."""

    id: str
    name: str
    status: str
    reason: str = ""
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def moving(self) -> bool:
        """Whether CloudFormation is at work on it."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def unusable(self) -> bool:
        """Whether it was never wholly made, or is not wholly gone: it can be deleted, but not updated."""
        return self.status in _NEVER_MADE

    @property
    def done(self) -> bool:
        """Whether what was asked of it was done."""
        return self.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One thing that happened to a resource of a stack."""

    id: str
    resource: str
    kind: str
    status: str
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether it failed by itself, not because something else did."""
        return self.status.endswith("_FAILED") and not _FOLLOWS.match(self.reason)


class Stacks:
    """Stacks by their names. What takes long is only begun here."""

    def __init__(self, client: "CloudFormationClient") -> None:
        self._client = client

    @translated
    def find(self, name: str) -> Stack | None:
        """The stack as it is, None where there is none; by its id one that is deleted can be had too."""
        try:
            found = self._client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error_message(error):
                return None
            raise
        return _stack(found[0]) if found else None

    @translated
    def create(self, name: str, template: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Begin to make a stack."""
        self._client.create_stack(
            StackName=name,
            TemplateBody=_checked(name, template),
            Parameters=_parameters(parameters),
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )

    @translated
    def update(self, name: str, template: str, parameters: Mapping[str, str | None], tags: Mapping[str, str]) -> bool:
        """Begin to update a stack; False where nothing differs. A parameter that is None keeps its value."""
        try:
            self._client.update_stack(
                StackName=name,
                TemplateBody=_checked(name, template),
                Parameters=_parameters(parameters),
                Capabilities=["CAPABILITY_IAM"],
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except ClientError as error:
            if error_code(error) == "ValidationError" and "No updates are to be performed" in error_message(error):
                return False
            raise
        return True

    @translated
    def delete(self, name: str) -> None:
        """Begin to delete a stack."""
        self._client.delete_stack(StackName=name)

    @translated
    def events(self, stack: str, *, since: str = "") -> list[StackEvent]:
        """What happened to a stack after the event with the id *since*, oldest first."""
        newer: list[StackEvent] = []
        for event in self._events(stack):
            if event.id == since:
                break
            newer.append(event)
        return newer[::-1]

    def _events(self, stack: str) -> Iterator[StackEvent]:
        for page in self._client.get_paginator("describe_stack_events").paginate(StackName=stack):
            yield from map(_event, page["StackEvents"])

    @translated
    def last_event(self, stack: str) -> str:
        """The id of the newest event, '' where there is none."""
        return next((event.id for event in self._events(stack)), "")


def _checked(name: str, template: str) -> str:
    size = len(template.encode())
    if size > MAX_TEMPLATE_BYTES:
        raise AwsError(
            f"the template of {name} has {size} bytes and CloudFormation takes {MAX_TEMPLATE_BYTES}: "
            "make it shorter (comments count too)"
        )
    return template


def _parameters(values: Mapping[str, str | None]) -> "list[ParameterTypeDef]":
    return [
        {"ParameterKey": key, "UsePreviousValue": True}
        if value is None
        else {"ParameterKey": key, "ParameterValue": value}
        for key, value in values.items()
    ]


def _stack(found: "StackTypeDef") -> Stack:
    return Stack(
        id=found.get("StackId", found["StackName"]),
        name=found["StackName"],
        status=found["StackStatus"],
        reason=found.get("StackStatusReason", ""),
        outputs={each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])},
        parameters={each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])},
        tags={each["Key"]: each["Value"] for each in found.get("Tags", [])},
    )


def _event(found: "StackEventTypeDef") -> StackEvent:
    return StackEvent(
        id=found["EventId"],
        resource=found.get("LogicalResourceId", ""),
        kind=found.get("ResourceType", ""),
        status=found.get("ResourceStatus", ""),
        reason=found.get("ResourceStatusReason", ""),
    )
