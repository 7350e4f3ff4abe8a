"""Colours and feathers: paints an anatomy, placed in pixels, onto a picture."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from demo.shapes import Placement, Points, ellipse, smooth

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from demo.anatomy import Anatomy, Wing

Colour: TypeAlias = tuple[int, int, int]

# back, breast, head, wing, beak: loosely after birds that people know.
SPECIES: tuple[tuple[Colour, Colour, Colour, Colour, Colour], ...] = (
    ((112, 92, 76), (214, 110, 58), (190, 92, 50), (96, 78, 66), (70, 62, 58)),  # robin
    ((72, 116, 190), (226, 230, 236), (62, 104, 184), (54, 92, 178), (46, 48, 54)),  # blue jay
    ((186, 44, 40), (206, 66, 54), (200, 40, 36), (140, 36, 38), (236, 142, 60)),  # cardinal
    ((232, 196, 52), (244, 220, 96), (232, 190, 40), (52, 50, 52), (226, 150, 90)),  # goldfinch
    ((32, 124, 168), (226, 134, 62), (26, 110, 160), (24, 92, 148), (44, 44, 52)),  # kingfisher
    ((62, 150, 74), (126, 190, 84), (196, 62, 52), (36, 112, 86), (238, 206, 150)),  # parrot
    ((36, 38, 46), (238, 238, 236), (44, 46, 54), (30, 32, 40), (240, 128, 44)),  # puffin
    ((146, 112, 84), (214, 198, 176), (126, 92, 70), (116, 82, 58), (92, 80, 66)),  # sparrow
    ((44, 46, 56), (58, 62, 76), (40, 42, 52), (34, 36, 48), (60, 58, 62)),  # crow
    ((150, 156, 168), (186, 190, 200), (112, 128, 138), (134, 142, 158), (168, 130, 120)),  # dove
    ((236, 234, 230), (246, 246, 244), (240, 240, 238), (196, 204, 214), (238, 184, 64)),  # gull
    ((96, 164, 200), (236, 226, 150), (84, 140, 212), (70, 128, 152), (54, 58, 66)),  # tit
)


@dataclass(frozen=True, slots=True)
class Plumage:
    """A bird's colours and marks."""

    back: Colour
    breast: Colour
    head: Colour
    wing: Colour
    beak: Colour
    cap: Colour | None
    wing_bar: Colour | None
    legs: Colour
    eye: Colour
    eye_ring: Colour | None
    pattern: str


def grow_plumage(rng: Random) -> Plumage:
    """The colours of a species, shifted a little; now and then of a hue that no bird has."""
    shift = rng.uniform(-0.03, 0.03) if rng.random() < 0.75 else rng.random()
    back, breast, head, wing, beak = (_shifted(c, shift, rng) for c in rng.choice(SPECIES))
    return Plumage(
        back=back,
        breast=breast,
        head=head,
        wing=wing,
        beak=beak,
        cap=rng.choice((None, None, _scaled(head, 0.5), back, _scaled(wing, 0.8))),
        wing_bar=rng.choice((None, _blend(wing, (250, 248, 240), 0.75), breast)),
        legs=rng.choice(((92, 78, 66), (226, 140, 62), (70, 66, 68), (196, 150, 120))),
        eye=rng.choice(((22, 18, 18), (22, 18, 18), (150, 96, 22), (196, 168, 40))),
        eye_ring=rng.choice((None, (244, 240, 226), _scaled(head, 0.55))),
        pattern=rng.choice(("scallops", "streaks", "spots", "plain")),
    )


def _shifted(colour: Colour, hue_shift: float, rng: Random) -> Colour:
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    r, g, b = colorsys.hsv_to_rgb(
        (h + hue_shift) % 1, min(1.0, s * rng.uniform(0.85, 1.15)), min(1.0, v * rng.uniform(0.88, 1.1))
    )
    return round(r * 255), round(g * 255), round(b * 255)


def _scaled(colour: Colour, factor: float) -> Colour:
    r, g, b = (min(255, round(c * factor)) for c in colour)
    return r, g, b


def _blend(colour: Colour, other: Colour, share: float) -> Colour:
    r, g, b = (round(a * (1 - share) + o * share) for a, o in zip(colour, other, strict=True))
    return r, g, b


def _xy(outline: Points) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in outline]


@dataclass(frozen=True, slots=True)
class Painter:
    """Paints one bird. `light` is the side the light comes from, as a unit vector; lengths follow the bird's scale."""

    canvas: Image.Image
    place: Placement
    plumage: Plumage
    light: tuple[float, float]
    rng: Random

    def paint(self, bird: Anatomy) -> None:
        """The whole bird, from the back to the front."""
        if bird.far_wing:
            self._wing(bird.far_wing, _scaled(self.plumage.wing, 0.74))
        self._legs(bird)
        self._tail(bird)
        self._body(bird)
        if bird.flying:
            self._head(bird)
            self._wing(bird.near_wing, self.plumage.wing)
        else:
            self._wing(bird.near_wing, self.plumage.wing)
            self._head(bird)
        self._beak(bird)

    def _part(self, outline: Points, layer: Image.Image, *, edge: Colour) -> None:
        """Put a layer on the canvas inside the outline: shaded as something round, with a soft edge line."""
        mask = Image.new("L", self.canvas.size)
        ImageDraw.Draw(mask).polygon(_xy(outline), fill=255)
        box = mask.getbbox()
        if box is None:
            return
        shaded = _shaded(layer.crop(box), mask.crop(box), self.light)
        ImageDraw.Draw(shaded).line(
            [(x - box[0], y - box[1]) for x, y in _xy(np.concatenate([outline, outline[:2]]))],
            fill=edge,
            width=self._px(0.011),
            joint="curve",
        )
        self.canvas.paste(shaded, box[:2], mask.crop(box))

    def _px(self, units: float) -> int:
        return max(1, round(units * self.place.scale))

    def _layer(self, colour: Colour) -> Image.Image:
        return Image.new("RGB", self.canvas.size, colour)

    def _lines(self, layer: Image.Image, lines: Iterable[Points], colour: Colour, width: float) -> None:
        draw = ImageDraw.Draw(layer)
        for line in lines:
            draw.line(_xy(self.place(line)), fill=colour, width=self._px(width), joint="curve")

    def _legs(self, bird: Anatomy) -> None:
        draw = ImageDraw.Draw(self.canvas)
        for leg in bird.legs:
            draw.line(_xy(self.place(leg)), fill=self.plumage.legs, width=self._px(0.032), joint="curve")
            foot = leg[-1]
            for toe in (-0.07, 0.0, 0.08):
                ends = self.place(np.stack([foot, foot + np.array((toe, 0.035))]))
                draw.line(_xy(ends), fill=_scaled(self.plumage.legs, 0.85), width=self._px(0.026))

    def _tail(self, bird: Anatomy) -> None:
        layer = self._layer(_scaled(self.plumage.wing, 0.92))
        self._lines(layer, bird.tail_lines, _scaled(self.plumage.wing, 0.6), 0.012)
        self._part(self.place(bird.tail), layer, edge=_scaled(self.plumage.wing, 0.62))

    def _body(self, bird: Anatomy) -> None:
        layer = self._layer(self.plumage.back)
        ImageDraw.Draw(layer).polygon(_xy(self.place(bird.belly)), fill=self.plumage.breast)
        layer = layer.filter(ImageFilter.GaussianBlur(self._px(0.035)))
        self._feathers(layer, self.place(bird.body), _scaled(_blend(self.plumage.back, self.plumage.breast, 0.5), 0.72))
        self._part(self.place(bird.body), layer, edge=_scaled(self.plumage.back, 0.72))

    def _feathers(self, layer: Image.Image, outline: Points, colour: Colour) -> None:
        """Rows of small feather marks over the outline's box."""
        if self.plumage.pattern == "plain":
            return
        marks, step = layer.copy(), self._px(0.062)
        draw = ImageDraw.Draw(marks)
        (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
        for row, y in enumerate(np.arange(top, bottom, step * 0.8)):
            for x in np.arange(left - (row % 2) * step / 2, right, step):
                self._mark(draw, float(x) + self.rng.uniform(-2, 2), float(y), step, colour)
        layer.paste(Image.blend(layer, marks, 0.42))

    def _mark(self, draw: ImageDraw.ImageDraw, x: float, y: float, step: int, colour: Colour) -> None:
        width = max(1, step // 8)
        if self.plumage.pattern == "scallops":
            draw.arc((x, y, x + step, y + step), 15, 165, fill=colour, width=width)
        elif self.plumage.pattern == "streaks":
            draw.line((x, y, x + self.rng.uniform(-0.3, 0.3) * step, y + step * 0.7), fill=colour, width=2 * width)
        elif self.rng.random() < 0.5:
            draw.ellipse((x, y, x + step * 0.36, y + step * 0.36), fill=colour)

    def _wing(self, wing: Wing, colour: Colour) -> None:
        outline = self.place(wing.outline)
        layer = self._layer(colour)
        self._feathers(layer, outline, _scaled(colour, 0.7))
        if self.plumage.wing_bar:
            self._lines(layer, [wing.covert_line], _blend(colour, self.plumage.wing_bar, 0.85), 0.055)
        self._lines(layer, wing.feather_lines, _scaled(colour, 0.58), 0.016)
        self._lines(
            layer, [line + np.array((0.018, -0.012)) for line in wing.feather_lines], _scaled(colour, 1.22), 0.009
        )
        self._part(outline, layer, edge=_scaled(colour, 0.6))

    def _head(self, bird: Anatomy) -> None:
        layer = self._layer(self.plumage.head)
        if self.plumage.cap:
            ImageDraw.Draw(layer).polygon(_xy(self.place(bird.cap)), fill=self.plumage.cap)
            layer = layer.filter(ImageFilter.GaussianBlur(self._px(0.012)))
        self._part(self.place(bird.head), layer, edge=_scaled(self.plumage.head, 0.7))
        self._eye(bird)

    def _eye(self, bird: Anatomy) -> None:
        draw = ImageDraw.Draw(self.canvas)
        radius = bird.eye_radius
        x, y = bird.eye
        if self.plumage.eye_ring:
            draw.polygon(_xy(self.place(ellipse((x, y), radius * 1.42, radius * 1.42))), fill=self.plumage.eye_ring)
        draw.polygon(_xy(self.place(ellipse((x, y), radius, radius))), fill=self.plumage.eye)
        draw.polygon(_xy(self.place(ellipse((x, y), radius * 0.68, radius * 0.68))), fill=(14, 12, 14))
        draw.polygon(
            _xy(self.place(ellipse((x + radius * 0.3, y - radius * 0.36), radius * 0.28, radius * 0.28))),
            fill=(250, 250, 250),
        )

    def _beak(self, bird: Anatomy) -> None:
        layer = self._layer(self.plumage.beak)
        self._lines(layer, [bird.beak_line], _scaled(self.plumage.beak, 0.5), 0.014)
        self._part(self.place(bird.beak), layer, edge=_scaled(self.plumage.beak, 0.66))


def _shaded(layer: Image.Image, mask: Image.Image, light: tuple[float, float]) -> Image.Image:
    """Lighter towards the light, darker towards the rim that faces away, as on something round."""
    width, height = layer.size
    blurred = mask.filter(ImageFilter.GaussianBlur(max(2.0, min(width, height) / 9)))
    shift = (round(light[0] * width * 0.09), round(light[1] * height * 0.09))
    lit, dark = ImageChops.offset(blurred, *shift), ImageChops.offset(blurred, -shift[0], -shift[1])
    relief = np.asarray(lit, np.float32) - np.asarray(dark, np.float32)
    depth = np.asarray(blurred, np.float32) / 255
    factor = 0.78 + 0.26 * depth + np.clip(relief / 255, -0.35, 0.35) * 0.75
    pixels = np.asarray(layer, np.float32) * factor[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def leaf(at: tuple[float, float], length: float, degrees: float, *, slim: float = 0.24) -> Points:
    """A pointed leaf that grows from `at`."""
    angle = math.radians(degrees)
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    frame = ((0.0, 0.0), (0.3, slim * 0.8), (0.6, slim * 0.85), (1.0, 0.0), (0.6, -slim * 0.85), (0.3, -slim * 0.8))
    controls = np.stack([np.array(at) + length * (u * along + v * across) for u, v in frame])
    return smooth(controls, per_segment=6)
