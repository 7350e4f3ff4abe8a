"""Images that were made ready are kept: bounded, whole, for an hour, for their project alone."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.image_cache import ImageCache, PreparedImage, cache_key


def image(number: int = 0, size: int = 1000) -> PreparedImage:
    return PreparedImage(number.to_bytes(2, "big") * (size // 2), (512, 384), (4000 + number, 3000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def cache(folder: Path) -> ImageCache:
    return ImageCache(folder, megabytes=1)


def kept_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_was_put_is_there_for_every_process(cache: ImageCache, folder: Path):
    cache.put("a", image(1))

    assert cache.get("a") == image(1)
    assert ImageCache(folder, megabytes=1).get("a") == image(1)
    assert cache.get("b") is None


def test_without_room_nothing_is_kept(folder: Path):
    cache = ImageCache(folder, megabytes=0)
    cache.put("a", image())

    assert cache.get("a") is None
    assert not folder.exists()


@pytest.mark.parametrize("processes", [1, 4])
def test_several_processes_together_stay_within_the_room(folder: Path, processes: int):
    caches = [ImageCache(folder, megabytes=1, processes=processes) for _ in range(processes)]

    for number in range(400):
        caches[number % processes].put(f"{number}", image(number, 10_000))
        assert kept_bytes(folder) <= 2**20

    assert kept_bytes(folder) > 2**19


def test_what_was_not_used_for_longest_goes_first(cache: ImageCache, folder: Path):
    for number in range(60):
        cache.put(f"{number}", image(number, 10_000))
        os.utime(folder / f"{number}", (time.time() - 1000 + number, time.time()))
    assert cache.get("0") == image(0, 10_000)  # used again, so it is the newest now

    ImageCache(folder, megabytes=1).put("new", image(99, 200_000))
    ImageCache(folder, megabytes=1).put("newer", image(99, 200_000))

    assert cache.get("0") == image(0, 10_000)
    assert cache.get("1") is None
    assert cache.get("59") == image(59, 10_000)


def test_an_image_that_would_take_most_of_the_room_is_not_kept(cache: ImageCache):
    cache.put("a", image(1))
    cache.put("large", image(2, 900_000))

    assert cache.get("large") is None
    assert cache.get("a") == image(1)


@pytest.mark.parametrize("seconds", [3700, -3700], ids=["old", "from the future"])
def test_after_an_hour_it_is_fetched_again(cache: ImageCache, folder: Path, seconds: int):
    cache.put("a", image(1))
    os.utime(folder / "a", (time.time(), time.time() - seconds))

    assert cache.get("a") is None
    cache.put("a", image(2))
    assert cache.get("a") == image(2)


def test_being_used_does_not_make_it_younger(cache: ImageCache, folder: Path):
    cache.put("a", image(1))
    os.utime(folder / "a", (time.time(), time.time() - 3000))
    fetched = (folder / "a").stat().st_mtime_ns

    assert cache.get("a") == image(1)
    assert (folder / "a").stat().st_mtime_ns == fetched


@pytest.mark.parametrize("place", [0, 3, 5, 9, 20, 30, 500])
def test_a_damaged_entry_is_dropped(cache: ImageCache, folder: Path, place: int):
    cache.put("a", image(1))
    body = bytearray((folder / "a").read_bytes())
    body[place] ^= 1
    (folder / "a").write_bytes(body)

    assert cache.get("a") is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 8, 23, 24, 100])
def test_an_entry_that_was_cut_off_is_dropped(cache: ImageCache, folder: Path, size: int):
    cache.put("a", image(1))
    os.truncate(folder / "a", size)

    assert cache.get("a") is None
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_does_no_harm_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_bytes(b"")
    cache = ImageCache(tmp_path / "file" / "images", megabytes=1)

    for number in range(3):
        cache.put("a", image(number))

    assert cache.get("a") is None
    assert caplog.text.count("cannot be kept") == 1


def test_a_folder_that_somebody_deleted_is_made_again(cache: ImageCache, folder: Path):
    cache.put("a", image(1))
    (folder / "a").unlink()
    folder.rmdir()

    cache.put("b", image(2))

    assert cache.get("b") == image(2)


def test_on_a_full_disk_nothing_half_written_is_left(cache: ImageCache, folder: Path, monkeypatch: pytest.MonkeyPatch):
    cache.put("a", image(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.put("b", image(2))

    assert [path.name for path in folder.iterdir()] == ["a"]
    assert cache.get("a") == image(1)


def test_what_a_process_that_was_killed_was_writing_is_removed(folder: Path):
    folder.mkdir()
    (folder / ".writing-old").write_bytes(b"x" * 1000)
    os.utime(folder / ".writing-old", (0, 0))
    (folder / ".writing-new").write_bytes(b"x")  # of another process, which is at it

    ImageCache(folder, megabytes=1).put("a", image())

    assert sorted(path.name for path in folder.iterdir()) == [".writing-new", "a"]


WORKER = """
import sys
from pathlib import Path
from backend.image_cache import ImageCache, PreparedImage
cache = ImageCache(Path(sys.argv[1]), megabytes=1, processes=3)
for number in range(600):
    key = str(number * int(sys.argv[2]) % 97)
    wanted = PreparedImage(key.encode() * 10_000, (int(key) + 1, 1), (1, 1))
    found = cache.get(key)
    assert found is None or found == wanted, key
    cache.put(key, wanted)
"""


def test_processes_that_write_and_delete_at_once_never_read_half_an_image(folder: Path):
    command = [sys.executable, "-c", WORKER, str(folder)]
    workers = [subprocess.Popen([*command, str(step)], stderr=subprocess.PIPE) for step in (1, 5, 7)]

    ended = [(worker.communicate(timeout=100)[1], worker.returncode) for worker in workers]

    assert ended == [(b"", 0)] * 3
    assert kept_bytes(folder) <= 2**20


def key(reference: str, project: int = 3, side: int = 512) -> str:
    return cache_key(reference, project=project, side=side)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            "https://b.s3.amazonaws.com/a.jpg?X-Amz-Date=1&X-Amz-Signature=1",
            "https://b.s3.amazonaws.com/a.jpg?X-Amz-Date=2&X-Amz-Signature=2",
            id="S3",
        ),
        pytest.param(
            "https://b.s3.amazonaws.com/a.jpg?AWSAccessKeyId=a&Signature=1&Expires=1",
            "https://b.s3.amazonaws.com/a.jpg?AWSAccessKeyId=b&Signature=2&Expires=2",
            id="S3, the older form",
        ),
        pytest.param(
            "https://x.blob.core.windows.net/c/a.jpg?sv=1&se=1&sig=1",
            "https://x.blob.core.windows.net/c/a.jpg?sv=1&se=2&sig=2",
            id="Azure",
        ),
        pytest.param(
            "https://storage.googleapis.com/b/a.jpg?X-Goog-Date=1&X-Goog-Signature=1",
            "https://storage.googleapis.com/b/a.jpg?X-Goog-Date=2&X-Goog-Signature=2",
            id="Google",
        ),
    ],
)
def test_an_address_that_was_signed_anew_is_the_same_image_for_its_project_and_not_for_another(first: str, second: str):
    assert key(first) == key(second)
    assert key(first) != key(second, project=4)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("https://x.example/a?id=1", "https://x.example/a?id=2", id="a query that chooses"),
        pytest.param(
            "https://x.example/a?id=1&sig=1", "https://x.example/a?id=2&sig=1", id="a query beside a signature"
        ),
        pytest.param(
            "https://x.example/a?k=%ff&sig=1", "https://x.example/a?k=%fe&sig=1", id="bytes that are no UTF-8"
        ),
        pytest.param("https://x.example/a?k=日&sig=1", "https://x.example/a?k=本&sig=1", id="what should be encoded"),
        pytest.param("https://x.example/a?se=1", "https://x.example/a?se=2", id="no signature"),
        pytest.param("https://x.example/a?sig=1", "http://x.example/a?sig=1", id="another protocol"),
        pytest.param("https://x.example/a?sig=1", "https://y.example/a?sig=1", id="another host"),
        pytest.param("s3://b/a?X-Amz-Signature=1", "s3://b/a?X-Amz-Signature=2", id="keys in S3 have no query"),
        pytest.param("/data/local-files/?d=a.jpg", "/data/local-files/?d=b.jpg", id="local files"),
    ],
)
def test_other_images_have_other_keys(first: str, second: str):
    assert key(first) != key(second)


def test_an_image_at_another_size_is_another_one():
    assert key("s3://b/a") != key("s3://b/a", side=256)


def test_a_key_is_the_name_of_a_file_and_tells_nothing():
    assert set(key("s3://secret/../../etc/passwd")) <= set("0123456789abcdef")
