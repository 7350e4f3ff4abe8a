"""The channels: pairs by name; what cannot be used is skipped by name, what cannot be meant is refused."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmenter import data
from segmenter.container import Container
from segmenter.data import Channel
from segmenter.errors import DataError
from tests.segmenter_job import SIZE_WH, Job, draw_mask


def load(job: Job, name: str = "train", num_classes: int = 3) -> Channel:
    return data.load(Container(job.base), name, side=64, num_classes=num_classes)


def test_images_and_masks_are_paired_by_name_and_shrunk_together(tmp_path: Path):
    channel = load(Job.make(tmp_path, train=3))
    assert [sample.name for sample in channel.samples] == ["bird 0", "bird 1", "bird 2"]
    assert {sample.image.shape for sample in channel.samples} == {(50, 64, 3)}
    assert {sample.mask.shape for sample in channel.samples} == {(50, 64)}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param("no mask", "its mask train_annotation/bird 1.png is missing", id="mask missing"),
        pytest.param("small mask", "the image is 72 x 56, its mask 36 x 28 pixels", id="mask of another size"),
        pytest.param("colour mask", "one channel of 8 bits", id="mask in colour"),
        pytest.param("no image", "not an image that can be read", id="corrupt image"),
    ],
)
def test_a_pair_that_cannot_be_used_is_skipped_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: str, reason: str
):
    job = Job.make(tmp_path, train=3)
    image, mask = job.channel("train") / "bird 1.jpg", job.channel("train_annotation") / "bird 1.png"
    match spoil:
        case "no mask":
            mask.unlink()
        case "small mask":
            Image.fromarray(draw_mask(1)).resize((SIZE_WH[0] // 2, SIZE_WH[1] // 2)).save(mask)
        case "colour mask":
            Image.new("RGB", SIZE_WH).save(mask)
        case "no image":
            image.write_bytes(b"not a picture")
    with caplog.at_level(logging.INFO):
        channel = load(job)
    assert [sample.name for sample in channel.samples] == ["bird 0", "bird 2"]
    assert channel.skipped[0].startswith("bird 1.jpg: ")
    assert reason in channel.skipped[0]
    assert "train: 2 images, 1 skipped" in caplog.text


@pytest.mark.parametrize("channel", ["train", "validation"])
def test_an_empty_channel_is_refused_by_name(tmp_path: Path, channel: str):
    job = Job.make(tmp_path, train=0, validation=0)
    with pytest.raises(DataError, match=rf"channel {channel} holds no usable pair .*\(0 skipped\)"):
        load(job, channel)


def test_a_channel_of_nothing_but_bad_files_says_what_was_wrong_with_the_first(tmp_path: Path):
    job = Job.make(tmp_path, train=0)
    (job.channel("train") / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 skipped, the first a\.jpg: its mask train_annotation/a\.png is missing"):
        load(job)


def test_class_ids_beyond_num_classes_are_refused_with_the_masks_name(tmp_path: Path):
    job = Job.make(tmp_path, train=2)
    with pytest.raises(DataError, match=r"mask bird 0\.png holds the class ids \[2\], but num_classes=2 allows 0 to 1"):
        load(job, num_classes=2)


def test_255_is_no_class_and_is_not_counted(tmp_path: Path):
    job = Job.make(tmp_path, train=0)
    mask = draw_mask(0)
    mask[:, :20] = 255
    job.add("train", "a", seed=0, mask=mask)
    samples = load(job).samples
    assert 255 in samples[0].mask
    assert sum(data.class_pixels(samples, 3)) == int((samples[0].mask != 255).sum())


def test_files_that_are_no_images_are_left_alone(tmp_path: Path):
    job = Job.make(tmp_path, train=1)
    (job.channel("train") / "manifest.json").write_text("{}")
    assert load(job).skipped == []


def test_the_digest_names_the_data(tmp_path: Path):
    first, same = Job.make(tmp_path / "a", train=2), Job.make(tmp_path / "b", train=2)
    assert load(first).digest == load(same).digest
    same.add("train", "one more", seed=9)
    assert load(first).digest != load(same).digest
    assert np.array_equal(load(first).samples[0].mask, load(same).samples[0].mask)
