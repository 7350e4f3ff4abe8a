"""Images: wherever they lie, whatever they are."""

import base64
import io
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.dataset import select_annotations
from backend.errors import AwsError, ImageAwayError, ImageError, LabelStudioError
from backend.image_cache import PreparedImage
from backend.images import MAX_PIXELS, Images, prepare_image
from backend.regions import parse_label_config
from tests import fakes
from tests.fakes import BIRDS, FakeCloud, FakeStudio, annotated_task, encoded, photo

ORIENTATION = 0x0112


def picture() -> bytes:
    """A small PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud(objects={("birds", "a b.jpg"): b"own", ("other", "é#1?.jpg"): picture()})


@pytest.fixture
def studio() -> FakeStudio:
    return FakeStudio(files={"/data/upload/3/x.jpg": b"upload", "s3://closed/x.jpg": b"by its storage"})


@pytest.fixture
def images(tmp_path: Path, cloud: FakeCloud, studio: FakeStudio) -> Images:
    return Images(fakes.settings(tmp_path), store=cloud, files=studio)


@pytest.mark.parametrize(
    ("reference", "body"),
    [
        pytest.param("s3://birds/a b.jpg", b"own", id="s3"),
        pytest.param("s3://other/é#1?.jpg", picture(), id="s3 with a key that is no URL"),
        pytest.param("/data/upload/3/x.jpg", b"upload", id="upload"),
        pytest.param("http://labelstudio.example.com:8080/data/upload/3/x.jpg", b"upload", id="upload with its host"),
        pytest.param("data:image/png;base64,aGVsbG8=", b"hello", id="data"),
        pytest.param("DATA:image/png;BASE64,aGVs bG8", b"hello", id="data with spaces and without padding"),
        pytest.param("data:image/png;base64,%2B%2B%2B%2B", b"\xfb\xef\xbe", id="data, percent-encoded"),
        pytest.param("S3://birds/a b.jpg", b"own", id="a scheme in capitals"),
        pytest.param("data:text/plain,hello%20you", b"hello you", id="data that is not base64"),
    ],
)
def test_an_image_is_found_where_its_reference_says(images: Images, reference: str, body: bytes):
    assert images.fetch(reference, task=1) == body


@pytest.mark.parametrize("reference", ["", "image.jpg", "ftp://x/y.jpg", "gs://x/y.jpg", "javascript:alert(1)"])
def test_another_kind_of_reference_says_which_are_known(images: Images, reference: str):
    with pytest.raises(ImageError, match="wanted an upload"):
        images.fetch(reference)


@pytest.mark.parametrize("reference", ["data:image/png;base64,a", "data:image/png;base64,é"])
def test_broken_data_is_an_image_error(images: Images, reference: str):
    with pytest.raises(ImageError, match="cannot be read"):
        images.fetch(reference)


@pytest.mark.parametrize("reference", ["s3://", "s3://birds", "s3:///x.jpg"])
def test_half_an_s3_address_says_what_a_whole_one_is(images: Images, reference: str):
    with pytest.raises(ImageError, match="wanted an address like s3://bucket/key"):
        images.fetch(reference)


def test_label_studio_is_asked_where_our_credentials_do_not_reach(images: Images, cloud: FakeCloud):
    cloud.error = AwsError("AccessDenied")

    assert images.fetch("s3://closed/x.jpg", task=7) == b"by its storage"


def test_an_image_that_cannot_be_had_now_may_be_had_later(images: Images, cloud: FakeCloud, studio: FakeStudio):
    cloud.error, studio.error = AwsError("S3 is away"), LabelStudioError("Label Studio is away")

    with pytest.raises(ImageAwayError, match="S3 is away"):
        images.fetch("s3://birds/a b.jpg")
    with pytest.raises(ImageAwayError, match="Label Studio is away"):
        images.fetch("s3://birds/a b.jpg", task=7)


def test_an_image_that_is_missing_stays_missing(images: Images):
    with pytest.raises(ImageError) as caught:
        images.fetch("/data/upload/3/gone.jpg", task=7)

    assert not isinstance(caught.value, ImageAwayError)


def test_images_in_the_bucket_are_used_in_place_and_others_are_copied_once(images: Images, cloud: FakeCloud):
    tasks = [annotated_task(1, image="s3://birds/a b.jpg"), annotated_task(2, image="s3://other/é#1?.jpg")]
    selection = select_annotations(tasks, parse_label_config(BIRDS))
    first = images.keys(3, selection)
    cloud.objects.pop(("other", "é#1?.jpg"))  # a second copy would miss it

    assert images.keys(3, selection) == first
    assert first["s3://birds/a b.jpg"] == "a b.jpg"
    assert first["s3://other/é#1?.jpg"].startswith("ls/projects/3/images/")
    assert cloud.objects["birds", first["s3://other/é#1?.jpg"]] == picture()


@pytest.mark.parametrize("missing", ["s3://birds/gone.jpg", "/data/upload/3/gone.jpg"])
def test_a_missing_image_is_left_out_of_training_and_named(
    images: Images, missing: str, caplog: pytest.LogCaptureFixture
):
    tasks = [annotated_task(1, image="s3://birds/a b.jpg"), annotated_task(2, image=missing)]

    keys = images.keys(3, select_annotations(tasks, parse_label_config(BIRDS)))

    assert list(keys) == ["s3://birds/a b.jpg"]
    assert "task 2 is left out of training" in caplog.text


@pytest.mark.parametrize(
    "odd",
    [
        *("http://xn--/a.jpg", "http://h/\ud800", "data:image/png,\ud800", "s3://birds/\ud800", "s3://other/\ud800"),
        *("https://h/?a=\ud800&sig=1", "/data/upload/3/\ud800.jpg"),
    ],
    ids=ascii,
)
def test_an_address_that_can_be_none_harms_no_other_image(images: Images, odd: str):
    tasks = [annotated_task(1, image="s3://birds/a b.jpg"), annotated_task(2, image=odd)]

    assert list(images.keys(3, select_annotations(tasks, parse_label_config(BIRDS)))) == ["s3://birds/a b.jpg"]
    with pytest.raises(ImageError):
        images.prepared(odd, project=3, side=512, task=2)


def test_what_is_no_image_is_not_kept_as_one(images: Images, cloud: FakeCloud, studio: FakeStudio):
    studio.files["/data/upload/3/x.jpg"] = b"<html>please log in</html>"

    keys = images.keys(
        3, select_annotations([annotated_task(1, image="/data/upload/3/x.jpg")], parse_label_config(BIRDS))
    )

    assert keys == {}
    assert [bucket for bucket, key in cloud.objects if "projects" in key] == []


def test_an_image_whose_server_is_away_is_waited_for_but_not_for_ever(
    images: Images, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
):
    selection = select_annotations([annotated_task(1, image="/data/upload/3/x.jpg")], parse_label_config(BIRDS))
    studio.error = LabelStudioError("Label Studio is away")

    with pytest.raises(ImageAwayError, match="training waits for the image of task 1"):
        images.keys(3, selection)
    monkeypatch.setattr("backend.bucket_images.PATIENCE_SECONDS", 0.0)
    assert images.keys(3, selection) == {}


def test_a_server_that_was_away_before_is_waited_for_again(
    images: Images, studio: FakeStudio, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]
    monkeypatch.setattr("backend.bucket_images.time.monotonic", lambda: now[0])
    selection = select_annotations([annotated_task(1, image="/data/upload/3/x.jpg")], parse_label_config(BIRDS))
    studio.files["/data/upload/3/x.jpg"] = photo()
    away = LabelStudioError("Label Studio is away")
    for studio.error in (away, None, away):
        if studio.error is None:
            assert images.keys(3, selection)
            cloud.objects.clear()  # so that it is fetched again
        else:
            with pytest.raises(ImageAwayError, match="training waits"):
                images.keys(3, selection)
        now[0] += 86_400


@pytest.mark.parametrize(
    "path",
    [
        "/api/users",
        "/data/../api/users",
        "/data/%2e%2e/api/users",
        "/user/account",
        "http://labelstudio.example.com:8080/api/x",
    ],
)
def test_label_studio_is_asked_for_files_alone(images: Images, studio: FakeStudio, path: str):
    studio.files[path] = b"secret"

    with pytest.raises(ImageError):
        images.fetch(path, task=1)


def test_while_s3_is_away_no_image_is_left_out(images: Images, cloud: FakeCloud):
    cloud.error = AwsError("S3 is away")

    with pytest.raises(AwsError, match="S3 is away"):
        images.keys(3, select_annotations([annotated_task(1)], parse_label_config(BIRDS)))


def test_an_image_that_was_made_ready_is_not_fetched_again(tmp_path: Path, images: Images, studio: FakeStudio):
    studio.files["/data/upload/3/x.jpg"] = photo()
    first = images.prepared("/data/upload/3/x.jpg", project=3, side=512, task=1)
    studio.files.clear()
    restarted = Images(fakes.settings(tmp_path), store=FakeCloud(), files=studio)

    assert images.prepared("/data/upload/3/x.jpg", project=3, side=512, task=2) == first
    assert restarted.prepared("/data/upload/3/x.jpg", project=3, side=512, task=3) == first


def test_an_image_of_one_project_is_not_had_by_another_that_names_it(
    images: Images, cloud: FakeCloud, studio: FakeStudio
):
    cloud.error = AwsError("AccessDenied")  # it is not for us, but for the storage of the project
    studio.files["s3://closed/x.jpg"] = photo()
    images.prepared("s3://closed/x.jpg", project=3, side=512, task=1)
    studio.files.clear()  # for a task of the other project Label Studio gives nothing

    with pytest.raises(ImageError):
        images.prepared("s3://closed/x.jpg", project=4, side=512, task=9)


def test_what_could_not_be_had_is_asked_for_again(images: Images, studio: FakeStudio):
    for body in (b"<html>", photo()[:99]):
        studio.files["/data/upload/3/x.jpg"] = body
        with pytest.raises(ImageError):
            images.prepared("/data/upload/3/x.jpg", project=3, side=512, task=1)
    studio.files["/data/upload/3/x.jpg"] = photo()

    assert images.prepared("/data/upload/3/x.jpg", project=3, side=512, task=1).shown_wh == (64, 48)


def test_an_image_in_its_own_address_is_not_kept(tmp_path: Path, images: Images):
    address = f"data:image/jpeg;base64,{base64.b64encode(photo()).decode()}"

    assert images.prepared(address, project=3, side=512).shown_wh == (64, 48)
    assert not (tmp_path / "images").exists()


def sent(prepared: PreparedImage) -> Image.Image:
    image = Image.open(io.BytesIO(prepared.jpeg))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", prepared.sent_wh)
    return image


def test_a_large_image_is_shrunk_and_a_small_one_is_not_enlarged():
    assert prepare_image(photo(200, 100), side=50).sent_wh == (50, 25)
    assert prepare_image(photo(20, 10), side=50).sent_wh == (20, 10)


def test_a_thin_image_keeps_a_pixel():
    assert prepare_image(encoded(Image.new("RGB", (3000, 2))), side=64).sent_wh == (64, 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_sent_as_it_is_shown(orientation: int, kind: str):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :20] = 255  # the file's upper left
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    corner = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[orientation]

    prepared = prepare_image(encoded(Image.fromarray(pixels), kind, exif=exif), side=64)

    assert prepared.shown_wh == prepared.sent_wh == ((20, 40) if orientation >= 5 else (40, 20))
    shown = np.asarray(sent(prepared).convert("L"), float)
    halves = [np.hsplit(half, 2) for half in np.vsplit(shown, 2)]
    brightest = max(((x, y) for x in (0, 1) for y in (0, 1)), key=lambda place: halves[place[1]][place[0]].mean())
    assert brightest == corner


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(value: int):
    exif = Image.Exif()
    exif[ORIENTATION] = value

    prepared = prepare_image(encoded(Image.new("RGB", (40, 20)), exif=exif), side=64)

    assert prepared.shown_wh == prepared.sent_wh == (40, 20)


@pytest.mark.parametrize(
    ("body", "brightness"),
    [
        pytest.param(encoded(Image.new("L", (8, 8), 200)), 200, id="grey"),
        pytest.param(encoded(Image.new("1", (8, 8), 1)), 255, id="black and white"),
        pytest.param(encoded(Image.new("P", (8, 8), 0)), 0, id="palette"),
        pytest.param(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), 255, id="transparent becomes white"),
        pytest.param(encoded(Image.new("LA", (8, 8), (0, 0))), 255, id="transparent grey"),
        pytest.param(encoded(Image.new("P", (8, 8), 0), transparency=0), 255, id="transparent palette"),
        pytest.param(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"), 0, id="CMYK"),
        pytest.param(encoded(Image.new("I;16", (8, 8), 40000)), 0, id="16 bit, all the same"),
        pytest.param(encoded(Image.new("F", (8, 8), 0.5), "TIFF"), 0, id="real numbers, all the same"),
        pytest.param(encoded(Image.new("RGB", (8, 8), "white"), "GIF"), 255, id="GIF"),
        pytest.param(encoded(Image.new("RGB", (8, 8), "white"), "WEBP"), 255, id="WebP"),
        pytest.param(encoded(Image.new("RGB", (8, 8), "white"), "BMP"), 255, id="BMP"),
        pytest.param(encoded(Image.new("P", (8, 8), 0), "BMP"), 0, id="BMP with a palette"),
        pytest.param(encoded(Image.new("RGB", (8, 8), "white"), "TIFF"), 255, id="TIFF"),
        pytest.param(encoded(Image.new("RGB", (8, 8), "white"), "TIFF", compression="tiff_lzw"), 255, id="TIFF, LZW"),
        pytest.param(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "TIFF"), 0, id="TIFF in CMYK"),
        pytest.param(encoded(Image.new("I;16", (8, 8), 40000), "TIFF"), 0, id="TIFF of 16 bit, all the same"),
        pytest.param(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "TIFF"), 255, id="transparent TIFF"),
        pytest.param(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "WEBP", lossless=True), 255, id="clear WebP"),
        pytest.param(encoded(Image.new("P", (8, 8), 0), "GIF", transparency=0), 255, id="transparent GIF"),
        pytest.param(
            encoded(Image.new("L", (8, 8), 255), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 0)]),
            255,
            id="the first picture of a moving GIF",
        ),
        pytest.param(encoded(Image.new("RGB", (8, 8), "white"), "JPEG", progressive=True), 255, id="progressive JPEG"),
    ],
)
def test_any_mode_becomes_rgb(body: bytes, brightness: int):
    assert np.asarray(sent(prepare_image(body, side=64))).mean() == pytest.approx(brightness, abs=3)


def test_16_bit_values_are_scaled_to_what_there_is():
    pixels = np.linspace(1000, 3000, 64, dtype=np.uint16).reshape(8, 8)

    values = np.asarray(sent(prepare_image(encoded(Image.fromarray(pixels)), side=64)))

    assert values.min() < 15
    assert values.max() > 240


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>not found</html>", id="a web page"),
        pytest.param(photo()[:200], id="cut off"),
        pytest.param(encoded(Image.new("RGB", (64, 64), "red"))[:60], id="a PNG cut off"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
    ],
)
def test_what_is_no_image_is_an_image_error(body: bytes):
    with pytest.raises(ImageError, match="not an image that can be read"):
        prepare_image(body, side=64)


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (MAX_PIXELS + 1, 1)], ids=["beyond what Pillow opens", "beyond our limit"]
)
def test_a_decompression_bomb_is_not_read(width: int, height: int):
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

    with pytest.raises(ImageError, match="pixels"):
        prepare_image(bomb, side=64)


EXIF = Image.Exif()
EXIF[ORIENTATION] = 6
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {"exif": EXIF}),
    ("JPEG", {"exif": EXIF}),
    ("TIFF", {"exif": EXIF}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("GIF", {}),
    ("BMP", {}),
    ("WEBP", {"exif": EXIF}),
]
FILES = [encoded(Image.new("RGB", (9, 7), "teal"), kind, **options) for kind, options in KINDS]


@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:PIL.Image.DecompressionBombWarning")
@settings(deadline=None, max_examples=300)
@given(st.sampled_from(FILES), st.integers(0, 400), st.binary(min_size=1, max_size=6), st.integers(0, 400))
def test_a_damaged_file_is_read_or_is_an_image_error(body: bytes, place: int, damage: bytes, cut: int):
    damaged = body[:place] + damage + body[place + len(damage) : len(body) - max(0, cut - 300)]

    try:
        prepare_image(damaged, side=16)
    except ImageError:
        return


MANY = """
import io, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image
from backend.images import Images
from tests import fakes
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
body = fakes.encoded(Image.new("RGB", (6000, 4000), "teal"))
studio = fakes.FakeStudio(files={f"/data/upload/{number}.png": body for number in range(12)})
images = Images(fakes.settings(Path(sys.argv[1])), store=fakes.FakeCloud(), files=studio)
def prepare(path):
    return images.prepared(path, project=1, side=512, task=1)
prepare("/data/upload/0.png")
before = peak()
with ThreadPoolExecutor(12) as pool:
    list(pool.map(prepare, studio.files))
print((peak() - before) / 24e6)
"""


def test_of_many_large_images_at_once_only_two_are_in_memory(tmp_path: Path):
    command = [sys.executable, "-c", MANY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": "."})

    assert float(done.stdout) < 14  # bytes a pixel of one image; each takes four, and twelve threads kept 40
