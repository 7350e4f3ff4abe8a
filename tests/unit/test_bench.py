"""What `make bench` wrote is what the README shows, and how it counts."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bench.leads import least_lead, least_leads
from bench.scoring import mean_iou, rank_correlation
from bench.table import BEGIN, END, render, with_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "bench/results.json").read_text(encoding="utf-8"))
POLYGONS = {"iou", "points_median", "ms_per_mask"}


def test_the_table_in_the_readme_is_what_was_measured_last():
    assert with_table(README, RESULTS) == README


def test_the_table_replaces_the_one_that_is_there_and_nothing_else():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(text, RESULTS) == f"before\n{BEGIN}\n{render(RESULTS)}\n{END}\nafter\n"


def test_a_readme_without_the_markers_is_refused_rather_than_overwritten():
    with pytest.raises(ValueError, match="wanted the two lines"):
        with_table("no table\n", RESULTS)


def test_the_polygons_are_measured_beside_both_peers():
    assert RESULTS["polygons"].keys() >= POLYGONS
    assert {name: found.keys() >= POLYGONS for name, found in RESULTS["polygons"]["peers"].items()} == {
        "opencv": True,
        "supervision": True,
    }


def test_the_results_have_a_figure_for_everything_that_is_promised():
    assert RESULTS.keys() >= {"polygons", "predict", "preprocess", "scores", "machine"}
    assert RESULTS["predict"].keys() >= {
        "throughput_ratio",
        "overhead_ms",
        "bulk_350_seconds",
        "bulk_350_answered",
    }
    assert [row["annotations"] for row in RESULTS["preprocess"]] == [100, 1_000, 10_000]
    assert all(row.keys() >= {"seconds", "peak_mb"} for row in RESULTS["preprocess"])
    assert "rank_correlation" in RESULTS["scores"]


def test_350_tasks_were_answered_before_the_deadline_whatever_the_endpoint_took():
    assert len(RESULTS["predict"]["bulk"]) == 3
    assert all(each["seconds"] <= each["deadline_seconds"] + 1 for each in RESULTS["predict"]["bulk"])


def test_label_studios_second_is_enough_for_a_webhook_though_both_functions_start_for_it():
    webhook = RESULTS["webhook"]
    assert webhook["authorizer"]["cold_ms_max"] + webhook["trigger"]["cold_ms_max"] < webhook["allowed_ms"]


def test_nothing_of_the_machine_but_its_kind_is_told():
    assert RESULTS["machine"].keys() == {"cpu", "cores", "system", "python", "versions"}


def test_the_leads_are_those_of_the_curve():
    polygons = RESULTS["polygons"]
    assert polygons["least_lead"] == least_leads(polygons["curve"], "ours")


def test_the_lead_is_taken_at_equal_counts_of_points_where_it_is_least():
    ours = [{"name": "ours", "points_mean": points, "iou": iou} for points, iou in ((10, 0.9), (20, 1.0))]
    peer = [{"name": "peer", "points_mean": points, "iou": iou} for points, iou in ((5, 0.1), (15, 0.9), (30, 0.94))]
    assert least_lead([*ours, *peer], "ours", "peer") == pytest.approx(0.05)


def test_equal_values_share_their_rank():
    scores = np.array([0.1, 0.2, 0.2, 0.9])
    assert rank_correlation(scores, scores**3) == pytest.approx(1)
    assert rank_correlation(scores, -scores) == pytest.approx(-1)
    assert rank_correlation(scores, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.9487, abs=1e-4)


def test_the_true_iou_is_the_mean_over_the_classes_that_are_there():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    predicted = np.array([[0, 1, 1, 2]], np.uint8)
    assert mean_iou(truth, predicted) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_each_peer_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {re.split(r"[\[<>=]", each)[0] for each in project["dependency-groups"]["bench"]}
    reasons = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    assert {name for name in names if not re.search(rf"\b{name}\b", reasons)} == set()
