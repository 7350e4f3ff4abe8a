"""What policies allow: as much of IAM's evaluation as ours use. What it does not know is an error, never a yes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_ELEMENTS = {
    *("Sid", "Effect", "Principal"),
    *("Action", "NotAction", "Resource", "NotResource", "Condition"),
}
Document = Mapping[str, Any]


class PolicyError(Exception):
    """A policy has something that is not understood here."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that an API call must be allowed to do; a call may need several."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        context = f" {dict(self.context)}" if self.context else ""
        return f"{self.action} on {self.resource}{context}"


class Verdict(Enum):
    """What comes of a request."""

    ALLOWED = "allowed"
    DENIED = "denied"  # by a statement that says so
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True, slots=True)
class Grant:
    """One action on one pattern of resources, as a policy grants it."""

    sid: str
    action: str
    resource: str


def evaluate(documents: Iterable[Document], request: Request) -> Verdict:
    """The verdict of all *documents* together: a Deny anywhere counts more than any Allow.

    Raises:
        PolicyError: a statement has an element or an operator that is not known here.
    """
    effects = {str(each["Effect"]) for each in statements(documents) if _applies(each, request)}
    if unknown := effects - {"Allow", "Deny"}:
        raise PolicyError(f"wanted Allow or Deny, got {', '.join(unknown)}")
    if "Deny" in effects:
        return Verdict.DENIED
    return Verdict.ALLOWED if "Allow" in effects else Verdict.NOT_ALLOWED


def unused(documents: Iterable[Document], requests: Sequence[Request]) -> list[Grant]:
    """Actions that no request makes use of, and resources that none of a statement's actions is used on."""
    allowing = (each for each in statements(documents) if each["Effect"] == "Allow")
    return [grant for statement in allowing for grant in _unused(statement, requests)]


def _unused(statement: Mapping[str, Any], requests: Sequence[Request]) -> Iterator[Grant]:
    used = [request for request in requests if _applies(statement, request)]
    sid = str(statement.get("Sid", ""))
    for action in _listed(statement, "Action"):
        if not any(matches(action, request.action, ignore_case=True) for request in used):
            yield Grant(sid, action, "any")
    for resource in _listed(statement, "Resource"):
        if not any(_matches_arn(resource, request.resource) for request in used):
            yield Grant(sid, "any", resource)


def statements(documents: Iterable[Document]) -> Iterator[Mapping[str, Any]]:
    """All statements, each looked at for elements that are not known here."""
    for document in documents:
        listed = document["Statement"]
        for statement in [listed] if isinstance(listed, Mapping) else listed:
            if strange := set(statement) - _ELEMENTS:
                raise PolicyError(f"not known here: {', '.join(sorted(strange))}")
            yield statement


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    return (
        _names(statement, "Action", lambda pattern: matches(pattern, request.action, ignore_case=True))
        and _names(statement, "Resource", lambda pattern: _matches_arn(pattern, request.resource))
        and all(
            _holds(operator, key, wanted, request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _names(statement: Mapping[str, Any], element: str, fits: Callable[[str], bool]) -> bool:
    """Whether ``Action`` names it, or ``NotAction`` does not."""
    if element in statement:
        return any(fits(pattern) for pattern in _listed(statement, element))
    if f"Not{element}" in statement:
        return not any(fits(pattern) for pattern in _listed(statement, f"Not{element}"))
    raise PolicyError(f"a statement has neither {element} nor Not{element}")


def _listed(statement: Mapping[str, Any], element: str) -> list[str]:
    value = statement.get(element, [])
    return [value] if isinstance(value, str) else list(value)


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether *text* fits *pattern*, in which ``*`` stands for any text and ``?`` for one character."""
    if "${" in pattern:
        raise PolicyError(f"policy variables are not known here: {pattern}")
    parts = {"*": ".*", "?": "."}
    regex = "".join(parts.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(regex, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _matches_arn(pattern: str, arn: str) -> bool:
    """ARNs are compared part by part: no wildcard reaches over a colon but in the last part."""
    if pattern == "*":
        return True
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    return len(patterns) == len(parts) and all(map(matches, patterns, parts))


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, got: wanted == got,
    "StringLike": matches,
    "Bool": lambda wanted, got: wanted.lower() == got.lower(),
    "ArnLike": _matches_arn,
    "ArnEquals": _matches_arn,
}


def _holds(operator: str, key: str, wanted: object, context: Mapping[str, str]) -> bool:
    """Whether a condition holds; one on a key that the request does not carry does not."""
    if operator not in _OPERATORS:
        raise PolicyError(f"the operator {operator} is not known here")
    got = {name.lower(): value for name, value in context.items()}.get(key.lower())
    values = wanted if isinstance(wanted, list) else [wanted]
    return got is not None and any(_OPERATORS[operator](str(value), got) for value in values)
