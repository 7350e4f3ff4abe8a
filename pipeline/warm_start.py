"""Training that goes on from the live model: the channel that hands it over. Pure.

It is a manifest in the dataset's folder, which names an object in any case: SageMaker fails a job of which a channel
holds none, and before the first training there is no model. The built-in algorithm fails without a model of its own in
this channel, so the channel is only there where `segmenter` trains.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.variants import with_training

MANIFEST = "model.manifest"
CHANNEL = "model"
_CHANNEL = {
    "ChannelName": CHANNEL,
    "InputMode": "File",
    "DataSource": {
        "S3DataSource": {
            "S3DataType": "ManifestFile",
            "S3Uri": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.DatasetS3Uri"}, MANIFEST]}},
            "S3DataDistributionType": "FullyReplicated",
        }
    },
}


def with_warm_start(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of *definition* whose training gets the live model."""

    def warm(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {**arguments, "InputDataConfig": [*_others(arguments), _CHANNEL]}

    return with_training(definition, warm)


def without_warm_start(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition as it was before :func:`with_warm_start`, or a copy of one that never was."""

    def cold(arguments: Mapping[str, Any]) -> dict[str, Any]:
        if "InputDataConfig" not in arguments:
            return dict(arguments)
        return {**arguments, "InputDataConfig": _others(arguments)}

    return with_training(definition, cold)


def _others(arguments: Mapping[str, Any]) -> list[Any]:
    return [channel for channel in arguments.get("InputDataConfig", []) if channel.get("ChannelName") != CHANNEL]
