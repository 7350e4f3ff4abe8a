"""The images of a project: birds by their seeds, or a person's photos."""

from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.pictures import bird_pictures, bird_seed, photo_pictures


def test_a_birds_key_tells_its_seed():
    (picture,) = bird_pictures("images/", range(7, 8))

    assert picture.key == "images/bird-007.jpg"
    assert bird_seed(picture.key) == 7
    assert picture.read().startswith(b"\xff\xd8")


@pytest.mark.parametrize("key", ["photos/a b.jpg", "images/bird-.jpg", "images/bird-1.png"])
def test_other_keys_have_no_seed(key: str):
    with pytest.raises(ValueError, match="not one of the demo's birds"):
        bird_seed(key)


def test_photos_are_found_in_folders_and_named_by_their_place(tmp_path: Path):
    for name in ("b.JPG", "sub/a b.png", ".hidden/x.jpg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")

    found = photo_pictures("photos/mine/", tmp_path)

    assert [(picture.key, picture.content_type) for picture in found] == [
        ("photos/mine/b.JPG", "image/jpeg"),
        ("photos/mine/sub/a b.png", "image/png"),
    ]


def test_a_folder_without_images_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(DemoError, match="has no image in it"):
        photo_pictures("photos/", tmp_path)


def test_a_folder_that_is_not_there_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(DemoError, match="is not a folder"):
        photo_pictures("photos/", tmp_path / "none")
