"""Annotated tasks -> an immutable dataset snapshot. Pure.

A snapshot is three files under ``datasets/<sha256>/``: ``tasks.jsonl`` (one labelled image a line), ``images.manifest``
(the images, as SageMaker's ManifestFile) and ``dataset.json`` (labels and counts). The digest is over the
labels and the first file, so the same work always makes the same snapshot.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.regions import IGNORE, LabelConfig, LabelledPolygon, read_regions

VALIDATION_SHARE = 0.2
FEW_IMAGES = 4  # from here on at least two images are kept for validation, below it one


@dataclass(frozen=True, slots=True)
class LabelledTask:
    """One task with the annotation that counts for it; *image* is the reference as Label Studio stores it."""

    task: int
    annotation: int
    image: str
    polygons: tuple[LabelledPolygon, ...]

    @property
    def shows_something(self) -> bool:
        """Whether there is anything to learn from it but background."""
        return any(polygon.class_id != IGNORE for polygon in self.polygons)


@dataclass(frozen=True, slots=True)
class Selection:
    """What can be trained on: one annotation a task, how many count in all, and why the others were left out."""

    tasks: tuple[LabelledTask, ...]
    annotations: int
    skipped: tuple[str, ...] = ()


def finished_annotations(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of a task's annotations that count: nobody skipped the task instead."""
    return [each for each in task.get("annotations") or () if not each.get("was_cancelled")]


def select_annotations(tasks: Iterable[Mapping[str, Any]], config: LabelConfig) -> Selection:
    """Choose one annotation for each task: the newest ground truth, else the newest; skipped ones never count."""
    selected: list[LabelledTask] = []
    skipped: list[str] = []
    count = 0
    for task in tasks:
        finished = finished_annotations(task)
        count += len(finished)
        if not finished:
            continue
        image = (task.get("data") or {}).get(config.image_field)
        if not isinstance(image, str) or not image:
            skipped.append(f"task {task.get('id')}: no image in {config.image_field!r}")
            continue
        chosen = max(finished, key=_rank)
        polygons, dropped = read_regions(chosen.get("result"), config)
        skipped.extend(f"task {task['id']}: {reason}" for reason in dropped)
        selected.append(LabelledTask(int(task["id"]), int(chosen["id"]), image, tuple(polygons)))
    return Selection(tuple(sorted(selected, key=lambda each: each.task)), count, tuple(skipped))


def _rank(annotation: Mapping[str, Any]) -> tuple[bool, str, int]:
    return bool(annotation.get("ground_truth")), str(annotation.get("updated_at") or ""), int(annotation.get("id") or 0)


def split_tasks(tasks: Iterable[int]) -> dict[int, str]:
    """Split task ids into ``train`` and ``validation`` by their hash.

    About a fifth is for validation. While the hash gives too few, those next to the border are taken too: a task that
    was once trained on (with FEW_IMAGES or more) is not validated on later, unless tasks are taken away, so the
    measured quality stays honest from model to model. One is trained on even if the hash would have all of a handful
    validated on.
    """
    ranked = sorted(tasks, key=_position)
    wanted = 2 if len(ranked) >= FEW_IMAGES else 1
    by_hash = sum(_position(task) < VALIDATION_SHARE for task in ranked)
    held = min(max(by_hash, wanted), len(ranked) - 1)
    return {task: "validation" if rank < held else "train" for rank, task in enumerate(ranked)}


def _position(task: int) -> float:
    """A task's fixed place in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"task {task}".encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a dataset by name, and the digest that names its folder."""

    digest: str
    files: Mapping[str, bytes]


def build_snapshot(
    selection: Selection, *, project: int, labels: Sequence[str], bucket: str, keys: Mapping[str, str]
) -> Snapshot:
    """Write a selection down.

    Args:
        selection: what to train on.
        project: Label Studio's project id.
        labels: in the order of their class ids.
        bucket: the bucket that holds all images.
        keys: image reference -> object key in *bucket*; tasks whose image has none are left out.
    """
    tasks = [task for task in selection.tasks if task.image in keys]
    splits = split_tasks(task.task for task in tasks)
    lines = [_line(task, key=keys[task.image], split=splits[task.task]) for task in tasks]
    rows = "".join(f"{_dump(line)}\n" for line in lines)
    digest = hashlib.sha256(f"{_dump([project, *labels])}\n{rows}".encode()).hexdigest()
    dataset = {
        "project": project,
        "labels": list(labels),
        "annotations": selection.annotations,
        "train": sum(split == "train" for split in splits.values()),
        "validation": sum(split == "validation" for split in splits.values()),
        "sha256": digest,
    }
    manifest = [{"prefix": f"s3://{bucket}/"}, *sorted({str(line["image"]) for line in lines})]
    files = {
        "tasks.jsonl": rows,
        "images.manifest": _dump(manifest),
        "dataset.json": _dump(dataset),
    }
    return Snapshot(digest, {name: text.encode() for name, text in files.items()})


def _line(task: LabelledTask, *, key: str, split: str) -> dict[str, object]:
    return {
        "task": task.task,
        "annotation": task.annotation,
        "image": key,
        "split": split,
        "regions": [{"class_id": each.class_id, "points": each.points} for each in task.polygons],
    }


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
