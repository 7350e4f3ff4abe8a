"""What training and prediction do with an image is the same: three programs that cannot import one another."""

import inspect
import io
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from backend import images as backend_images
from backend.errors import ImageError as BackendImageError
from pipeline import preprocess
from segmenter import images as segmenter_images
from segmenter.errors import ImageError as SegmenterImageError

ORIENTATION = 0x0112
SIZE = (23, 17)
# Functions of the same text: the two cannot import one another, since preprocess.py is uploaded alone.
SHARED = ["fitted", "to_rgb", "_strips", "_on_white", "_stretching", "_extremes", "turned"]
Image.init()
# Not PDF, which Pillow only writes, nor EPS, which starts Ghostscript where there is one.
KINDS = sorted((set(Image.SAVE) & set(Image.OPEN)) - {"EPS"})


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sample(kind: str, mode: str) -> bytes | None:
    """A small file with something in it; None if this kind has no such images."""
    try:
        return encoded(Image.effect_noise((48, 32), 60).convert(mode), kind)
    except (OSError, ValueError, KeyError):
        return None


def damaged(body: bytes, *, times: int) -> list[bytes]:
    """The file cut off, and with wrong bytes in its head and elsewhere; the same ones at each run."""
    chance = random.Random(len(body))
    files = [body[: len(body) * part // 8] for part in range(8)]
    for _ in range(times):
        broken = bytearray(body)
        for _ in range(chance.choice([1, 2, 8])):
            broken[chance.randrange(min(len(body), chance.choice([64, 400, len(body)])))] = chance.randrange(256)
        files.append(bytes(broken))
    return files


def unknown_pixels() -> bytes:
    body = bytearray(encoded(Image.new("RGB", (8, 8)), "DDS"))
    body[80:84] = bytes(4)  # the flags of its pixel format: Pillow raises NotImplementedError
    return bytes(body)


def wiped_avif() -> bytes:
    body = bytearray(sample("AVIF", "RGB") or b"")
    body[-80:] = bytes(len(body[-80:]))  # its pixels: the decoder raises RuntimeError
    return bytes(body)


def test_all_three_know_the_same_faults():
    assert set(preprocess.UNREADABLE) == set(backend_images.UNREADABLE) == set(segmenter_images.UNREADABLE)
    assert {RuntimeError, OSError, ValueError, TypeError, LookupError} <= set(backend_images.UNREADABLE)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_of_any_kind_is_read_or_refused_by_each_in_its_own_words(kind: str, tmp_path: Path):
    whole = [body for mode in ("RGB", "L", "P", "RGBA", "1") if (body := sample(kind, mode))]
    path = tmp_path / "image"
    for body in (broken for file in whole for broken in damaged(file, times=8)):
        path.write_bytes(body)
        try:
            preprocess.load_image(path, max_side=16)
        except preprocess.TaskError as error:
            assert "image" in str(error)  # noqa: PT017  # either outcome is right, another exception is not
        try:
            backend_images.prepare_image(body, side=16)
        except BackendImageError as error:
            assert "not an image that can be read" in str(error)  # noqa: PT017
        try:
            segmenter_images.decode(body, side=16)
        except SegmenterImageError as error:
            assert "image" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(unknown_pixels(), id="dds"),
        pytest.param(wiped_avif(), id="avif"),
    ],
)
def test_a_codec_that_gives_up_with_a_runtime_error_spoils_only_its_own_image(body: bytes, tmp_path: Path):
    (tmp_path / "image").write_bytes(body)
    with pytest.raises(preprocess.TaskError, match="not an image that can be read") as skipped:
        preprocess.load_image(tmp_path / "image", max_side=16)
    with pytest.raises(BackendImageError, match="not an image that can be read"):
        backend_images.prepare_image(body, side=16)
    with pytest.raises(SegmenterImageError, match="not an image that can be read"):
        segmenter_images.decode(body, side=16)
    assert isinstance(skipped.value.__cause__, RuntimeError)


def drawn(mode: str) -> Image.Image:
    """An image of random values in memory, of any mode."""
    count, chance = SIZE[0] * SIZE[1], np.random.default_rng(5)
    if mode == "F":
        return Image.fromarray(chance.normal(40, 900, SIZE[::-1]).astype(np.float32))
    if mode == "I":
        return Image.fromarray(chance.integers(-70_000, 70_000, SIZE[::-1]).astype(np.int32))
    bytes_each = {"1": 1, "I;16": 2, "I;16B": 2}.get(mode, len(Image.new(mode, (1, 1)).getbands()))
    image = Image.frombytes(mode, SIZE, chance.bytes(count * bytes_each))
    if mode in {"P", "PA"}:
        image.putpalette(chance.bytes(768))
    return image


def clear(mode: str, transparency: object) -> Image.Image:
    image = drawn(mode)
    image.info["transparency"] = transparency
    return image


def pixels(image: Image.Image) -> Any:
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16B", "F"]
IMAGES = [
    *(pytest.param(drawn(mode), id=mode) for mode in MODES),
    pytest.param(clear("P", 7), id="P with a clear colour"),
    pytest.param(clear("P", bytes(range(256))), id="P with half clear colours"),
    pytest.param(clear("L", 7), id="L with a clear grey"),
    pytest.param(clear("RGB", (1, 2, 3)), id="RGB with a clear colour"),
    pytest.param(clear("1", 0), id="1 with clear black"),
]


@pytest.mark.parametrize("name", SHARED)
def test_what_both_programs_share_is_the_same_text(name: str):
    text = inspect.getsource(getattr(preprocess, name))
    assert inspect.getsource(getattr(backend_images, name)) == text
    assert inspect.getsource(backend_images.as_shown) == inspect.getsource(preprocess.as_shown)


@pytest.mark.parametrize("side", [64, 16, 5], ids=lambda side: f"side {side}")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image", IMAGES)
def test_training_and_prediction_see_the_same_pixels(image: Image.Image, orientation: int, side: int):
    image.getexif()[ORIENTATION] = orientation

    trained, trained_size = preprocess.as_shown(image, side=side)
    predicted, predicted_size = backend_images.as_shown(image, side=side)

    assert np.array_equal(pixels(trained), pixels(predicted))
    assert trained_size == predicted_size == ImageOps.exif_transpose(image).size
    assert trained.size == backend_images.fitted(trained_size, side=side)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(orientation: int):
    image = drawn("RGB")
    image.getexif()[ORIENTATION] = orientation
    upright, _ = backend_images.as_shown(image, side=64)
    assert np.array_equal(pixels(upright), pixels(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_a_mode_without_transparency_or_deep_values_is_converted_as_pillow_does(mode: str):
    assert np.array_equal(pixels(backend_images.to_rgb(drawn(mode))), pixels(drawn(mode).convert("RGB")))


def test_lab_is_a_colour_space_and_not_transparent():
    lab = ImageCms.profileToProfile(
        Image.new("RGB", SIZE, (120, 140, 90)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    assert pixels(backend_images.to_rgb(lab)) == pytest.approx(pixels(Image.new("RGB", SIZE, (120, 140, 90))), abs=3)


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_what_is_half_clear_is_mixed_with_white(mode: str):
    layer = drawn(mode).convert("RGBA")
    *colours, alpha = (np.asarray(band, float) for band in layer.split())
    mixed = np.stack([255 + (band - 255) * alpha / 255 for band in colours], axis=-1)
    assert np.abs(pixels(backend_images.to_rgb(drawn(mode))) - mixed).max() <= 1


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "F"])
def test_deep_values_are_stretched_from_black_to_white(mode: str):
    values = np.asarray(drawn(mode), dtype=float)
    wanted = (values - values.min()) / (values.max() - values.min()) * 255
    assert np.abs(pixels(backend_images.to_rgb(drawn(mode)))[:, :, 0] - wanted).max() <= 0.5


def test_values_that_are_no_numbers_do_not_spoil_the_others():
    values = np.array([[0, 20, 100], [np.nan, np.inf, -np.inf]], np.float32)
    grey = pixels(backend_images.to_rgb(Image.fromarray(values)))[:, :, 0]
    assert grey.tolist() == [[0, 51, 255], [0, 255, 0]]
    nothing = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    assert not pixels(backend_images.to_rgb(nothing)).any()


@pytest.mark.parametrize("factor", [1, 3, 7])
@pytest.mark.parametrize("size", [(1300, 1700), (3_000_000, 2), (2, 1_500_000)], ids=str)
def test_strips_leave_no_seams(size: tuple[int, int], factor: int):
    values = np.arange(size[0] * size[1], dtype=np.uint32).reshape(size[::-1]) * 2654435761 >> 24
    image = Image.fromarray(values.astype(np.uint8))
    whole = image.convert("RGB").reduce(factor)
    assert np.array_equal(np.asarray(backend_images.to_rgb(image, factor=factor)), np.asarray(whole))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_full_size_is_the_one_shown_whoever_turns_the_image(kind: str, orientation: int):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    body = encoded(Image.new("RGB", (397, 401)), kind, exif=exif)  # a JPEG is decoded as 50 x 51 pixels
    shown = (401, 397) if orientation >= 5 else (397, 401)
    prepared = backend_images.prepare_image(body, side=40)
    assert prepared.shown_wh == shown
    assert prepared.sent_wh == backend_images.fitted(shown, side=40)
    assert segmenter_images.decode(body, side=40)[1] == shown


@pytest.mark.parametrize(
    ("full", "sent"),
    [
        ((806, 605), (101, 76)),  # an eighth is a little shorter than 105: it stays so
        ((840, 630), (105, 79)),
        ((784, 588), (105, 79)),  # an eighth would be 98, too short: a quarter, made smaller
        ((848, 636), (105, 79)),  # an eighth would be too long
        ((100, 75), (100, 75)),
    ],
    ids=str,
)
def test_a_jpeg_stays_as_decoded_where_that_is_nearly_as_wanted(full: tuple[int, int], sent: tuple[int, int]):
    shown, shown_wh = backend_images.as_shown(Image.open(io.BytesIO(encoded(Image.new("RGB", full), "JPEG"))), side=105)
    assert (shown.size, shown_wh) == (sent, full)


MEASURE = """
import io, resource, sys
from PIL import Image
from backend.images import prepare_image
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
prepare_image(encoded(Image.new("L", (8, 8))), side=1024)
body = encoded(Image.new(sys.argv[1], (6000, 4000)))
before = peak()
prepare_image(body, side=1024)
print((peak() - before) / 24e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is counted in other units")
@pytest.mark.parametrize("mode", ["I;16", "RGBA", "P"])
def test_a_large_image_takes_little_more_than_its_decoded_pixels(mode: str):
    done = subprocess.run([sys.executable, "-c", MEASURE, mode], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 7  # bytes a pixel, four of which are the image itself; they were 16 to 24
