"""What the segmenter reached, as the README shows it. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from bench.table import between

if TYPE_CHECKING:
    from collections.abc import Mapping

BEGIN = "<!-- what `make bench-segmenter` writes begins here -->"
END = "<!-- and ends here, too -->"
SOURCES = {"realset": "22 real photos of cars, parts of 4 classes", "birds": "the demo's birds"}


def with_table(readme: str, results: Mapping[str, Any]) -> str:
    """The README with the table between its two markers.

    Raises:
        ValueError: a marker is missing.
    """
    return between(readme, BEGIN, END, render(results))


def render(results: Mapping[str, Any]) -> str:
    """The sentence on the set and the machine, and a row for each kind of job with the mean over its seeds."""
    runs, machine = results["runs"], results["machine"]
    kinds = dict.fromkeys((run["n"], run["seconds_budget"], run["warm"]) for run in runs)
    seeds = len({run["seed"] for run in runs})
    infer = statistics.median(run["infer_ms"] for run in runs)
    rows = [_row(*kind, [r for r in runs if (r["n"], r["seconds_budget"], r["warm"]) == kind]) for kind in kinds]
    return "\n".join(
        [
            f"Tested on {SOURCES[runs[0]['set']]}, {seeds} seeds, {machine['cores']} cores ({machine['cpu']}); an "
            f"image takes {infer:.0f} ms:",
            "",
            "| photos labelled | training, s | begun from | mIoU | of the seeds |",
            "| --- | --- | --- | --- | --- |",
            *rows,
        ]
    )


def _row(n: int, seconds: float, warm: int | None, runs: list[Mapping[str, Any]]) -> str:
    start = "ImageNet" if warm is None else f"the model of {warm}"
    each = ", ".join(f"{run['miou']:.3f}" for run in runs)
    return f"| {n} | {seconds:g} | {start} | {statistics.mean(run['miou'] for run in runs):.3f} | {each} |"
