"""A person's own photos and labels."""

from pathlib import Path

import pytest

from demo.birds import LABELS
from demo.command import chosen_labels
from demo.errors import DemoError
from demo.projects import own_photos


@pytest.mark.parametrize(
    ("named", "labels"),
    [
        pytest.param(" Wheel, Door ,Wheel,", ("Wheel", "Door"), id="each once"),
        pytest.param(None, LABELS, id="none"),
        pytest.param(" , ", LABELS, id="only commas"),
    ],
)
def test_the_labels_of_ones_own_photos_are_those_that_were_named(named: str | None, labels: tuple[str, ...]):
    assert chosen_labels(named, Path("photos")) == labels


def test_labels_without_photos_are_refused_with_advice():
    with pytest.raises(DemoError, match="give IMAGES=folder too"):
        chosen_labels("Wheel", None)


def test_two_folders_of_one_name_make_two_projects(tmp_path: Path):
    folders = [tmp_path / year / ("summer holidays " * 4).strip() for year in ("2023", "2024")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "a.jpg").touch()

    first, second = map(own_photos, folders)

    assert first.title != second.title
    assert max(len(first.title), len(second.title)) <= 50
    assert {picture.key for picture in first.pictures}.isdisjoint(picture.key for picture in second.pictures)
    assert own_photos(folders[0]).title == first.title
