"""Who is ahead, where one has measured at several settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Curve = Sequence[Mapping[str, Any]]


def least_leads(curve: Curve, ours: str) -> dict[str, float]:
    """The least lead of *ours* on each other name of the curve."""
    peers = dict.fromkeys(row["name"] for row in curve if row["name"] != ours)
    return {name: least_lead(curve, ours, name) for name in peers}


def least_lead(curve: Curve, ours: str, peer: str) -> float:
    """By how much *ours* is above *peer* in IoU, at the count of points (mean of the regions) where that is least.

    Between two settings the IoU is taken to be on a line; counts that only one of the two comes to are left out.
    """
    (mine, my_ious), (theirs, their_ious) = _points_and_ious(curve, ours), _points_and_ious(curve, peer)
    low, high = max(mine[0], theirs[0]), min(mine[-1], theirs[-1])
    counts = np.array([points for points in (*mine, *theirs) if low <= points <= high])
    return round(float((np.interp(counts, mine, my_ious) - np.interp(counts, theirs, their_ious)).min()), 4)


def _points_and_ious(curve: Curve, name: str) -> tuple[list[float], list[float]]:
    rows = sorted((float(row["points_mean"]), float(row["iou"])) for row in curve if row["name"] == name)
    return [points for points, _ in rows], [iou for _, iou in rows]
