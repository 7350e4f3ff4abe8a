"""Synthetic birds: a seed becomes a picture of one bird and the exact polygons of its four parts.

The polygons are the visible shapes. Where two of them overlap, the smaller one is on top, which is also the rule by
which the pipeline draws masks: so the mask of a scene is its picture, pixel by pixel, but for the simplified outlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from shapely import Polygon, box, make_valid, set_precision, union_all
from shapely.affinity import scale

from demo.anatomy import Anatomy, grow_bird
from demo.plumage import Painter, grow_plumage
from demo.scenery import SETTINGS, Occluder, draw_occluder, draw_perch, draw_setting, grow_occluders, set_light
from demo.shapes import Placement, Points

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

LABELS = ("Beak", "Head", "Wing", "Body")

SIZES_WH = ((640, 480), (640, 480), (800, 600), (480, 640), (720, 540), (640, 640), (960, 640))
SUPERSAMPLING = 2
OUTLINE_TOLERANCE = 0.5  # pixels that a simplified outline may be off
LEAST_PIECE = 0.0006  # of the picture: smaller pieces are specks that nobody would draw round
LEAST_VISIBLE = {"Beak": 0.85, "Head": 0.75, "Wing": 0.7, "Body": 0.6}  # share of a part that leaves must not hide


@dataclass(frozen=True, slots=True)
class PartPolygon:
    """The visible outline of one part, in per cent of the picture's width and height."""

    label: str
    points_percent: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class BirdScene:
    """A picture of one bird and its parts: each label at least once (more often: two wings, or a cut part)."""

    image: Image.Image
    polygons: tuple[PartPolygon, ...]


def scene_size(seed: int) -> tuple[int, int]:
    """The (width, height) that goes with a seed, for data sets of mixed sizes."""
    return Random(f"size {seed}").choice(SIZES_WH)


def draw_scene(seed: int, *, size_wh: tuple[int, int] = (640, 480)) -> BirdScene:
    """The scene of a seed: the same seed and size always give the same picture and polygons."""
    rng = Random(f"bird {seed}")
    canvas_wh = (size_wh[0] * SUPERSAMPLING, size_wh[1] * SUPERSAMPLING)
    bird = grow_bird(rng)
    place = _place_bird(bird, canvas_wh, rng)
    setting = rng.choice(("sky", "sky", "dusk", "foliage", "water") if bird.flying else SETTINGS)
    canvas = draw_setting(setting, canvas_wh, rng)
    if not bird.flying:
        draw_perch(canvas, place(bird.feet), rng, setting=setting)
    light = (rng.choice((-0.7, 0.7)), -0.7)
    Painter(canvas, place, grow_plumage(rng), light, rng).paint(bird)
    parts = _painted_parts(bird, place)
    leaves = _leaves(parts, canvas_wh, rng, setting=setting)
    for leaf in leaves:
        draw_occluder(canvas, leaf)
    image = set_light(canvas.resize(size_wh, Image.Resampling.LANCZOS), rng)
    return BirdScene(image, _part_polygons(_visible_parts(parts, leaves, canvas_wh), canvas_wh))


def to_regions(scene: BirdScene) -> list[dict[str, Any]]:
    """The polygons as Label Studio's regions, as an annotation's `result` holds them."""
    width, height = scene.image.size
    return [
        {
            "id": f"part{index}",
            "type": "polygonlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "origin": "manual",
            "value": {
                "points": [list(point) for point in polygon.points_percent],
                "polygonlabels": [polygon.label],
                "closed": True,
            },
        }
        for index, polygon in enumerate(scene.polygons)
    ]


def _place_bird(bird: Anatomy, size_wh: tuple[int, int], rng: Random) -> Placement:
    """Large enough to see every part, wholly inside the picture, anywhere in it."""
    degrees, mirrored = rng.uniform(-10, 10), rng.random() < 0.5
    unit = Placement(1.0, degrees, mirrored, (0.0, 0.0))
    extent = unit(np.concatenate([*bird.outlines(), bird.feet]))
    low, high = extent.min(axis=0), extent.max(axis=0)
    room = np.array(size_wh) * 0.96
    zoom = float((room / (high - low)).min()) * rng.uniform(0.68, 1.0)
    spare = room - (high - low) * zoom
    offset = np.array(size_wh) * 0.02 + spare * (rng.random(), rng.random()) - low * zoom
    return Placement(zoom, degrees, mirrored, (float(offset[0]), float(offset[1])))


def _painted_parts(bird: Anatomy, place: Placement) -> list[tuple[str, BaseGeometry]]:
    """Label and full outline of each part, in the order in which they are painted."""
    body: BaseGeometry = union_all([_polygon(place(bird.tail)), _polygon(place(bird.body))])
    front = [("Head", _polygon(place(bird.head))), ("Wing", _polygon(place(bird.near_wing.outline)))]
    parts = [("Body", body), *(front if bird.flying else front[::-1]), ("Beak", _polygon(place(bird.beak)))]
    return [("Wing", _polygon(place(bird.far_wing.outline))), *parts] if bird.far_wing else parts


def _polygon(outline: Points) -> Polygon:
    return _whole(make_valid(Polygon(outline)))


def _whole(shape: BaseGeometry) -> Polygon:
    return max(_pieces(shape), key=lambda piece: piece.area)


def _pieces(shape: BaseGeometry, *, least: float = 0.0) -> list[Polygon]:
    """The polygons of a shape with more than `least` area, holes filled: what a person would draw round."""
    polygons = [p for p in getattr(shape, "geoms", [shape]) if isinstance(p, Polygon)]
    return [Polygon(p.exterior) for p in polygons if p.area > least]


def _leaves(
    parts: list[tuple[str, BaseGeometry]], size_wh: tuple[int, int], rng: Random, *, setting: str
) -> list[Occluder]:
    """The leaves that may stay: enough of each part remains visible."""
    everything = union_all([shape for _, shape in parts]).bounds
    kept: list[Occluder] = []
    for leaf in grow_occluders(size_wh, everything, rng, setting=setting):
        cover = union_all([_polygon(o.outline) for o in [*kept, leaf]])
        if all(shape.difference(cover).area >= LEAST_VISIBLE[label] * shape.area for label, shape in parts):
            kept.append(leaf)
    return kept


def _visible_parts(
    parts: list[tuple[str, BaseGeometry]], leaves: list[Occluder], size_wh: tuple[int, int]
) -> list[tuple[str, Polygon]]:
    """What shows of each part, in pieces, from the front to the back.

    A part loses what leaves hide and what a larger piece in front of it hides. It may keep what a smaller one hides.
    """
    cover = union_all([_polygon(leaf.outline) for leaf in leaves])
    speck = LEAST_PIECE * size_wh[0] * size_wh[1]
    visible: list[tuple[str, Polygon]] = []
    for label, shape in reversed(parts):
        in_view = shape.difference(cover).intersection(box(0, 0, *size_wh))
        pieces = [piece for whole in _pieces(in_view) for piece in _cut(whole, [front for _, front in visible])]
        visible += [(label, tidy) for piece in pieces for tidy in _pieces(_without_shreds(piece), least=speck)]
    return visible


def _cut(piece: Polygon, fronts: list[Polygon]) -> list[Polygon]:
    """The piece without what is in front of it; the largest is taken first, as the rest shrinks."""
    pieces = [piece]
    for front in sorted(fronts, key=lambda polygon: -polygon.area):
        pieces = [rest for part in pieces for rest in _without(part, front)]
    return pieces


def _without_shreds(piece: Polygon) -> BaseGeometry:
    """The piece without what is thinner than a pixel or two, which no person would draw round."""
    return piece.buffer(-SUPERSAMPLING, join_style="mitre").buffer(SUPERSAMPLING, join_style="mitre")


def _without(part: Polygon, front: Polygon) -> list[Polygon]:
    """Cut off a smaller front only where that leaves one piece: it is drawn on top in any case."""
    rest = part.difference(front)
    in_one = isinstance(rest, Polygon) and not rest.interiors
    return _pieces(rest) if in_one or front.area >= part.area else [part]


def _part_polygons(parts: list[tuple[str, Polygon]], size_wh: tuple[int, int]) -> tuple[PartPolygon, ...]:
    """In the order of LABELS."""
    ordered = sorted(parts, key=lambda part: LABELS.index(part[0]))
    return tuple(PartPolygon(label, _percent(shape, size_wh)) for label, shape in ordered)


def _percent(shape: Polygon, size_wh: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """The simplified outline on a grid of 1/10,000 per cent; snapped by shapely, so that it stays a simple polygon."""
    simplified = shape.simplify(OUTLINE_TOLERANCE * SUPERSAMPLING)
    percent = scale(simplified, 100 / size_wh[0], 100 / size_wh[1], origin=(0, 0))
    outline = _whole(set_precision(percent, 1e-4))
    return tuple((round(x, 4), round(y, 4)) for x, y in outline.exterior.coords[:-1])
