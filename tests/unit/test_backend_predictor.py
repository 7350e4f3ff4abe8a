"""Tasks -> predictions: one item a task, in order, whatever happens to one of them."""

import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.errors import AwsError, ImageAwayError, ImageError
from backend.predictor import MAX_ANSWER_BYTES, Outcome, Predictor
from backend.recordio import MEDIA_TYPE
from backend.regions import parse_label_config
from backend.state import ProjectState
from tests import fakes
from tests.fakes import BIRDS, LABELS, FakeCloud, FakeImages, encoded, photo
from tests.unit.test_backend_recordio import framed, record

CONFIG = parse_label_config(BIRDS)
LIVE = ProjectState(3, live="birds v1", labels=LABELS)


def size_of(jpeg: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(jpeg)).size


def half_head(jpeg: bytes, accept: str) -> bytes:
    """An endpoint that sees a head in the left half of every image."""
    width, height = size_of(jpeg)
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = 2
    if accept == MEDIA_TYPE:
        classes = np.arange(len(LABELS) + 1)[:, None, None]
        return framed(record(np.where(classes == mask, 0.8, 0.05).astype(np.float32)))
    return encoded(Image.fromarray(mask))


def tasks(*references: object) -> list[dict[str, Any]]:
    return [{"id": number, "data": {"image": each}} for number, each in enumerate(references, 1)]


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud(answer=half_head)


@pytest.fixture
def predict(tmp_path: Path, cloud: FakeCloud) -> Callable[..., list[Outcome]]:
    images = FakeImages(
        {"/a.jpg": photo(), "/b.jpg": photo(100, 100), "/broken.jpg": b"broken", "/huge.jpg": photo(900, 900)}
    )
    predictor = Predictor(fakes.settings(tmp_path, predict_side=600), inference=cloud, images=images)

    def run(*references: object, state: ProjectState = LIVE, seconds: float = 10) -> list[Outcome]:
        deadline = time.monotonic() + seconds
        return predictor.predict(tasks(*references), config=CONFIG, state=state, deadline=deadline)

    return run


def test_a_prediction_is_what_label_studio_stores(predict: Callable[..., list[Outcome]]):
    (outcome,) = predict("/a.jpg")

    item: Any = json.loads(json.dumps(outcome.item, allow_nan=False))
    assert item.keys() == {"result", "score", "model_version"}
    assert item["model_version"] == "birds v1"
    (region,) = item["result"]
    assert region["score"] == pytest.approx(0.8, abs=0.01)
    assert 0 < item["score"] < region["score"]  # of the whole image, whose every class is in doubt
    assert region["value"]["polygonlabels"] == ["Head"]
    assert (region["original_width"], region["original_height"]) == (64, 48)
    assert max(x for x, _ in region["value"]["points"]) == pytest.approx(50, abs=1)


def test_there_is_one_item_a_task_in_order(predict: Callable[..., list[Outcome]]):
    outcomes = predict("/a.jpg", "/broken.jpg", "/missing.jpg", None, 5, "/b.jpg")

    assert [bool(each.item) for each in outcomes] == [True, False, False, False, False, True]
    assert all(each.item == {} for each in outcomes[1:5])
    assert predict() == []


def test_the_empty_image_is_a_prediction_without_regions(predict: Callable[..., list[Outcome]], cloud: FakeCloud):
    def nothing(jpeg: bytes, accept: str) -> bytes:
        classes = np.arange(len(LABELS) + 1)[:, None, None]
        return framed(record(np.where(classes == np.zeros(size_of(jpeg)[::-1]), 0.9, 0.025).astype(np.float32)))

    cloud.answer = nothing

    assert predict("/a.jpg")[0].item["result"] == []


def test_an_image_is_sent_as_large_as_an_answer_with_all_probabilities_may_be(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud
):
    asked = []

    def answer(jpeg: bytes, accept: str) -> bytes:
        asked.append((accept, size_of(jpeg)))
        return half_head(jpeg, accept)

    cloud.answer = answer
    (outcome,) = predict("/huge.jpg")
    predict("/a.jpg")

    assert asked == [(MEDIA_TYPE, (524, 524)), (MEDIA_TYPE, (64, 48))]
    assert 4 * 5 * 524**2 <= MAX_ANSWER_BYTES < 4 * 5 * 525**2
    assert outcome.item["score"]


def test_with_very_many_labels_masks_are_asked_for_since_probabilities_would_be_too_coarse(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud
):
    asked = []

    def answer(jpeg: bytes, accept: str) -> bytes:
        asked.append((accept, size_of(jpeg)))
        return half_head(jpeg, accept)

    cloud.answer = answer
    labels = (*LABELS, *map(str, range(21 - len(LABELS))))
    (outcome,) = predict("/huge.jpg", state=ProjectState(3, live="birds v1", labels=labels))

    assert asked == [("image/png", (600, 600))]
    assert [each["value"]["polygonlabels"] for each in outcome.item["result"]] == [["Head"]]  # type: ignore[attr-defined]
    assert "score" not in outcome.item


def test_a_model_whose_labels_are_not_known_is_asked_for_masks(predict: Callable[..., list[Outcome]]):
    (outcome,) = predict("/a.jpg", state=ProjectState(3, live="birds v1"))

    assert outcome.item["result"]


def test_a_models_own_labels_name_what_it_sees(predict: Callable[..., list[Outcome]], cloud: FakeCloud):
    state = ProjectState(3, live="birds v1", labels=("Tail", "WING"))
    cloud.answer = lambda jpeg, accept: framed(
        record(np.stack([np.full(size_of(jpeg)[::-1], value, np.float32) for value in (0.1, 0.1, 0.8)]))
    )

    (outcome,) = predict("/a.jpg", state=state)

    assert [each["value"]["polygonlabels"] for each in outcome.item["result"]] == [["Wing"]]  # type: ignore[attr-defined]


INSECTS = parse_label_config(BIRDS.replace("Wing", "Leg").replace("Beak", "Feeler").replace("Head", "Eye"))


@pytest.fixture
def insects(tmp_path: Path, cloud: FakeCloud) -> Callable[..., list[Outcome]]:
    """Predicts for an interface that has no label of birds but ``Body``."""
    predictor = Predictor(fakes.settings(tmp_path), inference=cloud, images=FakeImages({"/a.jpg": photo()}))

    def run(*labels: str) -> list[Outcome]:
        state = ProjectState(3, live="birds v1", labels=labels)
        return predictor.predict(tasks("/a.jpg", "/a.jpg"), config=INSECTS, state=state, deadline=time.monotonic() + 10)

    return run


def test_a_model_that_has_no_label_in_common_with_the_interface_gives_no_prediction(
    insects: Callable[..., list[Outcome]], caplog: pytest.LogCaptureFixture
):
    outcomes = [outcome for _ in range(3) for outcome in insects("Beak", "Head")]

    assert [(each.item, each.retry) for each in outcomes] == [({}, False)] * 6
    told = "the model birds v1 knows Beak, Head; the labeling interface has Feeler, Eye, Leg, Body"
    assert {told in str(each.error) for each in outcomes} == {True}
    assert caplog.text.count(told) == 1


def test_a_mismatch_of_labels_is_told_again_after_it_was_away(
    insects: Callable[..., list[Outcome]], caplog: pytest.LogCaptureFixture
):
    for labels in (("Beak",), ("Body",), ("Beak",)):
        insects(*labels)

    assert caplog.text.count("knows Beak;") == 2


def test_of_labels_that_the_interface_has_in_part_the_others_are_left_out(insects: Callable[..., list[Outcome]]):
    outcomes = insects("Body", "Head", "Wing", "Tail")  # it sees class 2 only

    assert [each.item["result"] for each in outcomes] == [[], []]


def test_an_endpoint_with_another_number_of_classes_gives_no_prediction(predict: Callable[..., list[Outcome]]):
    (outcome,) = predict("/a.jpg", state=ProjectState(3, live="birds v1", labels=("Beak",)))

    assert outcome.item == {}
    assert "wanted probabilities of 2 classes" in str(outcome.error)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(b"", "no RecordIO record", id="empty"),
        pytest.param(
            framed(record(np.zeros((2, 4, 4), np.float32))), "wanted probabilities of 5 classes", id="other classes"
        ),
    ],
)
def test_an_answer_that_cannot_be_used_is_asked_for_again(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud, answer: bytes, problem: str
):
    cloud.answer = lambda _jpeg, _accept: answer

    (outcome,) = predict("/a.jpg")

    assert (outcome.item, outcome.retry) == ({}, True)
    assert problem in str(outcome.error)


@pytest.mark.parametrize("answer", [b"", b"\x89PNG\r\n\x1a\n broken", encoded(Image.new("L", (9, 9)))[:-24]])
def test_a_mask_that_is_no_image_is_asked_for_again(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud, answer: bytes
):
    cloud.answer = lambda _jpeg, _accept: answer

    (outcome,) = predict("/a.jpg", state=ProjectState(3, live="birds v1"))

    assert (outcome.item, outcome.retry) == ({}, True)
    assert "no PNG mask" in str(outcome.error)


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        pytest.param(AwsError("throttled"), True, id="the endpoint failed"),
        pytest.param(ImageAwayError("S3 is away"), True, id="the image cannot be had now"),
        pytest.param(ImageError("it is no image"), False, id="the image is broken"),
        pytest.param(None, False, id="all is well"),
    ],
)
def test_what_may_succeed_later_is_worth_another_try(error: AwsError | ImageError | None, retry: bool):
    assert Outcome({}, error).retry is retry


@pytest.mark.parametrize("labels", [LABELS, ()], ids=["probabilities", "mask"])
def test_an_answer_of_a_model_that_is_not_live_yet_is_asked_for_again(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud, labels: tuple[str, ...]
):
    cloud.answering = 2

    (outcome,) = predict("/a.jpg", state=ProjectState(3, live="birds v1", labels=labels))

    assert (outcome.item, outcome.retry) == ({}, True)
    assert "wanted an answer of birds v1, got one of birds v2" in str(outcome.error)


def test_an_endpoint_that_does_not_tell_its_version_is_believed(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud
):
    cloud.answering = None

    assert predict("/a.jpg")[0].item["model_version"] == "birds v1"


def test_a_fault_of_ours_harms_one_task_and_is_not_repeated(
    predict: Callable[..., list[Outcome]], cloud: FakeCloud, caplog: pytest.LogCaptureFixture
):
    def answer(jpeg: bytes, accept: str) -> bytes:
        if size_of(jpeg) == (64, 48):
            raise ZeroDivisionError
        return half_head(jpeg, accept)

    cloud.answer = answer

    first, second = predict("/a.jpg", "/b.jpg")

    assert (first.item, first.retry) == ({}, False)
    assert second.item
    assert "ZeroDivisionError" in caplog.text


def test_what_is_not_there_in_time_is_an_empty_item(predict: Callable[..., list[Outcome]], cloud: FakeCloud):
    release = threading.Event()

    def answer(jpeg: bytes, accept: str) -> bytes:
        if size_of(jpeg) == (64, 48):
            release.wait(10)
        return half_head(jpeg, accept)

    cloud.answer = answer
    started = time.monotonic()
    try:
        slow, fast = predict("/a.jpg", "/b.jpg", seconds=0.3)
    finally:
        release.set()

    assert time.monotonic() - started < 5
    assert (slow.item, slow.retry) == ({}, True)
    assert fast.item


def test_after_the_deadline_the_endpoint_is_not_asked(predict: Callable[..., list[Outcome]], cloud: FakeCloud):
    asked = []
    cloud.answer = lambda jpeg, accept: asked.append(jpeg) or half_head(jpeg, accept)  # type: ignore[func-returns-value]

    outcomes = predict("/a.jpg", "/b.jpg", seconds=-1)

    assert [each.item for each in outcomes] == [{}, {}]
    assert asked == []


@pytest.mark.parametrize("data", [None, [], "x", 5, {"photo": "/a.jpg"}])
def test_a_task_whose_data_is_no_object_is_an_image_error(tmp_path: Path, cloud: FakeCloud, data: object):
    predictor = Predictor(fakes.settings(tmp_path), inference=cloud, images=FakeImages())

    (outcome,) = predictor.predict([{"id": 1, "data": data}], config=CONFIG, state=LIVE, deadline=time.monotonic() + 5)

    assert "wanted an image address in the task's 'image'" in str(outcome.error)


def test_what_nobody_waits_for_is_begun_when_nobody_waits_for_anything_else(tmp_path: Path, cloud: FakeCloud):
    asked, answers = threading.Event(), threading.Event()

    def slow(jpeg: bytes, accept: str) -> bytes:
        asked.set()
        answers.wait(60)
        return half_head(jpeg, accept)

    cloud.answer = slow
    images = FakeImages({"/a.jpg": photo(), "/b.jpg": photo()})
    predictor = Predictor(fakes.settings(tmp_path), inference=cloud, images=images)
    opened, other = tasks("/a.jpg", "/b.jpg")

    def predict() -> None:
        predictor.predict([opened], config=CONFIG, state=LIVE, deadline=time.monotonic() + 60)

    def later(seconds: float) -> Outcome:
        return predictor.predict_later(other, config=CONFIG, state=LIVE, deadline=time.monotonic() + seconds)

    person = threading.Thread(target=predict)
    person.start()
    assert asked.wait(60)
    refused = later(0.0)
    answers.set()
    person.join()

    assert (refused.item, refused.retry) == ({}, True)
    assert later(60).item
