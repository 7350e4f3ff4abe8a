"""The processing step's script: a dataset snapshot and its images become the segmentation algorithm's four channels.

It is uploaded alone and runs in AWS's PyTorch image, so it needs nothing but numpy and Pillow. Below
$SAGEMAKER_BASE_DIR/processing (/opt/ml/processing) it reads

    input/dataset/{tasks.jsonl,dataset.json}    the snapshot
    input/images/<key>                          the images, at their keys in the bucket

and writes, for each task of a split (train or validation),

    output/<split>/<task>.jpg                   RGB as shown, the long side MAX_IMAGE_SIDE pixels at most
    output/<split>_annotation/<task>.png        class ids, of the same size
    output/report/dataset.json                  the figures that the training step takes from here

A task that cannot be used is skipped and named in the report. If that leaves a split empty, one task of the other moves
there, and is named too. The job fails, with one sentence in $SAGEMAKER_BASE_DIR/output/message, when fewer than two
images are left: one to train on and one to validate with.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import logging
import os
import struct
import sys
import zlib
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

logger = logging.getLogger("preprocess")

SPLITS = ("train", "validation")
BACKGROUND, IGNORE = 0, 255
MAX_PIXELS = 100_000_000  # larger images are mistakes or attacks; decoded, this many take 300 MB
DEFAULT_IMAGE_SIDE = 1024
JPEG_QUALITY = 95
MINI_BATCH_SIZE = 4
MAX_THREADS = 4
TASKS_AHEAD = 64  # so many are in memory, waiting for a thread or for those before them
# What turns an image upright, by its EXIF orientation; from 5 on it lies on its side.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
STRIP_PIXELS = 2**20  # so many are converted at a time
MESSAGE_LENGTH = 1024  # what SageMaker shows of output/message

# What Pillow and its codecs raise for files that are no images, or broken ones. backend/images.py has the same.
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class PreprocessError(Exception):
    """The job cannot go on."""


class TaskError(Exception):
    """One task cannot be used: it is skipped with this reason."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the container finds and leaves things."""

    dataset: Path
    images: Path
    output: Path

    @classmethod
    def below(cls, base_dir: Path) -> Folders:
        """The folders of a processing container."""
        processing = base_dir / "processing"
        return cls(processing / "input/dataset", processing / "input/images", processing / "output")


@dataclass(frozen=True, slots=True)
class Task:
    """A line of tasks.jsonl. Polygons are (class id, points in per cent of the image as shown)."""

    task: int
    image: str
    split: str
    polygons: tuple[tuple[int, NDArray[np.float64]], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: the class ids that it has and the pixels of each, or the reason why it was skipped.

    `split` is where its files lie, `moved` whether that is another split than the snapshot's.
    """

    task: str
    split: str = ""
    reason: str = ""
    moved: bool = False
    dropped_polygons: int = 0
    class_pixels: tuple[tuple[int, int], ...] = ()


# Polygon -> mask


def polygons_to_mask(
    polygons: Iterable[tuple[int, Sequence[Sequence[float]] | NDArray[np.float64]]], size_wh: tuple[int, int]
) -> NDArray[np.uint8]:
    """Draw polygons, given as (class id, points in per cent), into a mask (height, width) of class ids.

    A pixel belongs to a polygon if its centre does. Where polygons overlap, the smaller one is on top. Points outside
    0..100 are moved to the edge. Polygons with fewer than three points, or without area, are left out.
    """
    width, height = size_wh
    mask = np.full((height, width), BACKGROUND, dtype=np.uint8)
    drawable = [(class_id, outline) for class_id, points in polygons if (outline := _outline(points)) is not None]
    for class_id, outline in sorted(drawable, key=lambda polygon: -_area(polygon[1])):
        _fill(mask, outline * (width / 100, height / 100), class_id)
    return mask


def _outline(points: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The points (n, 2) within 0..100; None if there is nothing to fill."""
    outline = np.clip(np.asarray(points, dtype=np.float64).reshape(-1, 2), 0, 100)
    if len(outline) < 3 or not np.isfinite(outline).all() or _area(outline) == 0:
        return None
    return outline


def _area(outline: NDArray[np.float64]) -> float:
    x, y = (outline - outline[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _fill(mask: NDArray[np.uint8], outline: NDArray[np.float64], class_id: int) -> None:
    """Scan-line fill, all rows at once: each edge adds its direction where it crosses a row of pixel centres.

    Summed along the row this is the winding number; what a line winds around is inside, as in a browser.
    """
    height, width = mask.shape
    edges, rows = _crossed_rows(outline, height)
    if not len(rows):
        return
    (x0, y0), (x1, y1) = outline[edges].T, np.roll(outline, -1, axis=0)[edges].T
    x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(x - 0.5).astype(np.int64), 0, width)
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    steps = np.zeros((bottom - top, right - left), dtype=np.int32)
    np.add.at(steps, (rows - top, columns - left), np.sign(y1 - y0).astype(np.int32))
    inside = np.cumsum(steps, axis=1)[:, :-1] != 0
    mask[top:bottom, left : right - 1][inside] = class_id


def _crossed_rows(outline: NDArray[np.float64], height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each pair of an edge (by its index) and a row whose pixel centres it passes; a row on a corner counts once."""
    y0, y1 = outline[:, 1], np.roll(outline[:, 1], -1)
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    counts = end - first
    edges = np.repeat(np.arange(len(outline)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return edges, first[edges] + within


# Images


def load_image(path: Path, *, max_side: int) -> Image.Image:
    """Decode by content to RGB as shown (EXIF orientation applied), at most `max_side` long; TaskError if it fails."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise TaskError(f"the image has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            return as_shown(image, side=max_side)[0]
    except FileNotFoundError as error:
        raise TaskError("the image is missing") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TaskError(f"the image has more than {MAX_PIXELS:,} pixels") from error
    except UNREADABLE as error:
        raise TaskError(f"the file is not an image that can be read ({type(error).__name__})") from error


def as_shown(image: Image.Image, *, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Decode to RGB, upright and at most `side` pixels long (never enlarged); say the full size as shown, too.

    A JPEG can be decoded at a half, a quarter or an eighth. Where that is `side` or up to a sixteenth shorter it stays
    so, as with most cameras' 4032 pixels for a side of 1024 or 512: nothing is left to shrink then.
    """
    full = image.size
    drafted = image.draft("RGB", fitted(full, side=side - side // 16))  # at a fraction, never below that size
    image.load()
    full = full if drafted else image.size
    factor = max(1, max(image.size) // (2 * side))
    rgb = to_rgb(image, factor=factor)
    if max(rgb.size) > side:
        box = (0, 0, image.width / factor, image.height / factor)
        rgb = rgb.resize(fitted(full, side=side), Image.Resampling.BILINEAR, box=box)
    return turned(rgb, image, full)


def fitted(size: tuple[int, int], *, side: int) -> tuple[int, int]:
    """Shrink a size so that its long side is at most `side`; proportions are kept, nothing is enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_rgb(image: Image.Image, *, factor: int = 1) -> Image.Image:
    """Any mode as RGB, each side `factor` times shorter (rounded up): the mean colours of blocks.

    Transparent places become white. Values of more than 8 bits are stretched, the darkest to black and the brightest
    to white. It goes a strip at a time, to need little memory beyond the image and the result.
    """
    convert = _stretching(image) if image.mode.startswith(("I", "F")) else _on_white
    result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top, strip in _strips(image, factor):
        result.paste(convert(strip).reduce(factor), (0, top // factor))
    return result


def _strips(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    """The image in pieces of its full width and about STRIP_PIXELS, each with its upper edge, a multiple of factor."""
    rows = factor * max(1, STRIP_PIXELS // (image.width * factor))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _stretching(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """How to make 8 bits of the image's values. Pillow itself would cut off all above 255."""
    low, high = _extremes(image)
    scale = 255 / (high - low) if high > low else 0.0

    def stretch(strip: Image.Image) -> Image.Image:
        values = np.nan_to_num(np.asarray(strip, dtype=np.float64), nan=low, posinf=high, neginf=low)
        return Image.fromarray(np.rint((values - low) * scale).astype(np.uint8)).convert("RGB")

    return stretch


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value; real numbers may also be infinite or none, which do not count."""
    strips = (np.asarray(strip) for _, strip in _strips(image, 1))
    spans = [(finite.min(), finite.max()) for values in strips if (finite := values[np.isfinite(values)]).size]
    return float(min((low for low, _ in spans), default=0)), float(max((high for _, high in spans), default=0))


def turned(rgb: Image.Image, image: Image.Image, full: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Turn `rgb` upright by the EXIF orientation of the decoded `image` that it was made from, and its `full` size."""
    # Read only now: Pillow turns a TIFF itself while it decodes it, and then takes the orientation away.
    orientation = image.getexif().get(ORIENTATION)
    if orientation not in UPRIGHT:
        return rgb, full
    return rgb.transpose(UPRIGHT[orientation]), (full[1], full[0]) if orientation >= 5 else full


def save_mask(mask: NDArray[np.uint8], path: Path) -> None:
    """As an indexed PNG whose colours tell the classes apart to the eye."""
    image = Image.fromarray(mask).convert("P")
    image.putpalette(_palette())
    image.save(path, "PNG", optimize=False)


def _palette() -> list[int]:
    """Black for the background, white for what is ignored, hues far apart for the classes between."""
    hues = (colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, 0.95) for index in range(1, IGNORE))
    return [0, 0, 0, *(round(255 * value) for hue in hues for value in hue), 255, 255, 255]


# Tasks


def parse_task(line: str, *, num_classes: int) -> Task:
    """A line of tasks.jsonl; TaskError if it is not one."""
    try:
        row = json.loads(line)
        polygons = tuple((int(region["class_id"]), _points(region["points"])) for region in row["regions"])
        task = Task(int(row["task"]), str(row["image"]), str(row["split"]), polygons)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise TaskError(f"its line of tasks.jsonl cannot be read ({type(error).__name__}: {error})") from error
    if task.split not in SPLITS:
        raise TaskError(f"its split is {task.split!r}, not one of {', '.join(SPLITS)}")
    unknown = sorted({each for each, _ in polygons if not (BACKGROUND < each < num_classes or each == IGNORE)})
    if unknown:
        raise TaskError(f"its class ids {unknown} are not among 1..{num_classes - 1}")
    return task


def _points(pairs: Any) -> NDArray[np.float64]:  # noqa: ANN401  # whatever the JSON holds
    points = np.asarray(pairs, dtype=np.float64)
    if points.size and (points.ndim != 2 or points.shape[1] != 2):
        raise ValueError(f"points must be pairs of numbers, their shape is {points.shape}")
    return points.reshape(-1, 2)


def process_task(task: Task, folders: Folders, *, max_side: int) -> Outcome:
    """Write one task's image and mask; TaskError if its image cannot be used."""
    image = load_image(_image_path(folders.images, task.image), max_side=max_side)
    mask = polygons_to_mask(task.polygons, image.size)
    image.save(folders.output / task.split / f"{task.task}.jpg", "JPEG", quality=JPEG_QUALITY, subsampling=0)
    save_mask(mask, folders.output / f"{task.split}_annotation" / f"{task.task}.png")
    return Outcome(
        task=str(task.task),
        split=task.split,
        dropped_polygons=sum(_outline(points) is None for _, points in task.polygons),
        class_pixels=tuple((each, count) for each, count in enumerate(np.bincount(mask.ravel()).tolist()) if count),
    )


def _image_path(images: Path, key: str) -> Path:
    try:
        path = (images / key).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise TaskError(f"its image {key!r} cannot be the name of a file") from error
    if not path.is_relative_to(images.resolve()):
        raise TaskError(f"its image {key!r} lies outside the images")
    return path


def _outcome(number: int, line: str, folders: Folders, *, num_classes: int, max_side: int) -> Outcome:
    """The outcome of a line; one that cannot be read is named by its number."""
    name = f"line {number}"
    try:
        task = parse_task(line, num_classes=num_classes)
        name = str(task.task)
        return process_task(task, folders, max_side=max_side)
    except TaskError as error:
        logger.warning("task %s is skipped: %s", name, error)
        return Outcome(task=name, reason=str(error))


# The job


def preprocess(folders: Folders, *, max_side: int) -> dict[str, Any]:
    """Write the channels and the report; return the report. PreprocessError if fewer than two images can be used."""
    dataset = _read_dataset(folders.dataset)
    num_classes = len(dataset["labels"]) + 1
    for name in (*SPLITS, *(f"{split}_annotation" for split in SPLITS), "report"):
        (folders.output / name).mkdir(parents=True, exist_ok=True)

    def outcome(numbered: tuple[int, str]) -> Outcome:
        return _outcome(*numbered, folders, num_classes=num_classes, max_side=max_side)

    outcomes, pixels = _tallied(_in_turn(outcome, enumerate(_lines(folders.dataset), start=1)))
    moved = fill_empty_split(outcomes, folders.output)
    report = make_report(dataset, moved, pixels)
    (folders.output / "report/dataset.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    _check_splits(report)
    return report


def _in_turn(work: Callable[[tuple[int, str]], Outcome], items: Iterable[tuple[int, str]]) -> Iterator[Outcome]:
    """Work on a few items at a time, and have the outcomes in the items' order."""
    waiting: deque[Future[Outcome]] = deque()
    # Pillow lets go of the interpreter while it decodes and encodes, so threads do.
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= TASKS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_dataset(folder: Path) -> dict[str, Any]:
    """What dataset.json says."""
    try:
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error
    labels = dataset.get("labels") if isinstance(dataset, dict) else None
    if not isinstance(labels, list) or not 1 <= len(labels) < IGNORE - 1:
        raise PreprocessError(f"dataset.json must list 1 to {IGNORE - 2} labels, it has {labels!r}")
    return dict(dataset)


def _lines(folder: Path) -> Iterator[str]:
    """The lines of tasks.jsonl one by one: with all its polygons the file may be larger than an image."""
    try:
        with (folder / "tasks.jsonl").open(encoding="utf-8", newline="\n") as lines:
            yield from (line for line in lines if line.strip())
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> PreprocessError:
    return PreprocessError(f"The dataset snapshot cannot be read: {error}")


def _tallied(outcomes: Iterable[Outcome]) -> tuple[list[Outcome], Mapping[int, int]]:
    """The outcomes without their pixels, which are summed up: of thousands of tasks little is to be kept."""
    kept, pixels = [], Counter[int]()
    for outcome in outcomes:
        pixels.update(dict(outcome.class_pixels))
        kept.append(replace(outcome, class_pixels=()))
    return kept, pixels


def make_report(dataset: dict[str, Any], outcomes: Sequence[Outcome], pixels: Mapping[int, int]) -> dict[str, Any]:
    """What the training step and a person want to know. `dataset` is the snapshot's dataset.json."""
    labels = [str(label) for label in dataset["labels"]]
    samples = Counter(outcome.split for outcome in outcomes if not outcome.reason)
    return {
        "num_classes": len(labels) + 1,
        "num_training_samples": samples["train"],
        "num_validation_samples": samples["validation"],
        "mini_batch_size": min(MINI_BATCH_SIZE, samples["train"]),
        "labels": labels,
        "skipped": [{"task": outcome.task, "reason": outcome.reason} for outcome in outcomes if outcome.reason],
        "moved": [{"task": outcome.task, "to": outcome.split} for outcome in outcomes if outcome.moved],
        "dropped_polygons": sum(outcome.dropped_polygons for outcome in outcomes),
        "class_pixels": {name: pixels[class_id] for class_id, name in enumerate(["background", *labels])},
        "dataset": dataset.get("sha256", ""),
    }


def fill_empty_split(outcomes: Sequence[Outcome], output: Path) -> list[Outcome]:
    """The outcomes; if broken images left a split empty, one task of the other moves there, files and all.

    The backend gives the lowest places to validation, so its lowest task is the one that would validate next, and its
    highest the one that would be trained on next.
    """
    ranked = sorted((outcome for outcome in outcomes if not outcome.reason), key=lambda outcome: _place(outcome.task))
    empty = [split for split in SPLITS if split not in {outcome.split for outcome in ranked}]
    if len(ranked) < 2 or not empty:
        return list(outcomes)
    (split,) = empty
    chosen = ranked[0] if split == "validation" else ranked[-1]
    for folder, name in (("", f"{chosen.task}.jpg"), ("_annotation", f"{chosen.task}.png")):
        (output / f"{chosen.split}{folder}" / name).replace(output / f"{split}{folder}" / name)
    logger.warning("there was no usable %s image: task %s moves there", split, chosen.task)
    return [replace(each, split=split, moved=True) if each is chosen else each for each in outcomes]


def _place(task: str) -> bytes:
    """What tasks are ranked by when they are split; backend/dataset.py has the same rule."""
    return hashlib.sha256(f"task {task}".encode()).digest()


def _check_splits(report: dict[str, Any]) -> None:
    usable = report["num_training_samples"] + report["num_validation_samples"]
    if usable >= 2:
        return
    skipped = report["skipped"]
    first = f"; the first: task {skipped[0]['task']}, {skipped[0]['reason']}" if skipped else ""
    raise PreprocessError(
        "At least two usable images are needed, one to train on and one to validate with; "
        f"there are {usable} ({len(skipped)} tasks were skipped{first})"
    )


def image_side(text: str) -> int:
    """MAX_IMAGE_SIDE as a number; PreprocessError if it is none that makes sense."""
    if not text.isdecimal() or not 32 <= int(text) <= 16384:
        raise PreprocessError(f"MAX_IMAGE_SIDE must be a whole number from 32 to 16384, not {text!r}")
    return int(text)


def main(base_dir: Path) -> int:
    """Run the job; return the exit code. Whatever happens, a failure leaves a sentence in output/message."""
    try:
        side = image_side(os.environ.get("MAX_IMAGE_SIDE", str(DEFAULT_IMAGE_SIDE)))
        report = preprocess(Folders.below(base_dir), max_side=side)
    except (PreprocessError, OSError) as error:
        logger.error("%s", error)  # noqa: TRY400  # a person reads this: the sentence, not a traceback
        return _failed(base_dir, str(error))
    except Exception as error:
        logger.exception("preprocessing failed unexpectedly")
        return _failed(base_dir, f"Preprocessing failed unexpectedly ({type(error).__name__}: {error}); see its log")
    logger.info("%s", json.dumps({key: value for key, value in report.items() if key != "skipped"}))
    return 0


def _failed(base_dir: Path, sentence: str) -> int:
    """Leave the sentence, on one line, where SageMaker takes a failed job's reason from; the exit code."""
    message = base_dir / "output/message"
    message.parent.mkdir(parents=True, exist_ok=True)
    message.write_text(" ".join(sentence.split())[:MESSAGE_LENGTH], encoding="utf-8", errors="replace")
    return 1


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    sys.exit(main(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))))
