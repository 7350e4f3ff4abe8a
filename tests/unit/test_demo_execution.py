"""Executions: which failures the backend tries again by itself, by the names that it gives them."""

import pytest

from backend import trainer
from demo.execution import ATTEMPTS, FLOOR_STEP, Execution, StepState


def test_the_demo_counts_on_as_many_attempts_as_the_backend_makes():
    assert ATTEMPTS == trainer.ATTEMPTS


@pytest.mark.parametrize(
    ("name", "status", "retried"),
    [
        pytest.param("p1-n16-0", "Failed", True, id="first attempt"),
        pytest.param("p1-n16-1", "Failed", True, id="second attempt"),
        pytest.param("p1-n16-2", "Failed", False, id="third attempt"),
        pytest.param("p1-n32-3", "Failed", True, id="first attempt with more annotations"),
        pytest.param("p1-n16-0", "Stopped", False, id="stopped by somebody"),
        pytest.param("p1-n16-0", "Succeeded", False, id="succeeded"),
        pytest.param("p1-n16-0", "Executing", False, id="running"),
        pytest.param("by hand", "Failed", False, id="not the backend's"),
    ],
)
def test_a_failure_is_tried_again_until_the_third_attempt(name: str, status: str, retried: bool):
    assert Execution(name, status).retried is retried


def test_a_model_below_the_floor_is_final():
    assert not Execution("p1-n16-0", "Failed", (StepState(FLOOR_STEP, "Failed"),)).retried
