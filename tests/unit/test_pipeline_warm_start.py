"""The live model reaches the training by a channel of its own, where and only where `segmenter` trains."""

from typing import Any

import pytest

from backend import warm_start as backend_side
from pipeline.checker import check_definition
from pipeline.choice import PipelineChoice
from pipeline.rendering import committed_definition
from pipeline.spot import with_spot, without_spot
from pipeline.warm_start import MANIFEST, with_warm_start, without_warm_start
from tests.unit.test_pipeline_spot import IMAGE, published, train

SEGMENTER = {"algorithm": "segmenter", "image": IMAGE}


def channels(**wanted: Any) -> list[str]:
    return [channel["ChannelName"] for channel in train(published(**wanted))["InputDataConfig"]]


@pytest.mark.parametrize(
    ("wanted", "warm"),
    [
        pytest.param({}, False, id="the built-in algorithm fails on the channel"),
        pytest.param(SEGMENTER, True, id="segmenter"),
        pytest.param({**SEGMENTER, "warm_start": False}, False, id="not wanted"),
        pytest.param({"warm_start": True}, True, id="the local SageMaker runs segmenter for the built-in's image"),
    ],
)
def test_segmenter_gets_the_live_model_unless_told_otherwise(wanted: dict[str, Any], warm: bool):
    assert ("model" in channels(**wanted)) is warm


def test_the_channel_is_one_that_sagemaker_takes():
    definition = published(**SEGMENTER)

    assert check_definition(definition) == []
    source = train(definition)["InputDataConfig"][-1]["DataSource"]["S3DataSource"]
    assert source["S3DataType"] == "ManifestFile"
    assert source["S3Uri"]["Std:Join"]["Values"] == [{"Get": "Parameters.DatasetS3Uri"}, MANIFEST]


def test_the_backend_writes_the_manifest_that_the_channel_reads():
    assert backend_side.MANIFEST == MANIFEST


def test_without_it_the_definition_is_the_committed_one_again():
    committed = committed_definition()
    assert without_warm_start(with_warm_start(committed)) == committed
    assert without_warm_start(committed) == committed
    both = with_spot(with_warm_start(committed), "segmenter")
    assert without_warm_start(without_spot(both)) == committed


def test_asking_twice_makes_one_channel():
    assert with_warm_start(with_warm_start(committed_definition())) == with_warm_start(committed_definition())


def test_a_choice_that_an_earlier_version_wrote_is_read():
    before = PipelineChoice(algorithm="segmenter", image=IMAGE)
    old = before.written().replace(b'"warm_start": null, ', b"")
    assert b"warm_start" not in old
    assert PipelineChoice.read(old) == before


@pytest.mark.parametrize(
    ("chosen", "told"), [(None, {}), (True, {"--warm-start": "yes"}), (False, {"--warm-start": "no"})]
)
def test_a_choice_tells_what_somebody_chose_alone(chosen: bool | None, told: dict[str, str]):
    assert PipelineChoice(warm_start=chosen).told() == told
