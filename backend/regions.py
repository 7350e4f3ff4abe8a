"""Label Studio's labeling interface and regions <-> polygons with class ids. Pure.

Points are in per cent of the image as shown, x before y, as Label Studio stores them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from backend.errors import LabelConfigError

if TYPE_CHECKING:
    from backend.masks import Polygon  # with it come arrays and geometry, which reading annotations does not need

IGNORE = 255  # the class id of pixels that say nothing, as the training algorithm has it
Points = tuple[tuple[float, float], ...]
_FAR = 1e6  # per cent: no number beyond it was meant as a place


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The one ``PolygonLabels`` of a labeling interface and the ``Image`` that it draws on.

    *labels* are in the interface's order: label ``i`` has class id ``i + 1``, 0 is the background.
    *aliases* name what else a model may call a label (the attribute ``predicted_values``).
    """

    from_name: str
    to_name: str
    image_field: str
    labels: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()

    def class_id(self, label: str) -> int | None:
        """Class id of *label*, or None where the interface has no such label."""
        return self.labels.index(label) + 1 if label in self.labels else None

    def label_for(self, model_label: str) -> str | None:
        """The interface's label for a model's: by ``predicted_values``, else exact, else whatever the case."""
        by_alias = dict(self.aliases)
        if model_label in by_alias:
            return by_alias[model_label]
        if model_label in self.labels:
            return model_label
        return {label.casefold(): label for label in self.labels}.get(model_label.casefold())


def parse_label_config(xml: str) -> LabelConfig:
    """Read a labeling interface.

    The SDK's ``LabelInterface`` reads all tags but takes 100 MB of memory; these four attributes are all we need.

    Raises:
        LabelConfigError: it is no XML, or does not have exactly one ``PolygonLabels`` on an ``Image``.
    """
    root = _parse_xml(xml)
    controls = list(root.iter("PolygonLabels"))
    if len(controls) != 1:
        raise LabelConfigError(
            f"wanted exactly one <PolygonLabels> in the labeling interface, found {len(controls)}; "
            "see Settings > Labeling Interface"
        )
    control = controls[0]
    to_name = control.get("toName", "")
    images = [image for image in root.iter("Image") if image.get("name") == to_name]
    if not images:
        raise LabelConfigError(f'wanted <Image name="{to_name}">, which <PolygonLabels toName="{to_name}"> draws on')
    image_field = images[0].get("value", "").removeprefix("$")
    if not image_field:
        raise LabelConfigError(f'wanted <Image name="{to_name}" value="$..."> with the name of the task\'s image field')
    tags = [tag for tag in control.iter("Label") if _label(tag)]
    labels = tuple(dict.fromkeys(_label(tag) for tag in tags))
    if not labels:
        raise LabelConfigError("wanted at least one <Label value=...> in <PolygonLabels>, found none")
    return LabelConfig(
        from_name=control.get("name", ""),
        to_name=to_name,
        image_field=image_field,
        labels=labels,
        aliases=tuple(_aliases(tags)),
    )


def _parse_xml(xml: str) -> Element:
    try:
        root: Element = defusedxml.ElementTree.fromstring(xml)
    except (SyntaxError, ValueError, DefusedXmlException) as error:
        raise LabelConfigError(f"the labeling interface is not readable XML: {error}") from error
    return root


def _aliases(tags: Iterable[Element]) -> Iterable[tuple[str, str]]:
    for tag in tags:
        for alias in tag.get("predicted_values", "").split(","):
            if alias.strip():
                yield alias.strip(), _label(tag)


def _label(tag: Element) -> str:
    """What regions carry of a ``<Label>``: its alias, where it has one."""
    return tag.get("alias") or tag.get("value") or ""


@dataclass(frozen=True, slots=True)
class LabelledPolygon:
    """One drawn region: a class id (1 or more) and at least three points in per cent."""

    class_id: int
    points: Points


def read_regions(results: object, config: LabelConfig) -> tuple[list[LabelledPolygon], list[str]]:
    """The polygons in an annotation's ``result``, and a reason for each region that cannot be used as it is.

    A polygon whose label the interface does not have (any more) gets the class id IGNORE: what it shows is unknown, but
    not background, so its pixels are neither trained nor measured on.
    """
    polygons: list[LabelledPolygon] = []
    reasons: list[str] = []
    for region in results if isinstance(results, Sequence) else ():
        polygon, reason = _read_region(region, config)
        if polygon is not None:
            polygons.append(polygon)
        if reason:
            reasons.append(reason)
    return polygons, reasons


def _read_region(region: object, config: LabelConfig) -> tuple[LabelledPolygon | None, str]:
    if not isinstance(region, Mapping) or region.get("type") != "polygonlabels":
        return None, "not a polygon"
    if region.get("from_name") != config.from_name:
        return None, "drawn with another tool"
    value = region.get("value")
    value = value if isinstance(value, Mapping) else {}
    points = _read_points(value.get("points"))
    if len(points) < 3:
        return None, "wanted three points or more, each of two numbers"
    labels = value.get("polygonlabels")
    label = labels[0] if isinstance(labels, Sequence) and labels else None
    class_id = config.class_id(label) if isinstance(label, str) else None
    if class_id is not None:
        return LabelledPolygon(class_id, points), ""
    what = "no label" if label is None else f"label {label!r} is not in the labeling interface"
    return LabelledPolygon(IGNORE, points), f"{what}: what the polygon covers is ignored"


def _read_points(value: object) -> Points:
    """Distinct consecutive points, moved into the image where they lie outside; none if any is not two numbers."""
    points: list[tuple[float, float]] = []
    for point in value if isinstance(value, Sequence) else ():
        pair = _read_point(point)
        if pair is None:
            return ()
        if not points or points[-1] != pair:
            points.append(pair)
    if len(points) > 1 and points[0] == points[-1]:
        points.pop()
    return tuple(points)


def _read_point(point: object) -> tuple[float, float] | None:
    if not isinstance(point, Sequence) or len(point) != 2:
        return None
    if not all(isinstance(number, int | float) and -_FAR < number < _FAR for number in point):
        return None
    return _clamp(point[0]), _clamp(point[1])


def _clamp(percent: float) -> float:
    return min(100.0, max(0.0, float(percent)))


def polygons_to_regions(
    polygons: "Iterable[Polygon]",
    *,
    config: LabelConfig,
    model_labels: Sequence[str],
    size_wh: tuple[int, int],
    threshold: float = 0.0,
) -> list[dict[str, object]]:
    """Predicted polygons as Label Studio's regions.

    Args:
        polygons: vertices as fractions 0..1 of the image, class ids of the model.
        config: the project's labeling interface; labels that it does not have are left out.
        model_labels: the labels that the model was trained with; label ``i`` is class id ``i + 1``.
        size_wh: the image's size in pixels as shown.
        threshold: regions with a lower score are left out.
    """
    regions = []
    for number, polygon in enumerate(polygons):
        label = config.label_for(model_labels[polygon.class_id - 1]) if polygon.class_id <= len(model_labels) else None
        if label is None or (polygon.score is not None and polygon.score < threshold):
            continue
        regions.append(_region(polygon, label, config=config, size_wh=size_wh, number=number))
    return regions


def _region(
    polygon: "Polygon", label: str, *, config: LabelConfig, size_wh: tuple[int, int], number: int
) -> dict[str, object]:
    region: dict[str, object] = {
        "id": f"model-{number}",  # unique within a result: a second one with the same id would be merged into it
        "from_name": config.from_name,
        "to_name": config.to_name,
        "type": "polygonlabels",
        "origin": "prediction",
        "original_width": size_wh[0],
        "original_height": size_wh[1],
        "image_rotation": 0,
        "value": {
            "points": [[round(_clamp(100 * x), 3), round(_clamp(100 * y), 3)] for x, y in polygon.points],
            "closed": True,
            "polygonlabels": [label],
        },
    }
    if polygon.score is not None:
        region["score"] = round(polygon.score, 4)
    return region
