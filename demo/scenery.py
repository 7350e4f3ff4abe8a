"""What is behind and in front of the bird: sky, foliage, water, meadow, perches, leaves. Sizes are (width, height)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from demo.plumage import Colour, leaf

if TYPE_CHECKING:
    from random import Random

    from demo.shapes import Points

SETTINGS = ("sky", "foliage", "water", "meadow", "dusk")

GREENS: tuple[Colour, ...] = ((58, 104, 48), (84, 132, 58), (112, 150, 72), (44, 82, 52), (138, 160, 78), (72, 112, 74))
AUTUMN: tuple[Colour, ...] = ((176, 106, 44), (198, 140, 60), (140, 78, 44), (160, 130, 62), (122, 92, 58))
BARK: tuple[Colour, ...] = ((98, 78, 62), (122, 102, 84), (84, 72, 66), (134, 116, 96))


@dataclass(frozen=True, slots=True)
class Occluder:
    """Something in front of the bird: its outline in pixels and its colour."""

    outline: Points
    colour: Colour


def draw_setting(name: str, size_wh: tuple[int, int], rng: Random) -> Image.Image:
    """A background of the kind `name` (one of SETTINGS)."""
    if name == "sky":
        return _clouds(_gradient(size_wh, _jitter((96, 158, 222), rng), _jitter((206, 226, 240), rng)), rng)
    if name == "dusk":
        warm = rng.choice(((250, 184, 120), (244, 160, 140), (250, 206, 150)))
        return _clouds(_gradient(size_wh, _jitter((104, 110, 164), rng), warm), rng)
    if name == "water":
        return _water(size_wh, rng)
    if name == "meadow":
        return _meadow(size_wh, rng)
    return _foliage(size_wh, rng)


def _jitter(colour: Colour, rng: Random, amount: int = 22) -> Colour:
    r, g, b = (max(0, min(255, c + rng.randint(-amount, amount))) for c in colour)
    return r, g, b


def _gradient(size_wh: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    t = np.linspace(0, 1, size_wh[1])[:, None, None]
    column = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.broadcast_to(column, (size_wh[1], size_wh[0], 3)).astype(np.uint8).copy())


def _blobs(
    image: Image.Image, rng: Random, colours: tuple[Colour, ...], *, count: int, radius: float, blur: float
) -> Image.Image:
    """Round blotches, out of focus by `blur` (radius and blur in shares of the width)."""
    width, height = image.size
    layer = image.copy()
    draw = ImageDraw.Draw(layer)
    for _ in range(count):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), width * radius * rng.uniform(0.4, 1.5)
        draw.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), fill=_jitter(rng.choice(colours), rng, 16))
    return _blurred(layer, width * blur)


def _blurred(image: Image.Image, radius: float) -> Image.Image:
    """A Gaussian blur; a wide one is done on a small copy, which looks the same and is far quicker."""
    shrink = max(1, int(radius / 3))
    small = image.reduce(shrink) if shrink > 1 else image
    return small.filter(ImageFilter.GaussianBlur(radius / shrink)).resize(image.size, Image.Resampling.BICUBIC)


def _clouds(sky: Image.Image, rng: Random) -> Image.Image:
    width, height = sky.size
    mask = Image.new("L", sky.size)
    draw = ImageDraw.Draw(mask)
    for _ in range(rng.randint(0, 6)):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), width * rng.uniform(0.05, 0.14)
        for _ in range(9):
            cx, cy, r = x + rng.gauss(0, size), y + rng.gauss(0, size * 0.25), size * rng.uniform(0.3, 0.7)
            draw.ellipse((cx - r, cy - r * 0.6, cx + r, cy + r * 0.6), fill=rng.randint(120, 235))
    white = Image.new("RGB", sky.size, _jitter((246, 244, 242), rng, 8))
    return Image.composite(white, sky, _blurred(mask, width * 0.014))


def _foliage(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    colours = AUTUMN if rng.random() < 0.25 else GREENS
    image = Image.new("RGB", size_wh, rng.choice(colours))
    image = _blobs(image, rng, (*colours, (206, 216, 170)), count=70, radius=0.09, blur=rng.uniform(0.015, 0.04))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 40)):
        at = (rng.uniform(0, size_wh[0]), rng.uniform(0, size_wh[1]))
        outline = leaf(at, size_wh[0] * rng.uniform(0.03, 0.08), rng.uniform(0, 360))
        draw.polygon([tuple(p) for p in outline.tolist()], fill=_jitter(rng.choice(colours), rng, 14))
    return _blurred(image, size_wh[0] * rng.uniform(0.002, 0.008))


def _water(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    width, height = size_wh
    image = _gradient(size_wh, _jitter((70, 122, 150), rng, 30), _jitter((40, 86, 112), rng, 20))
    draw = ImageDraw.Draw(image)
    for _ in range(160):
        y = height * rng.random()
        length, x = width * rng.uniform(0.03, 0.16) * (0.4 + y / height), rng.uniform(-0.1, 1) * width
        colour = _jitter((136, 180, 196) if rng.random() < 0.5 else (34, 76, 100), rng, 18)
        draw.line((x, y, x + length, y + rng.uniform(-2, 2)), fill=colour, width=rng.randint(1, max(2, height // 160)))
    return _blurred(image, width * rng.uniform(0.001, 0.006))


def _meadow(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    width, height = size_wh
    image = _clouds(_gradient(size_wh, _jitter((126, 176, 224), rng), _jitter((222, 232, 236), rng)), rng)
    horizon = int(height * rng.uniform(0.35, 0.65))
    grass = _blobs(Image.new("RGB", size_wh, rng.choice(GREENS)), rng, GREENS, count=50, radius=0.08, blur=0.02)
    draw = ImageDraw.Draw(grass)
    for _ in range(380):
        x, y = rng.uniform(0, width), rng.uniform(horizon, height * 1.05)
        tall = height * rng.uniform(0.03, 0.09)
        draw.line(
            (x, y, x + rng.uniform(-0.3, 0.3) * tall, y - tall),
            fill=_jitter(rng.choice(GREENS), rng),
            width=max(1, width // 320),
        )
    hills = Image.new("L", size_wh)
    wave = [(x, horizon + height * 0.04 * math.sin(x / width * rng.uniform(3, 5))) for x in range(0, width + 16, 16)]
    ImageDraw.Draw(hills).polygon([*wave, (width, height), (0, height)], fill=255)
    image.paste(grass, mask=hills)
    return _blurred(image, width * rng.uniform(0.002, 0.007))


def draw_perch(image: Image.Image, feet: Points, rng: Random, *, setting: str) -> None:
    """What the feet rest on: a branch, or a stone where there is water or a meadow."""
    if setting in {"water", "meadow"} and rng.random() < 0.7:
        _stone(image, feet, rng)
    else:
        _branch(image, feet, rng)


def _branch(image: Image.Image, feet: Points, rng: Random) -> None:
    width, _ = image.size
    x, y = feet.mean(axis=0)
    slope, thick = rng.uniform(-0.22, 0.22), width * rng.uniform(0.02, 0.042)
    bark = _jitter(rng.choice(BARK), rng)
    xs = np.linspace(-20, width + 20, 40)
    ys = y + thick * 0.5 + slope * (xs - x) + np.sin(xs / width * rng.uniform(5, 11)) * thick * 0.2
    draw = ImageDraw.Draw(image)
    for part, shade in ((0.0, 1.0), (0.28, 0.78), (-0.3, 1.18)):
        colour = tuple(min(255, round(c * shade)) for c in bark)
        line = list(zip(xs.tolist(), (ys + part * thick).tolist(), strict=True))
        draw.line(line, fill=colour, width=round(thick * (1 if part == 0 else 0.36)), joint="curve")
    for _ in range(46):
        at = rng.randrange(len(xs))
        cx, cy = xs[at] + rng.uniform(-12, 12), ys[at] + rng.uniform(-0.4, 0.4) * thick
        draw.line(
            (cx, cy, cx + rng.uniform(0.2, 0.8) * thick, cy + slope * 8),
            fill=tuple(round(c * 0.66) for c in bark),
            width=2,
        )


def _stone(image: Image.Image, feet: Points, rng: Random) -> None:
    width, height = image.size
    x, y = feet.mean(axis=0)
    top, reach = y + 2, width * rng.uniform(0.22, 0.4)
    grey = _jitter(rng.choice(((128, 124, 118), (104, 106, 110), (148, 138, 122))), rng, 14)
    angles = np.linspace(math.pi, 2 * math.pi, 24)
    bump = np.array([rng.uniform(0.94, 1.03) for _ in angles])
    crown = np.stack([x + reach * np.cos(angles) * bump, top + reach * 0.12 + reach * 0.16 * np.sin(angles)], axis=1)
    draw = ImageDraw.Draw(image)
    draw.polygon(
        [*map(tuple, crown.tolist()), (x + reach * 1.1, height + 5.0), (x - reach * 1.1, height + 5.0)], fill=grey
    )
    for _ in range(140):
        px, py = x + rng.uniform(-1, 1) * reach, rng.uniform(top + reach * 0.08, max(top + reach * 0.1, height))
        r = rng.uniform(1, width / 160)
        draw.ellipse((px, py, px + 2 * r, py + r), fill=_jitter(grey, rng, 26))


def grow_occluders(
    size_wh: tuple[int, int], box: tuple[float, float, float, float], rng: Random, *, setting: str
) -> list[Occluder]:
    """Leaves, twigs or reeds that may cross the bird's `box` (left, top, right, bottom)."""
    if rng.random() < 0.45:
        return []
    if setting == "water" or (setting == "meadow" and rng.random() < 0.6):
        return [_reed(size_wh, box, rng) for _ in range(rng.randint(2, 6))]
    colours = AUTUMN if rng.random() < 0.25 else GREENS
    return _spray(size_wh, box, rng, colours)


def _reed(size_wh: tuple[int, int], box: tuple[float, float, float, float], rng: Random) -> Occluder:
    width, height = size_wh
    x, thick = rng.uniform(box[0] - width * 0.1, box[2] + width * 0.1), width * rng.uniform(0.006, 0.014)
    lean, top = rng.uniform(-0.12, 0.12) * width, rng.uniform(box[1] - 0.05 * height, box[3])
    outline = np.array(
        [
            (x - thick, height + 4.0),
            (x + lean * 0.4 - thick * 0.7, (top + height) / 2),
            (x + lean, top),
            (x + lean * 0.4 + thick * 0.7, (top + height) / 2),
            (x + thick, height + 4.0),
        ]
    )
    return Occluder(outline, _jitter(rng.choice(GREENS), rng))


def _spray(
    size_wh: tuple[int, int], box: tuple[float, float, float, float], rng: Random, colours: tuple[Colour, ...]
) -> list[Occluder]:
    """A twig with leaves that reaches in from the left or right edge."""
    width, height = size_wh
    from_left = rng.random() < 0.5
    start = np.array([-8.0 if from_left else width + 8.0, rng.uniform(0.15, 1.0) * height])
    aim = np.array([rng.uniform(box[0], box[2]), rng.uniform((box[1] + box[3]) / 2, box[3])])
    end = start + (aim - start) * rng.uniform(0.7, 1.0)
    along = (end - start) / np.linalg.norm(end - start)
    side = np.array([-along[1], along[0]]) * width * 0.004
    twig = Occluder(
        np.stack([start - side, end - side * 0.4, end + side * 0.4, start + side]), _jitter(rng.choice(BARK), rng)
    )
    heading, leaves = math.degrees(math.atan2(along[1], along[0])), []
    for t in np.arange(0.15, 1.01, 0.13):
        at = start + (end - start) * t
        degrees = heading + rng.choice((-1, 1)) * rng.uniform(25, 65)
        outline = leaf((float(at[0]), float(at[1])), width * rng.uniform(0.06, 0.11), degrees)
        leaves.append(Occluder(outline, _jitter(rng.choice(colours), rng)))
    return [twig, *leaves]


def draw_occluder(image: Image.Image, occluder: Occluder) -> None:
    """Paint it flat, with a darker rim and a vein."""
    draw = ImageDraw.Draw(image)
    line = [(float(x), float(y)) for x, y in occluder.outline]
    dark = tuple(round(c * 0.72) for c in occluder.colour)
    draw.polygon(line, fill=occluder.colour)
    draw.line([*line, line[0]], fill=dark, width=2)
    draw.line([line[0], line[len(line) // 2]], fill=dark, width=2)


def set_light(image: Image.Image, rng: Random) -> Image.Image:
    """The day's light over all: brightness, contrast, warmth, a vignette and the camera's grain."""
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.82, 1.12))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.88, 1.12))
    warmth = rng.uniform(-0.06, 0.08)
    height, width = image.height, image.width
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - rng.uniform(0, 0.22) * (x**2 + y**2) / 2
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 5), (height, width, 1))
    pixels = np.asarray(image, np.float32) * vignette[..., None] * (1 + warmth, 1, 1 - warmth) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
