"""Polygons: how well they agree with the masks, with how many points, in what time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely

from backend.masks import MINIMUM_AREA
from bench.accuracy import Fit, fits
from bench.leads import least_leads
from bench.outlining import CURVE, OURS, PEERS
from bench.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.outlining import Method, Outline

RUNS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What one method made of one mask."""

    fits: list[Fit]
    invalid: int
    ms: float


def measure(masks: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """The part `polygons` of the results."""
    cv2.setNumThreads(1)
    measured = {method.name: _method(method, masks, runs=RUNS) for method in (OURS, *PEERS)}
    curve = _curve(masks)
    return {
        **measured.pop(OURS.name),
        "regions": sum(len(fits(mask, [], minimum_area=MINIMUM_AREA * mask.size)) for mask in masks),
        "masks": len(masks),
        "megapixels_per_mask": round(float(np.mean([mask.size for mask in masks])) / 1e6, 3),
        "peers": measured,
        "least_lead": least_leads(curve, OURS.name),
        "curve": curve,
    }


def _curve(masks: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
    rows = []
    for method in counted(CURVE, "polygons at several settings"):
        row = _summary([_measured(method, mask, runs=0) for mask in masks])
        rows.append({"name": method.name, "setting": method.setting, **row})
    return rows


def _method(method: Method, masks: Sequence[NDArray[np.uint8]], *, runs: int) -> dict[str, Any]:
    measured = [_measured(method, mask, runs=runs) for mask in counted(masks, f"polygons by {method.name}")]
    ms = [each.ms for each in measured]
    return {
        **_summary(measured),
        "setting": method.setting,
        "ms_per_mask": round(float(np.mean(ms)), 3),
        "ms_slowest_mask": round(max(ms), 3),
    }


def _measured(method: Method, mask: NDArray[np.uint8], *, runs: int) -> Measured:
    """The best CPU time of some runs: what disturbs only adds to it."""
    outlines = method.outline(mask)
    ms = min((_timed(method, mask) for _ in range(runs)), default=0.0)
    invalid = sum(not _is_simple(outline) for outline in outlines)
    return Measured(fits(mask, outlines, minimum_area=MINIMUM_AREA * mask.size), invalid, ms)


def _timed(method: Method, mask: NDArray[np.uint8]) -> float:
    began = time.process_time()
    method.outline(mask)
    return (time.process_time() - began) * 1000


def _is_simple(outline: Outline) -> bool:
    return len(outline.points) >= 3 and bool(shapely.is_valid(shapely.Polygon(outline.points)))


def _summary(measured: Sequence[Measured]) -> dict[str, Any]:
    """Means over all regions; `iou` is the lowest of the three views of holes."""
    found = [fit for each in measured for fit in each.fits]
    views = {view: float(np.mean([getattr(fit, view) for fit in found])) for view in ("filled", "as_it_is", "drawn")}
    strictest = min(views, key=lambda view: views[view])
    ious = [getattr(fit, strictest) for fit in found]
    points = [fit.points for fit in found]
    return {
        "iou": round(views[strictest], 4),
        "iou_median": round(float(np.median(ious)), 4),
        "iou_lowest_tenth": round(float(np.quantile(ious, 0.1)), 4),
        "iou_with_holes_filled": round(views["filled"], 4),
        "points_median": float(np.median(points)),
        "points_mean": round(float(np.mean(points)), 2),
        "regions_without_polygon": sum(not fit.points for fit in found),
        "self_crossing": sum(each.invalid for each in measured),
    }
