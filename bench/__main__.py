"""`python -m bench`: measure, write `bench/results.json` and the README's table."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import machine, polygons, predicting, preprocessing, rasterising, samples, scoring, webhook
from bench.errors import BenchError
from bench.table import with_table
from bench.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
PARTS = ("polygons", "rasterising", "preprocess", "preprocess_large", "predict", "webhook", "scores")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all, or the parts that are named, which replace their like in the results that are there."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--realset", type=Path, default=Path("../shared/realset"), help="folder of real photos")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results.json", help="where to write")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="whose table to write")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)  # 350 tasks that come to nothing are what is wanted here
    try:
        results = _earlier(chosen.results) | _measured(chosen.realset, chosen.only)
        _write(results, chosen.results, chosen.readme)
    except BenchError as error:
        say(f"failed: {error}")
        return 1
    return 0


def _measured(realset: Path, parts: Sequence[str]) -> dict[str, Any]:
    began = time.monotonic()
    known = samples.load(realset)
    say(f"{len(known.photos)} photos of {known.source}")
    measure: dict[str, Callable[[], Any]] = {
        "polygons": lambda: polygons.measure([photo.mask for photo in known.photos]),
        "rasterising": lambda: rasterising.measure(known.photos),
        "preprocess": preprocessing.measure,
        "preprocess_large": preprocessing.measure_large,
        "predict": predicting.measure,
        "webhook": webhook.measure,
        "scores": lambda: scoring.measure(known),
    }
    results = {part: measure[part]() for part in PARTS if part in parts}
    say(f"measured in {time.monotonic() - began:.0f} s")
    return results | {"machine": machine.describe(), "data": known.source}


def _earlier(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _write(results: dict[str, Any], path: Path, readme: Path) -> None:
    missing = [part for part in PARTS if part not in results]
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if missing:
        raise BenchError(f"the README's table needs {', '.join(missing)} too: measure all once")
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    say(f"wrote {path} and the table of {readme}")


if __name__ == "__main__":
    sys.exit(main())
