"""What `make bench-segmenter` wrote is what the README shows, and has what is promised."""

import json
from pathlib import Path

import pytest

from bench.learning import JOBS, SEEDS
from bench.learning_table import BEGIN, END, with_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "bench/segmenter.json").read_text(encoding="utf-8"))
MACHINE = {"cores": 2, "cpu": "a CPU"}


def run(seed: int, miou: float, *, n: int = 16, warm: int | None = None) -> dict[str, object]:
    return {"set": "birds", "n": n, "seed": seed, "warm": warm, "seconds_budget": 60, "miou": miou, "infer_ms": 20.0}


def test_the_table_in_the_readme_is_what_was_measured_last():
    assert with_table(README, RESULTS) == README


def test_the_seeds_of_a_job_share_a_row_with_their_mean():
    runs = [run(0, 0.7), run(1, 0.8), run(0, 0.9, n=32, warm=16)]
    table = with_table(f"{BEGIN}\n{END}\n", {"runs": runs, "machine": MACHINE})
    assert "| 16 | 60 | ImageNet | 0.750 | 0.700, 0.800 |" in table
    assert "| 32 | 60 | the model of 16 | 0.900 | 0.900 |" in table


def test_a_readme_without_the_markers_is_refused_rather_than_overwritten():
    with pytest.raises(ValueError, match="wanted the two lines"):
        with_table("no table\n", RESULTS)


def test_every_job_was_run_with_every_seed():
    wanted = {(job.n, job.seconds, job.earlier and job.earlier.n, seed) for job in JOBS for seed in SEEDS}
    assert {(each["n"], each["seconds_budget"], each["warm"], each["seed"]) for each in RESULTS["runs"]} == wanted


def test_a_run_has_what_is_promised():
    wanted = {"set", "n", "seed", "warm", "seconds_budget", "seconds", "miou", "per_class", "infer_ms"}
    assert all(each.keys() >= wanted for each in RESULTS["runs"])


def test_no_job_took_longer_than_its_budget():
    assert [each for each in RESULTS["runs"] if each["seconds"] > each["seconds_budget"] + 1] == []
