"""What training and prediction do with an image is the same: three programs that cannot import one another."""

import io
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend import images as backend_images
from backend.errors import ImageError as BackendImageError
from pipeline import preprocess
from segmenter import images as segmenter_images
from segmenter.errors import ImageError as SegmenterImageError

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
        pytest.param(
            wiped_avif(),
            id="avif",
            marks=pytest.mark.skipif("AVIF" not in KINDS, reason="this Pillow has no AVIF"),
        ),
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
