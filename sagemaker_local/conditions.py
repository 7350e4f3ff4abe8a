"""The conditions of a Condition step. Pure."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from sagemaker_local.expressions import ExpressionError, evaluate, expression_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sagemaker_local.expressions import Scope

Condition = dict[str, Any]

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_MEMBERS = {
    **dict.fromkeys(_COMPARISONS, ("LeftValue", "RightValue")),
    "In": ("QueryValue", "Values"),
    "And": ("Conditions",),
    "Or": ("Conditions",),
    "Not": ("Expression",),
}


def check_conditions(conditions: object) -> None:
    """Raise ExpressionError unless this is a list of conditions of known types with the members they need."""
    if not isinstance(conditions, list) or not conditions:
        raise ExpressionError("'Conditions' must be a list with at least one condition")
    for condition in conditions:
        _check(condition)


def _check(condition: object) -> None:
    kind = condition.get("Type") if isinstance(condition, dict) else None
    if not isinstance(condition, dict) or kind not in _MEMBERS:
        raise ExpressionError(
            f"sagemaker_local does not know the condition type {kind!r}; it knows {', '.join(_MEMBERS)}"
        )
    condition = _normal(condition)
    missing = [member for member in _MEMBERS[str(kind)] if member not in condition]
    if missing:
        raise ExpressionError(f"a condition of type {kind} needs {' and '.join(missing)}")
    for inner in _inner(condition):
        _check(inner)


def _normal(condition: Condition) -> Condition:
    """The SDK's third version writes a Not's condition as `Condition`, earlier ones as `Expression`."""
    if condition["Type"] == "Not" and "Condition" in condition:
        return {"Type": "Not", "Expression": condition["Condition"]}
    return condition


def _inner(condition: Condition) -> Iterator[Condition]:
    if condition["Type"] in ("And", "Or"):
        yield from condition["Conditions"]
    elif condition["Type"] == "Not":
        yield condition["Expression"]


def holds_all(conditions: list[Condition], scope: Scope) -> bool:
    """Whether all conditions hold, which is what a Condition step asks."""
    return all(holds(condition, scope) for condition in conditions)


def holds(condition: Condition, scope: Scope) -> bool:
    """Whether one condition holds; ExpressionError if its values cannot be compared."""
    condition = _normal(condition)
    kind = condition["Type"]
    if kind in _COMPARISONS:
        return _compare(condition, scope)
    if kind == "In":
        values = [evaluate(item, scope) for item in _listed(condition["Values"], scope)]
        return evaluate(condition["QueryValue"], scope) in values
    if kind == "Not":
        return not holds(condition["Expression"], scope)
    combine = any if kind == "Or" else all
    return combine(holds(inner, scope) for inner in condition["Conditions"])


def _listed(values: Any, scope: Scope) -> list[Any]:  # noqa: ANN401 - a JSON list, or an expression for one
    listed = evaluate(values, scope) if expression_function(values) else values
    if not isinstance(listed, list):
        raise ExpressionError(f"In wants a list of values, not {listed!r}")
    return listed


def _compare(condition: Condition, scope: Scope) -> bool:
    left, right = evaluate(condition["LeftValue"], scope), evaluate(condition["RightValue"], scope)
    if condition["Type"] == "Equals" or _family(left) == _family(right) != "other":
        return _COMPARISONS[condition["Type"]](left, right)
    raise ExpressionError(f"{condition['Type']} cannot compare {left!r} with {right!r}")


def _family(value: object) -> str:
    if isinstance(value, bool):
        return "other"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "other"
