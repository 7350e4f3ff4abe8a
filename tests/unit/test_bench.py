"""What `make bench` wrote is what the README shows, and how it counts."""

import json
import re
import tomllib
from pathlib import Path

import pytest

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


def test_nothing_of_the_machine_but_its_kind_is_told():
    assert RESULTS["machine"].keys() == {"cpu", "cores", "system", "python", "versions"}


def test_each_peer_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {re.split(r"[\[<>=]", each)[0] for each in project["dependency-groups"]["bench"]}
    reasons = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    assert {name for name in names if not re.search(rf"\b{name}\b", reasons)} == set()
