"""What the check holds against executions that came while many people annotated."""

from datetime import UTC, datetime, timedelta

import pytest

from demo.stress import Run, judge

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def run(count: int, begin_s: int, end_s: int, *, snapshot: int | None = None, status: str = "Succeeded") -> Run:
    """An execution between two seconds after noon."""
    begin, end = NOON + timedelta(seconds=begin_s), NOON + timedelta(seconds=end_s)
    return Run(count, 0, count if snapshot is None else snapshot, begin, end, status)


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param([run(16, 0, 10), run(40, 11, 20)], id="two in a row"),
        pytest.param([run(25, 0, 10)], id="one that took nearly all"),
        pytest.param([run(16, 0, 10), run(32, 10, 20)], id="one begins when the other ends"),
    ],
)
def test_executions_in_a_row_that_count_what_came_are_right(runs: list[Run]):
    assert judge(runs, annotations=40) == []


@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        pytest.param([], "no execution", id="none"),
        pytest.param([run(16, 0, 10), run(32, 9, 20)], "overlapped", id="overlap"),
        pytest.param(
            [run(16, 0, 10), run(16, 11, 20), run(40, 21, 30)], "only 0 after n16", id="twice at one threshold"
        ),
        pytest.param([run(15, 0, 10), run(40, 11, 20)], "started at 15", id="too early"),
        pytest.param([run(16, 0, 10)], "the last execution counted 16", id="the rest was not counted"),
        pytest.param([run(30, 0, 10, snapshot=29)], "trained on 29", id="name and snapshot differ"),
        pytest.param([run(30, 0, 10, status="Failed")], "ended as Failed", id="failed"),
    ],
)
def test_what_is_wrong_is_named(runs: list[Run], fault: str):
    faults = judge(runs, annotations=40)

    assert any(fault in each for each in faults), faults
