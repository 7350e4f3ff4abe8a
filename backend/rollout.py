"""Brings stacks to where they are wanted, and waits until they are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from backend.aws_errors import lacking_permission
from backend.console import Console
from backend.errors import AwsAwayError, AwsError
from backend.stacks import Stack, StackEvent

Outcome = Literal["made", "updated", "found"]
_LOOK_S = 2.0
_GONE = "DELETE_COMPLETE"
# What CloudFormation and the services behind it say, and what to do about it.
_ADVICE = {
    "already exists": "something of this name is there that this stack did not make: another deployment may have it. "
    "Choose another SAGEMAKER_PIPELINE or S3_BUCKET, or delete it",
    "already owned by you": "the bucket is yours, but no stack's: leave S3_BUCKET out, so that a new one is made, or "
    "choose another name",
    "not available. The bucket namespace": "somebody else has a bucket of this name: choose another S3_BUCKET",
    "attached to entities": "somebody's roles or users have policies of it: `destroy` takes them off",
    "ResourceLimitExceeded": "ask AWS for a higher quota (Service Quotas)",
}


class StackService(Protocol):
    """What a rollout needs of CloudFormation."""

    def find(self, name: str) -> Stack | None: ...
    def create(self, name: str, template: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None: ...
    def update(
        self, name: str, template: str, parameters: Mapping[str, str | None], tags: Mapping[str, str]
    ) -> bool: ...
    def delete(self, name: str) -> None: ...
    def events(self, stack: str, *, since: str = "") -> list[StackEvent]: ...
    def last_event(self, stack: str) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A stack as it is to be. Parameters that are not named keep their values, at first the template's defaults."""

    name: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rollout:
    """Makes, updates and deletes stacks; each may be asked for again."""

    stacks: StackService
    console: Console

    def settled(self, name: str) -> Stack | None:
        """The stack when CloudFormation is not at work on it; None where there is none (any more)."""
        stack = self._settle(self.stacks.find(name), "")
        return None if stack is None or stack.status == _GONE else stack

    def ensure(self, wanted: Wanted) -> tuple[Stack, Outcome]:
        """The stack as *wanted*.

        Raises:
            AwsError: CloudFormation does not bring it there; with the first reason that it gave.
        """
        before = self.settled(wanted.name)
        if before is not None and before.unusable:
            reason = self._reason(before, "")
            told = f"{before.status} ({reason})" if reason else before.status
            self.console.item("stack", f"{wanted.name}: {told}, so it is deleted and made anew")
            self.remove(wanted.name)
            before = None
        if before is None:
            self.stacks.create(wanted.name, wanted.template, wanted.parameters, wanted.tags)
            return self._arrived(wanted.name, ""), "made"
        if before.status == "UPDATE_ROLLBACK_FAILED":
            raise self._failure(before, "")
        mark = self.stacks.last_event(before.id)
        parameters = {**_kept(before, wanted.template), **wanted.parameters}
        if not self.stacks.update(wanted.name, wanted.template, parameters, wanted.tags):
            return before, "found"
        return self._arrived(wanted.name, mark), "updated"

    def remove(self, name: str) -> bool:
        """The stack is gone. Returns whether there was one."""
        stack = self.settled(name)
        if stack is None:
            return False
        mark = self.stacks.last_event(stack.id)
        self.stacks.delete(name)
        # By its id, since a deleted stack's name is nobody's.
        gone = self._settle(self.stacks.find(stack.id), mark)
        if gone is not None and gone.status != _GONE:
            raise self._failure(gone, mark)
        return True

    def _arrived(self, name: str, mark: str) -> Stack:
        stack = self._settle(self.stacks.find(name), mark)
        if stack is None:
            raise AwsError(f"stack {name} was deleted while it was being made: run this again")
        if not stack.done:
            raise self._failure(stack, mark)
        return stack

    def _settle(self, stack: Stack | None, mark: str) -> Stack | None:
        while stack is not None and stack.moving:
            stack = self._next_look(stack, mark)
        return stack

    def _next_look(self, stack: Stack, mark: str) -> Stack | None:
        self.console.progress(lambda: self._so_far(stack, mark))
        self.console.sleep(_LOOK_S)
        # CloudFormation goes on whether it is looked at or not, so that a failed look is worth another one.
        return self.console.patiently(lambda: self.stacks.find(stack.id), seconds=60.0)

    def _so_far(self, stack: Stack, mark: str) -> str:
        try:
            events = self.stacks.events(stack.id, since=mark)
        except AwsAwayError:
            events = []
        newest = events[-1] if events else None
        at = f": {newest.resource} {newest.status.replace('_', ' ').lower()}" if newest else ""
        return f"stack {stack.name} ({stack.status.replace('_', ' ').lower()}){at}"

    def _failure(self, stack: Stack, mark: str) -> AwsError:
        told = self._reason(stack, mark) or "no reason given"
        return AwsError(f"stack {stack.name}: {stack.status}: {told}; {_cure(stack, told)}")

    def _reason(self, stack: Stack, mark: str) -> str:
        """Why it is as it is, in the words of the first resource that failed by itself; '' if nothing did."""
        first = next(
            (event for event in _of_last_request(self.stacks.events(stack.id, since=mark)) if event.failed), None
        )
        return f"{first.resource} ({first.kind}): {first.reason}" if first else stack.reason


def _of_last_request(events: Sequence[StackEvent]) -> Sequence[StackEvent]:
    """What happened since somebody last asked for something."""
    begun = [number for number, event in enumerate(events) if event.reason == "User Initiated"]
    return events[begun[-1] :] if begun else events


def _kept(stack: Stack, template: str) -> dict[str, None]:
    """The stack's parameters, but for those that the new template does not have: they would be refused."""
    return {name: None for name in stack.parameters if f"\n  {name}:\n" in template}


def _cure(stack: Stack, told: str) -> str:
    advice = lacking_permission(told) or next((advice for sign, advice in _ADVICE.items() if sign in told), "")
    if stack.status == "UPDATE_ROLLBACK_FAILED":
        back = f"`aws cloudformation continue-update-rollback --stack-name {stack.name}` brings it back"
        return f"{advice or 'mend that'}; then {back}, and then run this again"
    if stack.status == "DELETE_FAILED" and not advice:
        return "mend that, and run this again (`destroy` ends trainings and endpoints first)"
    return f"{advice or 'mend that'}, and run this again"
