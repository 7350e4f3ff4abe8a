"""Annotations as Label Studio's target storage has them: both forms, and nothing read twice."""

import contextlib
import copy
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend import s3_annotations as module
from backend.dataset import select_annotations
from backend.errors import AwsAccessError, LabelConfigError
from backend.regions import parse_label_config
from backend.s3_annotations import S3Annotations, ToldProject
from backend.stored_annotations import merge_tasks, read_task
from tests import fakes
from tests.fakes import BIRDS, recorded, recorded_names

INDEX, INTERFACE = "ls/projects/annotations.index", "ls/projects/3/labeling_interface.xml"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "task", "project", "data", "annotations"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@dataclass
class FakeStore:
    """A bucket in memory that remembers what was read."""

    objects: dict[str, bytes] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)

    def etags(self, prefix: str) -> dict[str, str]:
        found = {key: body for key, body in self.objects.items() if key.startswith(prefix)}
        return {key: hashlib.md5(body, usedforsecurity=False).hexdigest() for key, body in found.items()}

    def folders(self, prefix: str) -> list[str]:
        below = [key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)]
        return sorted({key.partition("/")[0] for key in below if "/" in key})

    def get_object(self, bucket: str, key: str) -> bytes:
        self.read.append(key)
        if key in self.denied:
            raise AwsAccessError("AWS denied GetObject")
        return self.objects[key]

    def put_object(self, key: str, body: bytes) -> None:
        self.written.append(key)
        self.objects[key] = body

    def annotate(self, number: int, *, task: int | None = None, project: int = 3, **changes: object) -> None:
        """An annotation as Label Studio writes it, of a task of its own if none is named."""
        body = recorded("s3_target_one_polygon")
        body |= {"id": number, "project": project, **changes}
        body["task"] |= {"id": task or 100 + number, "project": project}
        self.objects[f"annotations/{number}"] = json.dumps(body).encode()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def annotations(tmp_path: Path, store: FakeStore) -> S3Annotations:
    return S3Annotations(fakes.settings(tmp_path), store=store)


def numbers(tasks: list[dict[str, Any]]) -> dict[int, list[int]]:
    """The ids of annotations by those of their tasks."""
    return {task["id"]: [each["id"] for each in task["annotations"]] for task in tasks}


@pytest.mark.parametrize("name", recorded_names("s3_target_*"))
def test_every_recorded_object_is_a_task_with_its_annotation(name: str):
    body = recorded(name)

    task = read_task(json.dumps(body).encode())

    assert task is not None
    assert task["project"] == body["project"]
    assert task["data"]["image"]
    assert len(task["annotations"]) == 1
    assert task["annotations"][0]["result"] == (body["annotations"][0] if "annotations" in body else body)["result"]


def test_skipped_and_empty_annotations_and_ground_truth_count_as_in_an_export():
    names = ["one_polygon", "four_polygons", "empty_result", "skipped", "ground_truth"]
    tasks = [read_task(json.dumps(recorded(f"s3_target_{name}")).encode()) for name in names]

    selection = select_annotations(merge_tasks([task for task in tasks if task]), parse_label_config(BIRDS))

    assert selection.annotations == 4  # of five
    assert {each.annotation: len(each.polygons) for each in selection.tasks} == {1: 1, 2: 4, 3: 0, 5: 2}


def test_annotations_of_one_task_come_together(annotations: S3Annotations, store: FakeStore):
    store.annotate(1, task=7)
    store.annotate(2, task=8)
    store.annotate(3, task=7)

    assert numbers(annotations.annotated_tasks(3)) == {7: [1, 3], 8: [2]}


def test_an_object_of_each_task_is_as_good_as_one_of_each_annotation(annotations: S3Annotations, store: FakeStore):
    task = recorded("s3_target_FUTURE_SAVE_TASK")
    second = copy.deepcopy(task["annotations"][0]) | {"id": 26}
    task["annotations"].append(second)
    store.objects["annotations/543.json"] = json.dumps(task).encode()

    assert numbers(annotations.annotated_tasks(51)) == {543: [25, 26]}
    assert annotations.annotated_tasks(51)[0]["data"] == task["data"]


def test_an_annotation_that_is_there_in_both_forms_counts_once_as_the_newer_says(
    annotations: S3Annotations, store: FakeStore
):
    task = recorded("s3_target_FUTURE_SAVE_TASK")
    store.objects["annotations/543.json"] = json.dumps(task).encode()
    store.annotate(25, task=543, project=51, updated_at="2020-01-01T00:00:00Z", was_cancelled=True)

    found = annotations.annotated_tasks(51)

    assert numbers(found) == {543: [25]}
    assert found[0]["annotations"][0]["was_cancelled"] is False
    assert found[0]["data"] == task["data"]


def test_another_projects_annotations_in_the_same_folder_are_left_alone(annotations: S3Annotations, store: FakeStore):
    store.annotate(1)
    store.annotate(2, project=4)

    assert numbers(annotations.annotated_tasks(3)) == {101: [1]}
    assert numbers(annotations.annotated_tasks(4)) == {102: [2]}


def test_the_storage_may_be_given_with_a_slash_at_its_end(annotations: S3Annotations, store: FakeStore):
    store.annotate(1)
    store.objects = {"annotations//1": store.objects["annotations/1"]}

    assert numbers(annotations.annotated_tasks(3)) == {101: [1]}


def test_what_is_no_annotation_is_left_out_and_told_once(
    annotations: S3Annotations, store: FakeStore, caplog: pytest.LogCaptureFixture
):
    store.annotate(1)
    store.objects |= {
        "annotations/": b"",
        "annotations/readme.txt": b"x",
        "annotations/old/2": b"{}",
        "annotations/5": b"\xff",
        "annotations/6": b'{"id": 6, "task": 6}',
        "annotations-of-others/7": b"{}",
    }

    for _ in range(2):
        assert numbers(annotations.annotated_tasks(3)) == {101: [1]}

    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "2 object(s) among the annotations are none, such as annotations/old/2, annotations/readme.txt",
        "1 object(s) among the annotations are none, such as annotations/5",
        "1 object(s) among the annotations are none, such as annotations/6",
    ]
    assert "annotations/readme.txt" not in store.read


@given(JSON)
def test_whatever_an_object_holds_is_a_task_or_nothing(value: object):
    task = read_task(json.dumps(value).encode())

    if task is not None:
        with contextlib.suppress(TypeError):  # ids that are no ids never come so far
            merge_tasks([task])
        assert isinstance(task["id"], int)


def test_only_what_changed_is_read_again(annotations: S3Annotations, store: FakeStore):
    for number in (1, 2, 3):
        store.annotate(number)
    annotations.annotated_tasks(3)
    store.read.clear()
    store.annotate(2, was_cancelled=True)
    store.annotate(4)

    tasks = annotations.annotated_tasks(3)

    assert sorted(store.read) == ["annotations/2", "annotations/4"]
    assert numbers(tasks) == {101: [1], 102: [2], 103: [3], 104: [4]}
    assert tasks[1]["annotations"][0]["was_cancelled"] is True


def test_what_was_deleted_is_forgotten(annotations: S3Annotations, store: FakeStore):
    store.annotate(1)
    store.annotate(2)
    annotations.annotated_tasks(3)
    del store.objects["annotations/1"]

    assert numbers(annotations.annotated_tasks(3)) == {102: [2]}


def test_what_memory_has_no_room_for_is_read_each_time(
    annotations: S3Annotations, store: FakeStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    store.annotate(1)

    for _ in range(2):
        assert numbers(annotations.annotated_tasks(3)) == {101: [1]}
    assert store.read == ["annotations/1"] * 2


def test_an_annotation_that_may_not_be_read_is_an_error_and_not_left_out(annotations: S3Annotations, store: FakeStore):
    store.annotate(1)
    store.denied.add("annotations/1")

    with pytest.raises(AwsAccessError):
        annotations.annotated_tasks(3)


def test_a_look_without_an_event_counts_one_by_one(annotations: S3Annotations, store: FakeStore):
    annotations.remember(ToldProject(3, BIRDS, 99))
    store.annotate(1, task=7)
    store.annotate(2, task=7)
    store.annotate(3, was_cancelled=True)
    store.annotate(4, project=4)

    assert annotations.project(3) == ToldProject(3, BIRDS, 2)


def test_a_fresh_instance_counts_without_reading_what_another_has_read(tmp_path: Path, store: FakeStore):
    settings = fakes.settings(tmp_path)
    first = S3Annotations(settings, store=store)
    first.remember(ToldProject(3, BIRDS, 99))
    store.annotate(1, task=7)
    store.annotate(2, task=7)
    store.annotate(3, was_cancelled=True)
    store.annotate(4, project=4)
    first.project(3)
    store.read.clear()
    store.annotate(5)

    assert S3Annotations(settings, store=store).project(3) == ToldProject(3, BIRDS, 3)
    assert store.read == [INTERFACE, INDEX, "annotations/5"]


def test_while_nothing_changes_nothing_is_read_or_written_again(annotations: S3Annotations, store: FakeStore):
    annotations.remember(ToldProject(3, BIRDS, 99))
    store.annotate(1)
    annotations.project(3)
    before = dict(store.objects)
    store.read.clear()
    store.written.clear()

    assert annotations.project(3).annotations == 1
    assert (store.read, store.written) == ([INTERFACE], [])
    assert store.objects == before


def test_what_was_edited_or_deleted_counts_as_it_is_now(tmp_path: Path, store: FakeStore):
    settings = fakes.settings(tmp_path)
    first = S3Annotations(settings, store=store)
    first.remember(ToldProject(3, BIRDS, 99))
    for number in (1, 2, 3):
        store.annotate(number)
    assert first.project(3).annotations == 3
    store.annotate(1, was_cancelled=True)
    del store.objects["annotations/2"]

    for each in (first, S3Annotations(settings, store=store)):
        assert each.project(3).annotations == 1


@pytest.mark.parametrize("body", [b"", b"no zlib", zlib.compress(b"[]"), zlib.compress(b'{"annotations/1": 5}')])
def test_an_index_that_cannot_be_read_is_made_anew(annotations: S3Annotations, store: FakeStore, body: bytes):
    annotations.remember(ToldProject(3, BIRDS, 99))
    store.annotate(1)
    store.objects[INDEX] = body

    assert annotations.project(3).annotations == 1
    assert store.objects[INDEX] != body


def test_a_look_that_is_cut_short_leaves_what_it_has_read_to_the_next(
    tmp_path: Path, store: FakeStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_SAVED_EACH", 2)
    settings = fakes.settings(tmp_path)
    first = S3Annotations(settings, store=store)
    first.remember(ToldProject(3, BIRDS, 99))
    for number in range(1, 6):
        store.annotate(number)
    store.denied.add("annotations/5")
    with pytest.raises(AwsAccessError):
        first.project(3)
    store.denied.clear()
    store.read.clear()

    assert S3Annotations(settings, store=store).project(3).annotations == 5
    assert store.read == [INTERFACE, INDEX, "annotations/5"]


def test_a_training_reads_none_of_other_projects_annotations_that_are_known(tmp_path: Path, store: FakeStore):
    settings = fakes.settings(tmp_path)
    first = S3Annotations(settings, store=store)
    first.remember(ToldProject(3, BIRDS, 99))
    store.annotate(1)
    store.annotate(2, project=4)
    first.project(3)
    store.read.clear()

    assert numbers(S3Annotations(settings, store=store).annotated_tasks(3)) == {101: [1]}
    assert store.read == [INDEX, "annotations/1"]


def test_a_project_that_no_event_told_of_cannot_be_trained_on_yet(annotations: S3Annotations, store: FakeStore):
    store.annotate(1)

    with pytest.raises(LabelConfigError, match="the next event of Label Studio tells it"):
        annotations.project(3)
    assert store.read == []


def test_the_labeling_interface_is_written_when_it_is_another(annotations: S3Annotations, store: FakeStore):
    other = BIRDS.replace("Beak", "Schnabel")
    written = []
    for interface in (BIRDS, BIRDS, other, BIRDS):
        before = dict(store.objects)
        annotations.remember(ToldProject(3, interface, 1))
        written.append(store.objects != before)

    assert written == [True, False, True, True]
    assert store.objects == {"ls/projects/3/labeling_interface.xml": BIRDS.encode()}


def test_the_known_projects_are_those_with_a_folder(annotations: S3Annotations, store: FakeStore):
    annotations.remember(ToldProject(12, BIRDS, 1))
    store.objects |= {"ls/projects/3/datasets/abc/dataset.json": b"{}", "ls/projects/notes/x": b"", "ls/other/5/x": b""}

    assert annotations.projects() == [3, 12]
