"""Steps are tried again as SageMaker documents it ("Retry Policy for Pipeline Steps"), and not for days."""

from typing import Any

import pytest

from pipeline.rendering import committed_definition

STEP = {"Step.SERVICE_FAULT", "Step.THROTTLING"}
JOB = {"SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"}
# Steps that may have policies, and which exceptions they know. Conditions and Fail steps have none.
KNOWN = {"Processing": STEP | JOB, "Training": STEP | JOB, "RegisterModel": STEP}
MOST_ATTEMPTS, LONGEST_INTERVAL = 20, 12 * 3600


def steps(among: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    found = []
    for step in committed_definition()["Steps"] if among is None else among:
        arguments = step.get("Arguments", {})
        found += [step, *steps([*arguments.get("IfSteps", []), *arguments.get("ElseSteps", [])])]
    return found


POLICIES = [
    pytest.param(step["Type"], policy, id=f"{step['Name']}-{'-'.join(policy['ExceptionType'])}")
    for step in steps()
    for policy in step.get("RetryPolicies", [])
]


def waits(policy: dict[str, Any]) -> list[float]:
    """Seconds before each further attempt."""
    return [policy["IntervalSeconds"] * policy["BackoffRate"] ** number for number in range(policy["MaxAttempts"])]


@pytest.mark.parametrize(("kind", "policy"), POLICIES)
def test_a_policy_names_exceptions_that_its_step_knows(kind: str, policy: dict[str, Any]):
    assert set(policy["ExceptionType"]) <= KNOWN[kind]


@pytest.mark.parametrize(("kind", "policy"), POLICIES)
def test_a_policy_has_the_fields_and_ranges_that_are_documented(kind: str, policy: dict[str, Any]):
    assert policy.keys() == {"ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts"}
    assert 1 <= policy["MaxAttempts"] <= MOST_ATTEMPTS
    assert policy["BackoffRate"] >= 1
    assert max(waits(policy)) <= LONGEST_INTERVAL


def test_both_jobs_are_tried_again_after_every_exception_that_passes():
    for step in steps():
        if step["Type"] in {"Processing", "Training"}:
            named = [each for policy in step["RetryPolicies"] for each in policy["ExceptionType"]]
            assert sorted(named) == sorted(STEP | JOB)


@pytest.mark.parametrize(
    ("exception", "seconds"),
    [
        pytest.param("Step.SERVICE_FAULT", 10 * 60, id="a fault of the service passes in minutes"),
        pytest.param("SageMaker.JOB_INTERNAL_ERROR", 10 * 60, id="a broken job is not paid for many times"),
        pytest.param("SageMaker.RESOURCE_LIMIT", 3600, id="a quota of 0 is told within the hour"),
        pytest.param("SageMaker.CAPACITY_ERROR", 4 * 3600, id="capacity comes back within hours"),
    ],
)
def test_waiting_comes_to_an_end(exception: str, seconds: int):
    for step in steps():
        for policy in step.get("RetryPolicies", []):
            if exception in policy["ExceptionType"]:
                assert sum(waits(policy)) <= seconds


def test_all_the_waiting_for_one_step_is_less_than_half_a_working_day_more_than_the_training_may_take():
    for step in steps():
        assert sum(sum(waits(policy)) for policy in step.get("RetryPolicies", [])) <= 5 * 3600
