"""The processing step's script, run as in its container: folders in, folders out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.dataset import _position
from pipeline import preprocess
from pipeline.preprocess import IGNORE, Folders, PreprocessError, TaskError, image_side, load_image, main, parse_task

LABELS = ["Beak", "Head"]
SQUARE = {"class_id": 2, "points": [[25, 25], [75, 25], [75, 75], [25, 75]]}


class Job:
    """A processing container's folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folders = Folders.below(base)
        self.folders.dataset.mkdir(parents=True)
        self.images = self.folders.images
        self.images.mkdir()

    def add_image(self, key: str, image: Image.Image | None = None, **options: object) -> None:
        path = self.images / key
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen: dict[str, Any] = {"format": "JPEG"} | options
        (image or Image.new("RGB", (40, 20), "red")).save(path, **chosen)

    def write(self, tasks: Iterable[dict[str, Any] | str], labels: object = LABELS) -> None:
        lines = [task if isinstance(task, str) else json.dumps(task) for task in tasks]
        self.folders.dataset.joinpath("tasks.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        dataset = {"project": 1, "labels": labels, "sha256": "ab12"}
        self.folders.dataset.joinpath("dataset.json").write_text(json.dumps(dataset), encoding="utf-8")

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folders.output / "report/dataset.json").read_text())
        return report

    def message(self) -> str:
        return (self.base / "output/message").read_text()

    def mask(self, split: str, task: int) -> np.ndarray[Any, Any]:
        with Image.open(self.folders.output / f"{split}_annotation/{task}.png") as image:
            assert image.mode == "P"
            return np.asarray(image)

    def image(self, split: str, task: int) -> Image.Image:
        with Image.open(self.folders.output / f"{split}/{task}.jpg") as image:
            assert (image.mode, image.format) == ("RGB", "JPEG")
            image.load()
            return image


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def row(
    task: int, image: str = "a.jpg", split: str = "train", regions: Iterable[dict[str, Any]] = (SQUARE,)
) -> dict[str, Any]:
    return {"task": task, "annotation": task + 100, "image": image, "split": split, "regions": list(regions)}


def good_job(job: Job, *more: dict[str, Any] | str) -> None:
    job.add_image("a.jpg")
    job.write([row(1), row(2, split="validation"), *more])


def test_a_task_becomes_an_image_and_a_mask_of_the_same_size(job: Job):
    good_job(job)
    assert main(job.base) == 0
    mask = job.mask("train", 1)
    assert job.image("train", 1).size == (40, 20)
    assert (mask.shape, set(np.unique(mask)), int((mask == 2).sum())) == ((20, 40), {0, 2}, 20 * 10)
    assert job.image("validation", 2)


def test_the_report_says_what_training_needs(job: Job):
    good_job(job, row(3), row(4, regions=[]))
    assert main(job.base) == 0
    assert job.report() == {
        "num_classes": 3,
        "num_training_samples": 3,
        "num_validation_samples": 1,
        "mini_batch_size": 3,
        "labels": LABELS,
        "skipped": [],
        "moved": [],
        "dropped_polygons": 0,
        "class_pixels": {"background": 4 * 800 - 3 * 200, "Beak": 0, "Head": 600},
        "dataset": "ab12",
    }


def test_a_batch_is_four_images_at_most(job: Job):
    good_job(job, *[row(task) for task in range(3, 12)])
    assert main(job.base) == 0
    assert job.report()["mini_batch_size"] == 4


def test_keys_may_hold_folders_spaces_and_any_letters(job: Job):
    job.add_image("birds/a b/Ü#1.jpg")
    good_job(job, row(3, "birds/a b/Ü#1.jpg"))
    assert main(job.base) == 0
    assert job.report()["num_training_samples"] == 2


def test_two_runs_write_the_same_bytes(tmp_path: Path):
    outputs = []
    for name in ("one", "two"):
        job = Job(tmp_path / name)
        good_job(job, *[row(task) for task in range(3, 9)])
        main(job.base)
        files = sorted(path for path in job.folders.output.rglob("*") if path.is_file())
        outputs.append([(path.relative_to(job.base), path.read_bytes()) for path in files])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        pytest.param(row(9, "missing.jpg"), "the image is missing", id="missing"),
        pytest.param(row(9, "folder"), "not an image", id="folder"),
        pytest.param(row(9, "text.jpg"), "not an image", id="text"),
        pytest.param(row(9, "empty.jpg"), "not an image", id="empty"),
        pytest.param(row(9, "half.jpg"), "not an image", id="cut-off"),
        pytest.param(row(9, "../dataset/tasks.jsonl"), "outside", id="climbs-out"),
        pytest.param(row(9, "/etc/hostname"), "outside", id="absolute"),
        pytest.param(row(9, "a\0.jpg"), "cannot be the name of a file", id="no-file-name"),
        pytest.param(row(9, "\ud800.jpg"), "cannot be the name of a file", id="no-letters"),
        pytest.param(row(9, "a" * 300), "not an image", id="long"),
        pytest.param("[" * 100_000, "RecursionError", id="deep"),
        pytest.param(row(9) | {"task": float("inf")}, "OverflowError", id="no-number"),
        pytest.param(row(9, split="test"), "'test', not one of train, validation", id="split"),
        pytest.param(row(9, regions=[SQUARE | {"class_id": 3}]), "class ids [3] are not among 1..2", id="label-gone"),
        pytest.param(row(9, regions=[SQUARE | {"class_id": 0}]), "class ids [0]", id="background-class"),
        pytest.param(row(9, regions=[SQUARE | {"points": [[1, 2, 3]]}]), "pairs of numbers", id="not-pairs"),
        pytest.param(row(9, regions=[SQUARE | {"points": "x"}]), "cannot be read", id="not-numbers"),
        pytest.param({"task": 9}, "KeyError: 'regions'", id="no-regions"),
        pytest.param("{", "JSONDecodeError", id="not-json"),
        pytest.param("[]", "TypeError", id="not-an-object"),
    ],
)
def test_a_bad_task_is_skipped_by_name_and_the_rest_goes_on(job: Job, task: dict[str, Any] | str, reason: str):
    (job.images / "folder").mkdir()
    (job.images / "text.jpg").write_text("not an image")
    (job.images / "empty.jpg").touch()
    job.add_image("half.jpg", Image.effect_noise((200, 200), 50))
    (job.images / "half.jpg").write_bytes((job.images / "half.jpg").read_bytes()[:2000])
    good_job(job, task)
    assert main(job.base) == 0
    report = job.report()
    (skipped,) = report["skipped"]
    assert skipped["task"] in {"9", "line 3"}
    assert reason in skipped["reason"]
    assert (report["num_training_samples"], report["num_validation_samples"]) == (1, 1)


def test_an_image_with_too_many_pixels_is_not_decoded(job: Job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 100)
    job.add_image("a.jpg")
    with pytest.raises(TaskError, match="40 x 20 pixels, more than 100"):
        load_image(job.images / "a.jpg", max_side=64)


def test_polygons_without_area_are_counted(job: Job):
    good_job(job, row(3, regions=[SQUARE, {"class_id": 1, "points": [[1, 1], [2, 2]]}, {"class_id": 1, "points": []}]))
    assert main(job.base) == 0
    assert job.report()["dropped_polygons"] == 2


def rgb_of(image: Image.Image, path: Path, kind: str) -> tuple[int, int, int]:
    image.save(path, format=kind)
    pixel = load_image(path, max_side=64).getpixel((8, 8))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def palette_with_hole() -> Image.Image:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "kind", "wanted"),
    [
        pytest.param(Image.new("RGB", (16, 16), (10, 200, 90)), "PNG", (10, 200, 90), id="rgb-png"),
        pytest.param(Image.new("L", (16, 16), 77), "JPEG", (77, 77, 77), id="grey-jpeg"),
        pytest.param(Image.new("1", (16, 16), 1), "PNG", (255, 255, 255), id="one-bit"),
        pytest.param(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", (255, 0, 0), id="cmyk-jpeg"),
        pytest.param(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF", (255, 0, 0), id="cmyk-tiff"),
        pytest.param(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "PNG", (255, 255, 255), id="clear-is-white"),
        pytest.param(Image.new("RGBA", (16, 16), (0, 0, 255, 255)), "WEBP", (0, 0, 255), id="rgba-webp"),
        pytest.param(Image.new("LA", (16, 16), (0, 0)), "PNG", (255, 255, 255), id="grey-alpha"),
        pytest.param(palette_with_hole(), "PNG", (255, 255, 255), id="palette-with-hole"),
        pytest.param(Image.new("P", (16, 16), 0), "GIF", (0, 0, 0), id="gif"),
        pytest.param(Image.new("RGB", (16, 16), (1, 2, 3)), "BMP", (1, 2, 3), id="bmp"),
    ],
)
def test_an_image_of_any_mode_becomes_rgb(tmp_path: Path, image: Image.Image, kind: str, wanted: tuple[int, ...]):
    assert rgb_of(image, tmp_path / "wrong-suffix.txt", kind) == pytest.approx(wanted, abs=3)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        pytest.param(np.uint16, "PNG", id="16-bit-png"),
        pytest.param(np.uint16, "TIFF", id="16-bit-tiff"),
        pytest.param(np.float32, "TIFF", id="real-numbers"),
    ],
)
def test_more_than_8_bits_are_scaled_not_cut_off(tmp_path: Path, dtype: type, kind: str):
    ramp: np.ndarray[Any, Any] = np.tile(np.linspace(0, 4095, 32), (32, 1)).astype(dtype)
    Image.fromarray(ramp).save(tmp_path / "a", format=kind)
    grey = np.asarray(load_image(tmp_path / "a", max_side=64))[0, :, 0].astype(int)
    assert (grey[0], grey[-1]) == (0, 255)
    assert np.all(np.diff(grey) > 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_so_that_the_mask_fits(job: Job, orientation: int):
    shown = Image.new("RGB", (48, 32), "black")
    shown.paste((255, 255, 255), (0, 0, 24, 16))  # the upper left quarter, as shown
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    job.add_image("turned.jpg", shown.transpose(undo) if undo is not None else shown, exif=exif, quality=95)
    quarter = {"class_id": 1, "points": [[0, 0], [50, 0], [50, 50], [0, 50]]}
    good_job(job, row(3, "turned.jpg", regions=[quarter]))
    assert main(job.base) == 0
    image = job.image("train", 3)
    bright = np.asarray(image.convert("L")) > 128
    assert image.size == (48, 32)
    assert np.array_equal(bright, job.mask("train", 3) == 1)
    assert not image.getexif().get(0x0112)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        pytest.param((2000, 1000), (100, 50), id="wide"),
        pytest.param((1000, 2000), (50, 100), id="tall"),
        pytest.param((80, 60), (80, 60), id="small-stays"),
        pytest.param((3000, 2), (100, 1), id="thin"),
        pytest.param((1, 1), (1, 1), id="one-pixel"),
    ],
)
def test_the_long_side_is_limited(
    job: Job, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], wanted: tuple[int, int]
):
    monkeypatch.setenv("MAX_IMAGE_SIDE", "100")
    job.add_image("sized.png", Image.new("RGB", size), format="PNG")
    good_job(job, row(3, "sized.png"))
    assert main(job.base) == 0
    assert job.image("train", 3).size == wanted
    assert job.mask("train", 3).shape == wanted[::-1]


def test_the_palette_tells_classes_apart(job: Job):
    good_job(job)
    main(job.base)
    with Image.open(job.folders.output / "train_annotation/1.png") as image:
        palette = image.getpalette() or []
    colours = [tuple(palette[3 * index : 3 * index + 3]) for index in (0, 1, 2, 3, IGNORE)]
    assert len(set(colours)) == 5
    assert colours[0] == (0, 0, 0)


@pytest.mark.parametrize(
    ("usable", "broken", "to"),
    [
        pytest.param("train", "validation", "validation", id="both-validation-images-are-broken"),
        pytest.param("validation", "train", "train", id="all-training-images-are-broken"),
    ],
)
def test_an_empty_split_takes_one_task_of_the_other(job: Job, usable: str, broken: str, to: str):
    job.add_image("a.jpg")
    tasks = range(1, 6)
    job.write([*(row(task, split=usable) for task in tasks), *(row(task, "no.jpg", broken) for task in (6, 7))])
    assert main(job.base) == 0
    chosen = (min if to == "validation" else max)(tasks, key=_position)
    report = job.report()
    assert report["moved"] == [{"task": str(chosen), "to": to}]
    assert report[f"num_{'training' if to == 'train' else to}_samples"] == 1
    assert report["num_training_samples"] + report["num_validation_samples"] == 5
    assert report["mini_batch_size"] == min(4, report["num_training_samples"])
    assert len(report["skipped"]) == 2
    assert (job.mask(to, chosen) == 2).any()
    assert job.image(to, chosen)
    for split in ("train", "validation"):
        names = {path.stem for path in (job.folders.output / split).iterdir()}
        masks = {path.stem for path in (job.folders.output / f"{split}_annotation").iterdir()}
        assert names == masks == {str(task) for task in tasks if (task == chosen) == (split == to)}


def test_a_split_that_lost_some_images_but_not_all_stays_as_it_is(job: Job):
    good_job(job, row(3), row(4, "no.jpg", "validation"))
    assert main(job.base) == 0
    assert job.report()["moved"] == []


def one_usable(job: Job) -> None:
    job.add_image("a.jpg")
    job.write([row(1, "missing.jpg"), row(2, split="validation")])


def no_tasks(job: Job) -> None:
    job.write([])


def no_labels(job: Job) -> None:
    job.write([row(1)], labels=[])


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        pytest.param(
            one_usable,
            "At least two usable images are needed, one to train on and one to validate with; "
            "there are 1 (1 tasks were skipped; the first: task 1, the image is missing)",
            id="one-usable-image",
        ),
        pytest.param(no_tasks, "At least two usable images are needed", id="no-tasks"),
        pytest.param(no_labels, "dataset.json must list 1 to 253 labels, it has []", id="no-labels"),
        pytest.param(lambda job: None, "The dataset snapshot cannot be read", id="no-snapshot"),
    ],
)
def test_the_job_fails_with_one_sentence(job: Job, prepare: Callable[[Job], None], sentence: str):
    prepare(job)
    assert main(job.base) == 1
    assert job.message().startswith(sentence)
    assert "\n" not in job.message()


def test_a_fault_that_nobody_thought_of_is_a_sentence_too_and_its_traceback_is_in_the_log(
    job: Job, caplog: pytest.LogCaptureFixture
):
    good_job(job)
    job.folders.dataset.joinpath("dataset.json").write_text("[" * 100_000)
    assert main(job.base) == 1
    assert job.message().startswith("Preprocessing failed unexpectedly (RecursionError: ")
    assert "\n" not in job.message()
    assert "Traceback" in caplog.text
    assert "Traceback" not in job.message()


def broken_rows(job: Job) -> list[dict[str, Any]]:
    """A task for each kind of file that Pillow writes and reads, the file cut off after a third."""
    Image.init()
    kinds = sorted((set(Image.SAVE) & set(Image.OPEN)) - {"EPS", "IM"})  # EPS starts Ghostscript, IM is deprecated
    rows = []
    for task, kind in enumerate(kinds, start=10):
        path = job.images / str(task)
        try:
            Image.effect_noise((48, 32), 50).convert("P").save(path, kind)
        except (OSError, ValueError, KeyError):
            Image.effect_noise((48, 32), 50).convert("RGB").save(path, "JPEG")  # there are no such images of this kind
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        rows.append(row(task, str(task)))
    return rows


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_files_of_every_kind_are_skipped_by_name_and_the_rest_goes_on(job: Job):
    broken = broken_rows(job)
    good_job(job, *broken)
    assert main(job.base) == 0
    report = job.report()
    assert len(report["skipped"]) + report["num_training_samples"] == len(broken) + 1
    assert len(report["skipped"]) > len(broken) / 2


def test_nothing_but_broken_files_is_one_sentence(job: Job):
    job.add_image("half.avif", Image.effect_noise((48, 32), 50), format="PNG")
    path = job.images / "half.avif"
    path.write_bytes(path.read_bytes()[:100])
    job.write([row(1, "half.avif"), row(2, "half.avif", "validation")])
    assert main(job.base) == 1
    assert "2 tasks were skipped; the first: task 1, the file is not an image that can be read" in job.message()


@pytest.mark.parametrize("text", ["", "big", "0", "-5", "31", "99999", "1e3"])
def test_an_image_side_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(PreprocessError, match="MAX_IMAGE_SIDE must be a whole number from 32 to 16384"):
        image_side(text)


def test_a_line_is_parsed_into_a_task():
    task = parse_task(json.dumps(row(17, "birds/a b.jpg")), num_classes=3)
    assert (task.task, task.image, task.split, task.polygons[0][0]) == (17, "birds/a b.jpg", "train", 2)
    assert task.polygons[0][1].shape == (4, 2)


def test_the_file_runs_alone_as_its_container_runs_it(job: Job):
    good_job(job)
    script = job.base / "processing/input/code/preprocess.py"
    script.parent.mkdir()
    script.write_bytes(Path(preprocess.__file__).read_bytes())
    environment = {"SAGEMAKER_BASE_DIR": str(job.base), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-I", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"num_training_samples": 1' in done.stderr
    assert job.report()["num_validation_samples"] == 1
