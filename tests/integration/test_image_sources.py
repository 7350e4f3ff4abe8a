"""Every kind of reference that a task can have leads to the image, from a real S3 and over real HTTP."""

from __future__ import annotations

import base64
import io
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from backend.aws import Aws
from backend.downloads import Downloads
from backend.errors import ImageError
from backend.images import Images
from backend.label_studio import LabelStudio
from tests import fakes
from tests.fakes import photo
from tests.local_server import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.services import AwsClient

TOKEN = "0123456789abcdef0123456789abcdef01234567"
KEYS = [
    "plain.jpg",
    "with space.jpg",
    "  two  spaces .jpg",
    "déjà-vu/鳥/Ω.jpg",
    "a#1.jpg",
    "100%.jpg",
    "a%20b.jpg",
    "a+b.jpg",
    "what?.jpg",
    "a=b&c=d;e.jpg",
    "(1) [2] {3} 'x' \"y\" ~!$*,@^`|.jpg",
    "a/deep/er/path.jpg",
    "https://in.the.name/x.jpg",
]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def bucket(s3: AwsClient) -> str:
    """One for all, since SeaweedFS keeps room for each; the keys differ."""
    name = "image-sources"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def images(
    tmp_path: Path, server: Server, s3: AwsClient, bucket: str, aws_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Images]:
    for name, value in aws_env.items():
        monkeypatch.setenv(name, value)
    settings = fakes.settings(tmp_path, label_studio_url=server.url, s3_bucket=bucket, image_hosts="allowed.example")
    downloads = Downloads.by(settings)
    studio = LabelStudio(server.url, TOKEN, downloads=downloads)
    yield Images(settings, store=Aws(settings, s3=s3), files=studio, downloads=downloads)
    studio.close()


@pytest.mark.parametrize("key", KEYS)
def test_an_object_is_found_by_its_very_key(images: Images, s3: AwsClient, bucket: str, key: str):
    body = photo(30, 20)
    s3.put_object(Bucket=bucket, Key=key, Body=body)

    assert images.fetch(f"s3://{bucket}/{key}", task=1) == body


@pytest.mark.parametrize("key", [key for key in KEYS if "//" not in key])
def test_a_presigned_address_leads_to_the_object_and_s3_needs_no_setting(
    images: Images, s3: AwsClient, bucket: str, key: str
):
    s3.put_object(Bucket=bucket, Key=key, Body=photo(30, 20))
    address = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})

    assert images.prepared(address, project=3, side=512).shown_wh == (30, 20)


@pytest.mark.parametrize("key", ["with space.jpg", "a#1.jpg", "déjà-vu.jpg", "a%20b.jpg"])
def test_an_object_that_label_studio_alone_may_read_comes_by_its_redirect(
    images: Images, server: Server, s3: AwsClient, bucket: str, key: str
):
    """Label Studio resolves an address of its storage by a presigned one, which must not get our token."""
    s3.put_object(Bucket=bucket, Key=key, Body=photo(30, 20))
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    reference = f"s3://closed-to-us/{key}"
    wanted = base64.urlsafe_b64encode(reference.encode()).decode()

    def answer(path: str) -> tuple[int, bytes, dict[str, str]]:
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("fileuri")
        return (303, b"", {"Location": presigned}) if asked == [wanted] else (404, b"", {})

    server.answer = answer

    assert images.prepared(reference, project=3, side=512, task=7).shown_wh == (30, 20)


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        pytest.param("/data/upload/3/ab12-photo.jpg", "/data/upload/3/ab12-photo.jpg", id="upload"),
        pytest.param("{url}/data/upload/3/x.jpg", "/data/upload/3/x.jpg", id="upload with its host"),
        pytest.param(
            "/data/local-files/?d=photos/a%20b.jpg", "/data/local-files/?d=photos/a%20b.jpg", id="local file, encoded"
        ),
        pytest.param(
            "/data/local-files/?d=photos/a b.jpg", "/data/local-files/?d=photos/a%20b.jpg", id="local file, raw"
        ),
        pytest.param("/data/local-files/?d=%C3%A9/%23.jpg", "/data/local-files/?d=%C3%A9/%23.jpg", id="local, odd"),
    ],
)
def test_a_file_of_label_studio_is_asked_for_with_the_token(images: Images, server: Server, reference: str, asked: str):
    server.answer = lambda path: (200, photo(30, 20), {}) if path == asked else (404, b"", {})

    assert images.prepared(reference.format(url=server.url), project=3, side=512, task=7).shown_wh == (30, 20)
    assert server.requests[-1] == (asked, f"Token {TOKEN}")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/plain.jpg", "/plain.jpg"),
        ("/a b.jpg", "/a%20b.jpg"),
        ("/a%20b+c.jpg", "/a%20b+c.jpg"),
        ("/é.jpg?id=ü&x=%2F", "/%C3%A9.jpg?id=%C3%BC&x=%2F"),
        ("/moved.jpg", "/found.jpg"),
    ],
)
def test_an_http_address_is_asked_for_without_the_token(
    tmp_path: Path, server: Server, path: str, asked: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    settings = fakes.settings(tmp_path)
    downloads = Downloads.by(settings)
    images = Images(settings, store=fakes.FakeCloud(), files=fakes.FakeStudio(), downloads=downloads)

    def answer(path: str) -> tuple[int, bytes, dict[str, str]]:
        if path == "/moved.jpg":
            return 302, b"", {"Location": "/found.jpg"}
        return (200, photo(30, 20), {}) if path == asked else (404, b"", {})

    server.answer = answer

    assert images.prepared(f"http://localhost:{server.server_port}{path}", project=3, side=512).shown_wh == (30, 20)
    assert {authorization for _, authorization in server.requests} == {None}
    downloads.close()


def test_another_host_than_the_setting_allows_is_not_asked(images: Images, server: Server):
    with pytest.raises(ImageError, match="IMAGE_HOSTS"):
        images.prepared(f"http://localhost:{server.server_port}/x.jpg", project=3, side=512)
    assert server.requests == []


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("data:image/jpeg;base64,{base64}", id="base64"),
        pytest.param("data:image/jpeg,{quoted}", id="percent encoded"),
    ],
)
def test_an_address_that_holds_the_image_needs_no_server(images: Images, server: Server, reference: str):
    body = photo(30, 20)
    address = reference.format(base64=base64.b64encode(body).decode(), quoted=urllib.parse.quote(body))

    assert images.prepared(address, project=3, side=512).shown_wh == (30, 20)
    assert server.requests == []


def test_what_is_larger_than_any_photo_is_not_read(images: Images, s3: AwsClient, bucket: str):
    s3.upload_fileobj(io.BytesIO(bytes(129 * 2**20)), bucket, "large")

    with pytest.raises(ImageError, match="is larger than 128 MB"):
        images.fetch(f"s3://{bucket}/large", task=None)
