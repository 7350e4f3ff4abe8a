"""What a person sets of the pipeline is checked where it is put, and documented as it is checked."""

import re
from pathlib import Path

import pytest

from pipeline.algorithms import CPU_INSTANCES, GPU_INSTANCES
from pipeline.parameters import BOTH, RULES, check_settings
from pipeline.rendering import committed_definition
from segmenter.config import RULES as SEGMENTER_RULES

DOCUMENT = Path(__file__).parents[2] / "docs" / "pipeline-parameters.md"
GIVEN_BY_THE_PROGRAM = {
    *("RoleArn", "ProcessingImage", "TrainingImage", "CodeS3Uri", "ArtifactsS3Uri"),
    *("DatasetS3Uri", "ModelPackageGroupName"),
}


def defaults() -> dict[str, str]:
    return {each["Name"]: str(each.get("DefaultValue", "")) for each in committed_definition()["Parameters"]}


@pytest.mark.parametrize("algorithm", BOTH)
def test_the_defaults_are_allowed(algorithm: str):
    check_settings({name: value for name, value in defaults().items() if name in RULES}, algorithm)


def test_a_person_can_set_all_but_what_the_program_gives():
    assert set(RULES) == set(defaults()) - GIVEN_BY_THE_PROGRAM


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("Epochs", "many", "Epochs: wanted a whole number of 1 or more, got 'many'"),
        ("Epochs", "0", "Epochs: wanted a whole number of 1 or more, got '0'"),
        ("Epochs", "1_0", "got '1_0'"),
        ("Epochs", "", "got ''"),
        ("Epochs", "040", "got '040'"),
        ("LearningRate", "-1", "LearningRate: wanted a number above 0, up to 1, got '-1'"),
        ("LearningRate", "0", "above 0"),
        ("LearningRate", "nan", "above 0"),
        ("Algorithm", "unet", "Algorithm: wanted one of fcn, psp, deeplab, got 'unet'"),
        ("Backbone", "resnet-18", "one of resnet-50, resnet-101"),
        ("Optimizer", "lion", "one of adam, adagrad, nag, rmsprop, sgd"),
        ("LrScheduler", "step", "one of poly, cosine"),
        ("UsePretrainedModel", "yes", "one of True, False"),
        ("CropSize", "16", "a whole number of 17 or more"),
        ("MinimumMIoU", "40", "a number from 0 to 1"),
        ("MaxImageSide", "8", "from 32 to 16384"),
        ("VolumeSizeInGB", "0", "from 1 to 16384"),
        ("ProcessingInstanceType", "ml.m5.xlagre", "an instance type of SageMaker's processing jobs"),
        ("Epoch", "40", "no parameter Epoch to set; it has Algorithm, ApproveMIoU"),
        ("TrainingImage", "image", "no parameter TrainingImage to set"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: str, told: str):
    with pytest.raises(ValueError, match=re.escape(told)):
        check_settings({name: value}, "builtin")


def test_all_that_is_wrong_is_told_together():
    with pytest.raises(ValueError, match=r"Epochs: .*; LearningRate: "):
        check_settings({"Epochs": "0", "LearningRate": "2"}, "builtin")


@pytest.mark.parametrize(("name", "value"), [("LearningRate", "1e-4"), ("LearningRate", ".5"), ("Epochs", "40")])
def test_numbers_may_be_written_as_people_write_them(name: str, value: str):
    check_settings({name: value}, "builtin")


@pytest.mark.parametrize("instance", [*CPU_INSTANCES, "ml.p4d.24xlarge", "ml.g6.xlarge", "g4dn.xlarge"])
def test_the_built_in_algorithm_is_told_which_instances_it_trains_on(instance: str):
    with pytest.raises(ValueError, match=r"--algorithm builtin trains on ml\.g4dn\.xlarge, .*ml\.p3\.2xlarge"):
        check_settings({"TrainingInstanceType": instance}, "builtin")


def test_the_segmenter_trains_on_cpus_and_is_told_which():
    check_settings({"TrainingInstanceType": "ml.m5.xlarge"}, "segmenter")
    with pytest.raises(ValueError, match=r"--algorithm segmenter trains on .*ml\.c5\.4xlarge"):
        check_settings({"TrainingInstanceType": "ml.t3.medium"}, "segmenter")


@pytest.mark.parametrize(
    ("hyperparameter", "values"),
    [
        ("epochs", ("0", "1", "500")),
        ("learning_rate", ("0", "1e-4", "1", "1.1")),
        ("optimizer", ("adam", "adagrad", "nag", "rmsprop", "sgd", "lion")),
        ("algorithm", ("fcn", "psp", "deeplab", "unet")),
        ("backbone", ("resnet-50", "resnet-101", "resnet-18")),
        ("use_pretrained_model", ("True", "False")),
        ("base_size", ("16", "17", "520")),
        ("crop_size", ("16", "17", "240")),
        ("lr_scheduler", ("poly", "cosine")),
        ("early_stopping", ("True", "False")),
    ],
)
def test_the_segmenter_takes_the_same_hyperparameters(hyperparameter: str, values: tuple[str, ...]):
    rule, theirs = (
        RULES["".join(part.capitalize() for part in hyperparameter.split("_"))],
        SEGMENTER_RULES[hyperparameter],
    )
    assert {each: rule.allows(each) for each in values} == {each: theirs.allows(theirs.read(each)) for each in values}


def test_every_hyperparameter_of_the_definition_is_known_to_the_segmenter():
    train = next(each for each in committed_definition()["Steps"] if each["Name"] == "Train")
    assert set(train["Arguments"]["HyperParameters"]) <= set(SEGMENTER_RULES)


def row(name: str) -> str:
    rule = RULES[name]
    return f"| `{name}` | `{defaults()[name]}` | {rule.about} | {rule.wanted} | {', '.join(rule.used_by)} |"


def test_the_document_has_every_parameter_as_it_is_checked_and_no_other():
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [row(name) for name in RULES]


def test_the_document_names_every_instance():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [each for each in (*GPU_INSTANCES, *CPU_INSTANCES) if f"`{each}`" not in text] == []
