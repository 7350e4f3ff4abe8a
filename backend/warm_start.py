"""What the next training begins with: the live model, and which of its classes are this training's. Pure.

Two small objects in the dataset's folder tell it: a manifest for the training's channel `model`, and ``earlier.json``,
``{"classes": [0, 1, null]}``: for each class of this training, with the background first, its class id in the live
model, or null if that does not know it. The manifest names ``earlier.json`` in any case, since a channel must not be
empty; where there is no live model, ``classes`` is empty.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from backend.regions import LabelConfig

MANIFEST, CLASSES = "model.manifest", "earlier.json"


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A trained model's archive in S3, and its labels in the order of their class ids (1, 2, ...)."""

    data: str
    labels: tuple[str, ...]


def warm_start_files(config: LabelConfig, live: LiveModel | None, *, bucket: str, folder: str) -> dict[str, bytes]:
    """The two objects by name, for the dataset in *folder* of *bucket*.

    A model that lies in another bucket is left out: a manifest has one prefix, and the role reads no other bucket.
    """
    root = f"s3://{bucket}/"
    usable = live if live and live.data.startswith(root) else None
    classes = earlier_classes(config, usable.labels) if usable else ()
    keys = [f"{folder}/{CLASSES}", *([usable.data.removeprefix(root)] if usable else [])]
    manifest: list[object] = [{"prefix": root}, *keys]
    return {MANIFEST: json.dumps(manifest).encode(), CLASSES: json.dumps({"classes": classes}).encode()}


def earlier_classes(config: LabelConfig, labels: Sequence[str]) -> tuple[int | None, ...]:
    """For each class of *config*, background first: its class id in a model with these *labels*, None if it is new.

    A label is found as a prediction's is: by ``predicted_values``, by its name, or by its name in another case.
    """
    found: dict[str, int] = {}
    for class_id, label in enumerate(labels, start=1):
        ours = config.label_for(label)
        if ours is not None and (ours not in found or ours == label):
            found[ours] = class_id
    return (0, *(found.get(label) for label in config.labels))
