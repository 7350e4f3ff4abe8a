"""Hyperparameters: the built-in algorithm's names and ranges, said in words when they are not kept."""

import logging

import pytest

from segmenter import config
from segmenter.errors import ConfigError

# What the pipeline passes, all of it strings.
BUILT_IN = {
    "num_classes": "5",
    "num_training_samples": "13",
    "backbone": "resnet-50",
    "algorithm": "fcn",
    "use_pretrained_model": "True",
    "base_size": "520",
    "crop_size": "240",
    "epochs": "30",
    "mini_batch_size": "4",
    "validation_mini_batch_size": "4",
    "optimizer": "adam",
    "learning_rate": "0.0001",
    "lr_scheduler": "poly",
    "early_stopping": "False",
}


def test_what_the_pipeline_passes_is_understood():
    parsed = config.parse(BUILT_IN, {})
    assert (parsed.num_classes, parsed.epochs, parsed.learning_rate) == (5, 30, 0.0001)
    assert (parsed.early_stopping, parsed.use_pretrained_model) == (False, True)


def test_what_is_not_given_has_the_built_in_algorithms_default():
    parsed = config.parse({"num_classes": "2"}, {})
    assert (parsed.epochs, parsed.mini_batch_size, parsed.base_size, parsed.crop_size) == (10, 16, 520, 240)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        pytest.param("num_classes", "1", "a whole number from 2 to 254", id="one class"),
        pytest.param("num_classes", "255", "a whole number from 2 to 254", id="the ignored id as a class"),
        pytest.param("num_classes", "five", "a whole number from 2 to 254", id="a word"),
        pytest.param("epochs", "0", "a whole number of 1 or more", id="no epoch"),
        pytest.param("epochs", "2.5", "a whole number of 1 or more", id="half an epoch"),
        pytest.param("crop_size", "16", "a whole number of 17 or more", id="a crop of 16"),
        pytest.param("backbone", "vgg", "one of resnet-50, resnet-101", id="unknown backbone"),
        pytest.param("algorithm", "unet", "one of fcn, psp, deeplab", id="unknown algorithm"),
        pytest.param("optimizer", "lion", "one of adam, adagrad, nag, rmsprop, sgd", id="unknown optimizer"),
        pytest.param("learning_rate", "0", "a number above 0, up to 1", id="no learning"),
        pytest.param("learning_rate", "nan", "a number above 0, up to 1", id="not a number"),
        pytest.param("early_stopping", "maybe", "True or False", id="maybe"),
        pytest.param("max_seconds", "0", "a number from 1 to 432000", id="no time"),
        pytest.param("max_seconds", "inf", "a number from 1 to 432000", id="all the time there is"),
        pytest.param("seed", "-1", "a whole number from 0 to 2147483647", id="negative seed"),
    ],
)
def test_a_wrong_value_is_refused_with_the_allowed_range(name: str, value: str, wanted: str):
    with pytest.raises(ConfigError) as caught:
        config.parse({"num_classes": "5", name: value}, {})
    assert f"{name}='{value}': wanted {wanted}" in str(caught.value)


def test_all_wrong_values_are_named_together():
    with pytest.raises(ConfigError, match=r"num_classes is missing.*epochs='x'.*seed='y'"):
        config.parse({"epochs": "x", "seed": "y"}, {})


def test_an_unknown_name_is_warned_of_and_has_no_effect(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        parsed = config.parse({"num_classes": "5", "batchsize": "4", "sagemaker_region": "us-east-1"}, {})
    assert parsed == config.parse({"num_classes": "5"}, {})
    assert [record.getMessage() for record in caplog.records] == [
        "hyperparameter batchsize is unknown here and has no effect"
    ]


def test_values_encoded_as_json_once_more_are_understood():
    assert config.parse({"num_classes": '"5"', "backbone": '"resnet-50"'}, {}).num_classes == 5


def test_the_time_budget_may_come_from_the_environment_but_a_hyperparameter_wins():
    env = {"SEGMENTER_MAX_SECONDS": "45"}
    assert config.parse({"num_classes": "5"}, env).max_seconds == 45
    assert config.parse({"num_classes": "5", "max_seconds": "20"}, env).max_seconds == 20


def test_no_time_limit_in_the_environment_is_the_longest_there_is():
    assert config.parse({"num_classes": "5"}, {"SEGMENTER_MAX_SECONDS": "0"}).max_seconds == 432_000


def test_a_wrong_time_budget_in_the_environment_is_refused_too():
    with pytest.raises(ConfigError, match="max_seconds='soon'"):
        config.parse({"num_classes": "5"}, {"SEGMENTER_MAX_SECONDS": "soon"})
