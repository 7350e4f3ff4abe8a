"""The images of the demo's projects, and how they come into S3."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from demo.birds import BirdScene, draw_scene, scene_size
from demo.errors import DemoError
from demo.limits import BIRD_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

PHOTO_SUFFIXES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
JPEG_QUALITY = 92
BIRDS_TITLE = "Bird parts"
BIRDS_PREFIX = "images/"
BIRD_KEY = re.compile(r"bird-(\d+)\.jpg$")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is to lie in S3 at *key*; its bytes are made when they are needed."""

    key: str
    content_type: str
    read: Callable[[], bytes]


def bird_scene(seed: int) -> BirdScene:
    """The scene of a bird image: the size goes with the seed."""
    return draw_scene(seed, size_wh=scene_size(seed))


def bird_pictures(prefix: str, seeds: range) -> list[Picture]:
    """One synthetic bird for each seed, named by it."""
    return [Picture(f"{prefix}bird-{seed:03d}.jpg", "image/jpeg", partial(_bird_jpeg, seed)) for seed in seeds]


def all_birds() -> list[Picture]:
    """The images of the project *Bird parts*."""
    return bird_pictures(BIRDS_PREFIX, range(1, BIRD_COUNT + 1))


def _bird_jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    bird_scene(seed).image.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def is_bird(key: str) -> bool:
    """Whether a key in S3 is that of a bird image."""
    return BIRD_KEY.search(key) is not None


def bird_seed(key: str) -> int:
    """The seed of a bird image by its key in S3.

    Raises:
        ValueError: the key is not that of a bird image, so its polygons are not known.
    """
    match = BIRD_KEY.search(key)
    if match is None:
        message = f"{key} is not one of the demo's birds"
        raise ValueError(message)
    return int(match.group(1))


def photo_pictures(prefix: str, folder: Path) -> list[Picture]:
    """The photos in a person's folder and the folders in it, in the order of their names.

    Raises:
        DemoError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        message = f"IMAGES={folder} is not a folder."
        raise DemoError(message)
    pictures = [
        Picture(prefix + path.relative_to(folder).as_posix(), PHOTO_SUFFIXES[path.suffix.lower()], path.read_bytes)
        for path in sorted(_files(folder))
        if path.suffix.lower() in PHOTO_SUFFIXES
    ]
    if not pictures:
        message = f"IMAGES={folder} has no image in it (looked for {', '.join(sorted(PHOTO_SUFFIXES))})."
        raise DemoError(message)
    return pictures


def _files(folder: Path) -> Iterator[Path]:
    """Files below *folder* but none of which the path has a hidden part."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def upload(
    s3: S3Client, bucket: str, pictures: list[Picture], *, on_progress: Callable[[int], Any] = lambda _: None
) -> int:
    """Put those *pictures* into S3 that are not there yet; how many that were.

    *on_progress* is told the number of pictures that are there.
    """
    prefix = pictures[0].key.rpartition("/")[0] if pictures else ""
    present = _keys(s3, bucket, prefix)
    missing = [picture for picture in pictures if picture.key not in present]
    for count, picture in enumerate(missing, start=len(pictures) - len(missing) + 1):
        s3.put_object(Bucket=bucket, Key=picture.key, Body=picture.read(), ContentType=picture.content_type)
        on_progress(count)
    return len(missing)


def _keys(s3: S3Client, bucket: str, prefix: str) -> set[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix.split("/", maxsplit=1)[0])
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}
