"""The results as the README shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Results = Mapping[str, Any]

BEGIN = "<!-- what `make bench` writes begins here -->"
END = "<!-- and ends here -->"
PEERS = {
    "opencv": "OpenCV",
    "opencv, half a pixel further": "OpenCV with half a pixel added",
    "supervision": "`supervision`",
}
SOURCES = {"realset": "hand-drawn masks of real photos", "birds": "masks of the demo's birds"}


def with_table(readme: str, results: Results) -> str:
    """The README with the table between its two markers.

    Raises:
        ValueError: a marker is missing.
    """
    return between(readme, BEGIN, END, render(results))


def between(text: str, begin: str, end: str, inner: str) -> str:
    """The text with *inner* in the place of what stands between its lines *begin* and *end*.

    Raises:
        ValueError: one of the two is missing.
    """
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"wanted the two lines {begin} and {end} in the README")
    return f"{before}{begin}\n{inner}\n{end}{after}"


def render(results: Results) -> str:
    """The sentence on the machine and the table."""
    machine, polygons = results["machine"], results["polygons"]
    rows = [
        *_polygons(polygons),
        *_predict(results["predict"]),
        *_webhook(results["webhook"]),
        *_preprocess(results),
        *_scores(results["scores"]),
    ]
    return "\n".join(
        [
            f"On {machine['cores']} cores ({machine['cpu']}), {polygons['masks']} {SOURCES[results['data']]}:",
            "",
            "| measured | here | beside it |",
            "| --- | --- | --- |",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def _polygons(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    opencv, supervision = found["peers"]["opencv"], found["peers"]["supervision"]
    names = f"OpenCV `approxPolyDP` at {opencv['setting']}", f"`supervision`, {supervision['setting']} points"

    def row(key: str, digits: int) -> tuple[str, str]:
        beside = (f"{name}: {peer[key]:.{digits}f}" for name, peer in zip(names, (opencv, supervision), strict=True))
        return f"{found[key]:.{digits}f}", "; ".join(beside)

    yield "polygons: mean IoU with the region", *row("iou", 3)
    yield "polygons: points of a region, median", *row("points_median", 0)
    leads = (f"{PEERS[name]}: {lead:+.3f}" for name, lead in found["least_lead"].items())
    yield "polygons: how far ahead in IoU, at the count of points where that is least", "", "; ".join(leads)
    size = f"{found['megapixels_per_mask']:.2f}"
    yield f"polygons: CPU time of a mask of {size} megapixels, ms", *row("ms_per_mask", 1)


def _predict(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    at_once = f"{found['concurrency']} at once"
    for each in found["throughput"]:
        yield (
            f"`/predict`, images a second, {at_once}, an endpoint of {each['endpoint_seconds']:g} s",
            f"{each['tasks_per_second']:.1f}",
            f"bare loop of InvokeEndpoint: {each['bare_per_second']:.1f} (ratio {each['ratio']:.2f})",
        )
    took = f"{found['overhead_ms']:.1f} (CPU: {found['overhead_cpu_ms']:.1f})"
    yield "`/predict`, what a megapixel JPEG takes beyond the bare call, ms", took, ""
    for each in found["bulk"]:
        seconds = each["endpoint_seconds"]
        yield (
            f"350 tasks in one `/predict`, an endpoint {'that hangs' if seconds is None else f'of {seconds:g} s'}",
            f"{each['answered']} answered in {each['seconds']:.1f} s",
            f"deadline {each['deadline_seconds']:g} s",
        )


def _webhook(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, what in (("authorizer", "who checks the password"), ("trigger", "who counts")):
        each = found[name]
        yield (
            f"Lambda's webhook on one core, {what}, ms",
            f"{each['warm_ms']:.1f} (95 %: {each['warm_ms_p95']:.1f})",
            f"by a new instance: {each['cold_ms']:.0f}; Label Studio waits for {found['allowed_ms']}",
        )


def _preprocess(results: Results) -> Iterator[tuple[str, str, str]]:
    for each in results["preprocess"]:
        yield (
            f"preprocess: {each['annotations']:,} annotations",
            f"{each['seconds']:.1f} s, {each['peak_mb']:.0f} MB",
            "",
        )
    large = results["preprocess_large"]
    yield (
        f"preprocess: a photo of {large['megapixels']:g} megapixels, CPU ms",
        f"{large['task_ms']:.0f}",
        f"decoding it alone: {large['decode_ms']:.0f}",
    )
    ours = results["rasterising"]
    pillow = ours["peers"]["pillow"]
    yield (
        f"masks: CPU time of an annotation at {ours['side']} px, ms",
        f"{ours['ms_per_annotation']:.2f}",
        f"Pillow's `ImageDraw`: {pillow['ms_per_annotation']:.2f}",
    )
    yield (
        "masks: error of a polygon's area, mean (largest)",
        f"{ours['area_error_mean']:.2%} ({ours['area_error_max']:.2%})",
        f"Pillow's `ImageDraw`: {pillow['area_error_mean']:.2%} ({pillow['area_error_max']:.2%})",
    )


def _scores(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    images = f"{found['images']} test images (of all {found['images_of_all']} new ones)"
    thirds = f"{found['mean_iou_of_lowest_third']:.2f}", f"{found['mean_iou_of_highest_third']:.2f}"
    yield (
        f"scores: rank correlation with the true IoU, {images}",
        f"{found['rank_correlation']:.2f} ({found['rank_correlation_of_all']:.2f})",
        f"mean IoU of the third with the lowest scores {thirds[0]}, with the highest {thirds[1]}",
    )
