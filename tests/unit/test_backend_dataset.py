"""Annotated tasks -> snapshot."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backend.dataset import FEW_IMAGES, Selection, Snapshot, build_snapshot, select_annotations, split_tasks
from backend.regions import IGNORE, parse_label_config
from tests.fakes import BIRDS, LABELS, annotated_task, recorded, region

CONFIG = parse_label_config(BIRDS)
TASK_IDS = st.sets(st.integers(1, 10**9), min_size=2, max_size=40)


def annotation(number: int, **changes: object) -> dict[str, object]:
    return {"id": number, "result": [region()], "was_cancelled": False, "updated_at": f"2026-01-0{number}", **changes}


def task(*annotations: dict[str, object], **changes: object) -> dict[str, Any]:
    return {"id": 7, "data": {"image": "s3://birds/a.jpg"}, "annotations": list(annotations), **changes}


def test_the_newest_annotation_counts():
    selection = select_annotations([task(annotation(1), annotation(3), annotation(2))], CONFIG)

    assert [each.annotation for each in selection.tasks] == [3]


def test_ground_truth_counts_before_newer_ones():
    selection = select_annotations([task(annotation(1, ground_truth=True), annotation(2))], CONFIG)

    assert [each.annotation for each in selection.tasks] == [1]


def test_skipped_ones_never_count_even_with_regions():
    skipped = recorded("webhook_ANNOTATION_CREATED_skipped_from_ui_with_regions")
    assert skipped["annotation"]["result"]
    tasks = [{**skipped["task"], "annotations": [skipped["annotation"]]}, task(annotation(1, was_cancelled=True))]

    assert select_annotations(tasks, CONFIG) == Selection((), 0)


def test_all_finished_annotations_are_counted():
    tasks = [task(annotation(1), annotation(2)), task(annotation(3), annotation(4, was_cancelled=True), id=8)]

    assert select_annotations(tasks, CONFIG).annotations == 3


def test_an_image_without_regions_is_background():
    selection = select_annotations([task(annotation(1, result=[]))], CONFIG)

    assert selection.tasks[0].polygons == ()


def test_a_task_as_a_target_storage_gets_it_is_read():
    selection = select_annotations([recorded("s3_target_FUTURE_SAVE_TASK")], CONFIG)

    assert len(selection.tasks) == 1
    assert selection.tasks[0].polygons


@pytest.mark.parametrize("data", [None, {}, {"image": None}, {"image": ""}, {"image": ["a", "b"]}, {"photo": "a.jpg"}])
def test_a_task_without_image_is_left_out_and_named(data: object):
    selection = select_annotations([task(annotation(1), data=data)], CONFIG)

    assert (selection.tasks, selection.annotations) == ((), 1)
    assert selection.skipped == ("task 7: no image in 'image'",)


def test_a_region_that_cannot_be_used_is_named_with_its_task():
    selection = select_annotations([task(annotation(1, result=[region(), region("Tail")]))], CONFIG)

    assert [each.class_id for each in selection.tasks[0].polygons] == [1, IGNORE]
    assert selection.skipped == (
        "task 7: label 'Tail' is not in the labeling interface: what the polygon covers is ignored",
    )


@given(TASK_IDS)
def test_both_sides_of_a_split_have_images(tasks: set[int]):
    sides = list(split_tasks(tasks).values())

    assert sides.count("train") >= 1
    assert sides.count("validation") >= (2 if len(tasks) >= FEW_IMAGES else 1)


@given(TASK_IDS.filter(lambda tasks: len(tasks) >= FEW_IMAGES), TASK_IDS)
def test_what_was_once_trained_on_is_never_validated_on(tasks: set[int], more: set[int]):
    before, after = split_tasks(tasks), split_tasks(tasks | more)
    assume(list(before.values()).count("train") > 1)  # a single one may be there only because one has to be

    assert all(after[each] == "train" for each in tasks if before[each] == "train")


@given(st.permutations(range(1, 20)))
def test_the_split_does_not_depend_on_the_order(tasks: list[int]):
    assert split_tasks(tasks) == split_tasks(range(1, 20))


def test_about_a_fifth_is_for_validation():
    sides = list(split_tasks(range(1000)).values())

    assert 150 < sides.count("validation") < 250


def test_a_single_image_is_trained_on():
    assert split_tasks([5]) == {5: "train"}
    assert split_tasks([]) == {}


def snapshot(tasks: list[dict[str, Any]], **changes: Any) -> Snapshot:
    selection = select_annotations(tasks, CONFIG)
    keys = {each.image: each.image.removeprefix("s3://birds/") for each in selection.tasks}
    return build_snapshot(selection, **{"project": 3, "labels": LABELS, "bucket": "birds", "keys": keys, **changes})


def rows(made: Snapshot) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.files["tasks.jsonl"].decode().splitlines()]


def test_a_snapshot_is_three_files():
    made = snapshot([annotated_task(number) for number in range(1, 6)])

    assert json.loads(made.files["dataset.json"]) == {
        "project": 3,
        "labels": list(LABELS),
        "annotations": 5,
        "train": 3,
        "validation": 2,
        "sha256": made.digest,
    }
    assert json.loads(made.files["images.manifest"]) == [
        {"prefix": "s3://birds/"},
        *[f"images/{number}.jpg" for number in range(1, 6)],
    ]
    assert rows(made)[0] == {
        "task": 1,
        "annotation": 1001,
        "image": "images/1.jpg",
        "split": split_tasks(range(1, 6))[1],
        "regions": [{"class_id": 1, "points": [[10.0, 10.0], [60.0, 10.0], [30.0, 70.0]]}],
    }


def test_the_same_work_makes_the_same_snapshot():
    tasks = [annotated_task(number) for number in range(1, 6)]

    assert snapshot(tasks) == snapshot(tasks[::-1])


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(snapshot([annotated_task(1), annotated_task(2, result=[])]), id="other regions"),
        pytest.param(snapshot([annotated_task(1)]), id="fewer images"),
        pytest.param(snapshot([annotated_task(1), annotated_task(2)], labels=LABELS[::-1]), id="other labels"),
        pytest.param(snapshot([annotated_task(1), annotated_task(2)], project=4), id="another project"),
    ],
)
def test_other_work_makes_another_snapshot(changed: Snapshot):
    assert changed.digest != snapshot([annotated_task(1), annotated_task(2)]).digest


def test_images_without_a_key_are_left_out():
    made = snapshot([annotated_task(1), annotated_task(2)], keys={"s3://birds/images/2.jpg": "images/2.jpg"})

    assert [row["task"] for row in rows(made)] == [2]


def test_keys_are_written_as_they_are():
    key = "bird photos/é #1 100%20?.jpg"

    made = snapshot([annotated_task(1, image=f"s3://birds/{key}"), annotated_task(2)])

    assert rows(made)[0]["image"] == key
    assert key in json.loads(made.files["images.manifest"])


def test_an_image_of_two_tasks_is_in_the_manifest_once():
    made = snapshot([annotated_task(1, image="s3://birds/a.jpg"), annotated_task(2, image="s3://birds/a.jpg")])

    assert json.loads(made.files["images.manifest"])[1:] == ["a.jpg"]
