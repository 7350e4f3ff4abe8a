"""Bytes become pixels as a person sees them, or are refused with a reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmenter import images
from segmenter.errors import ImageError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated_jpeg(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("orientation", "size"), [pytest.param(1, (40, 20), id="upright"), pytest.param(6, (20, 40), id="turned")]
)
def test_orientation_is_applied_and_the_size_is_the_one_shown(orientation: int, size: tuple[int, int]):
    image, shown = images.decode(rotated_jpeg(orientation), side=384)
    assert image.size == shown == size


def test_a_large_jpeg_is_decoded_smaller_but_its_full_size_is_said():
    body = encoded(Image.new("RGB", (3200, 1600)), "JPEG")
    image, shown = images.decode(body, side=384)
    assert shown == (3200, 1600)
    assert 384 <= max(image.size) < 3200


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.new("L", (8, 8), 200), id="grey"),
        pytest.param(Image.new("P", (8, 8)), id="indexed"),
        pytest.param(Image.new("RGBA", (8, 8)), id="transparent"),
        pytest.param(Image.new("1", (8, 8)), id="black and white"),
    ],
)
def test_any_mode_becomes_rgb(image: Image.Image):
    assert images.decode(encoded(image), side=384)[0].mode == "RGB"


def test_cmyk_becomes_rgb():
    assert images.decode(encoded(Image.new("CMYK", (8, 8)), "JPEG"), side=384)[0].mode == "RGB"


def test_sixteen_bits_are_refused_since_only_the_sender_knows_their_scale():
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    with pytest.raises(ImageError, match="8 bits a channel"):
        images.decode(encoded(Image.fromarray(ramp)), side=384)


def test_what_is_transparent_is_white():
    image, _ = images.decode(encoded(Image.new("RGBA", (8, 8), (200, 0, 0, 0))), side=384)
    assert image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="text"),
        pytest.param(encoded(Image.effect_noise((64, 64), 50), "JPEG")[:600], id="cut off"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"\0" * 40, id="only the beginning of a PNG"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(body: bytes):
    with pytest.raises(ImageError, match=r"not an image that can be read: ."):
        images.decode(body, side=384)


def test_a_header_that_claims_a_monstrous_size_is_refused_before_anything_is_decoded():
    header = bytearray(encoded(Image.new("L", (1, 1))))
    header[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(ImageError):
        images.decode(bytes(header), side=384)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_masks_values_are_its_class_ids(tmp_path: Path, mode: str):
    ids = np.array([[0, 1], [2, 255]], np.uint8)
    mask = Image.fromarray(ids)
    if mode == "P":
        mask.putpalette([9, 9, 9] * 256)
    mask.save(tmp_path / "mask.png")
    assert np.array_equal(images.read_mask(tmp_path / "mask.png"), ids)


def test_a_mask_in_colour_is_refused(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(ImageError, match="one channel of 8 bits"):
        images.read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        pytest.param((4000, 3000), (400, 300), id="shrunk"),
        pytest.param((300, 200), (300, 200), id="never enlarged"),
        pytest.param((10000, 1), (400, 1), id="a line keeps one pixel"),
    ],
)
def test_fitted_keeps_proportions(size: tuple[int, int], fitted: tuple[int, int]):
    assert images.fitted(size, side=400) == fitted
