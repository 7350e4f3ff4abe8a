"""The check's report: its keys are promised, and what fell short is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from demo.display import Step
from demo.limits import LIMITS, Limit
from demo.report import FIGURES, Report, table

GOOD: dict[str, Any] = {
    "seconds_total": 300.0,
    "seconds_16th_to_predictions": 80.0,
    "executions_at_16": 1,
    "executions_stress": 2,
    "held_out_miou": 0.86,
    "validation_miou": 0.83,
    "webhook_p95_ms": 8.0,
    "webhook_p95_ms_aws_down": 9.0,
    "setup_p95_ms": 5.0,
    "health_p95_ms": 4.0,
    "backend_rss_mb": 180.0,
    "sagemaker_local_rss_mb": 90.0,
    "model_version": "birds v1",
    "screenshot": ".demo/screenshot.png",
}


def test_the_file_has_the_promised_keys(tmp_path: Path):
    path = tmp_path / "report.json"
    Report(GOOD).write(path, [Step("stress", 61.5)])

    written = json.loads(path.read_text())

    assert list(written) == ["passed", *FIGURES, "steps"]
    assert written["passed"] is True
    assert written["steps"] == [{"name": "stress", "seconds": 61.5}]


def test_everything_within_its_limit_passes():
    assert Report(GOOD).shortfalls() == []


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.key)
def test_a_figure_beyond_its_limit_falls_short_and_is_named(limit: Limit):
    beyond = limit.bound - 0.1 if limit.at_least else limit.bound + 0.1

    (shortfall,) = Report({**GOOD, limit.key: beyond}).shortfalls()

    assert limit.title in shortfall
    assert limit.wanted() in shortfall


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.key)
def test_the_limit_itself_is_good_enough(limit: Limit):
    assert Report({**GOOD, limit.key: limit.bound}).shortfalls() == []


def test_a_figure_that_was_not_reached_falls_short(tmp_path: Path):
    figures = {key: value for key, value in GOOD.items() if key != "held_out_miou"}

    assert Report(figures).shortfalls() == ["not measured: held_out_miou"]


def test_a_fault_falls_short_whatever_the_figures():
    report = Report(dict(GOOD))
    report.fault("two executions overlapped")

    assert report.shortfalls() == ["two executions overlapped"]


def test_figures_that_the_report_does_not_have_are_refused():
    with pytest.raises(KeyError):
        Report().set("webhook_p59_ms", 1.0)


def test_the_table_marks_what_fell_short():
    marked = [line for line in table({**GOOD, "setup_p95_ms": 21.0}) if "FELL SHORT" in line]

    assert len(table(GOOD)) == len(FIGURES)
    assert [line.split()[0] for line in marked] == ["setup_p95_ms"]
