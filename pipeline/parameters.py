"""Which parameters of the pipeline a person may set where it is put, and to what. Pure.

What the built-in algorithm takes follows its documentation ("Semantic Segmentation Hyperparameters" in the SageMaker
developer guide); the segmenter takes the same.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.algorithms import BUILT_IN, INSTANCES, SEGMENTER
from pipeline.checker import service_model

BOTH = (BUILT_IN, SEGMENTER)
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a parameter is for, which values it may have, and which algorithms look at it."""

    about: str
    wanted: str
    allows: Callable[[str], bool]
    used_by: tuple[str, ...] = BOTH


def _whole(about: str, low: int, high: int | None = None, used_by: tuple[str, ...] = BOTH) -> Rule:
    wanted = f"a whole number of {low} or more" if high is None else f"a whole number from {low} to {high}"

    def allows(text: str) -> bool:
        return re.fullmatch(r"0|[1-9][0-9]*", text) is not None and low <= int(text) <= (high or int(text))

    return Rule(about, wanted, allows, used_by)


def _number(about: str, wanted: str, allows: Callable[[float], bool], used_by: tuple[str, ...] = BOTH) -> Rule:
    return Rule(about, wanted, lambda text: _NUMBER.fullmatch(text) is not None and allows(float(text)), used_by)


def _one_of(about: str, *names: str, used_by: tuple[str, ...] = BOTH) -> Rule:
    return Rule(about, f"one of {', '.join(names)}", lambda text: text in names, used_by)


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


@functools.cache
def _processing_instances() -> frozenset[str]:
    return frozenset(service_model().shape_for("ProcessingInstanceType").enum)


_BUILT_IN = (BUILT_IN,)
RULES: Mapping[str, Rule] = {
    "TrainingInstanceType": Rule(
        "instance of the training",
        "one that the algorithm trains on, see below",
        lambda text: text in INSTANCES[SEGMENTER],
    ),
    "ProcessingInstanceType": Rule(
        "instance of the preprocessing",
        "an instance type of SageMaker's processing jobs",
        lambda text: text in _processing_instances(),
    ),
    "VolumeSizeInGB": _whole("disk of either job", 1, 16384),
    "MaxRuntimeInSeconds": _whole("after which SageMaker ends either job", 1, 777_600),
    "MaxTrainingSeconds": _whole(
        "after which the segmenter ends by itself, with a model; 0: never", 0, 432_000, (SEGMENTER,)
    ),
    "MaxImageSide": _whole("pixels; larger images are made smaller", 32, 16384),
    "MinimumMIoU": _number(
        "given by the backend with each training (`MINIMUM_MIOU`)", "a number from 0 to 1", _is_share
    ),
    "ApproveMIoU": _number("given by the backend with each training", "a number from 0 to 1", _is_share),
    "Epochs": _whole("times that all images are gone through", 1),
    "LearningRate": _number(
        "initial learning rate", "a number above 0, up to 1", lambda value: 0 < value <= 1, _BUILT_IN
    ),
    "Optimizer": _one_of("optimizer", "adam", "adagrad", "nag", "rmsprop", "sgd", used_by=_BUILT_IN),
    "Algorithm": _one_of("network", "fcn", "psp", "deeplab", used_by=_BUILT_IN),
    "Backbone": _one_of("its backbone", "resnet-50", "resnet-101", used_by=_BUILT_IN),
    "UsePretrainedModel": _one_of("begin with ImageNet's weights", "True", "False", used_by=_BUILT_IN),
    "BaseSize": _whole("pixels of the long side before cropping", 17, used_by=_BUILT_IN),
    "CropSize": _whole("pixels of a crop's side", 17, used_by=_BUILT_IN),
    # `step` wants lr_scheduler_step beside it, which the pipeline does not hand on.
    "LrScheduler": _one_of("how the learning rate falls", "poly", "cosine", used_by=_BUILT_IN),
    "EarlyStopping": _one_of("end when the validation gets no better", "True", "False", used_by=_BUILT_IN),
}


def check_settings(values: Mapping[str, str], algorithm: str) -> None:
    """What a person set goes, for this algorithm.

    Raises:
        ValueError: a parameter is unknown or not a person's to set, or its value is not allowed; all of them are named.
    """
    problems = [problem for name, value in values.items() if (problem := _problem(name, value, algorithm))]
    if problems:
        raise ValueError("; ".join(problems))


def _problem(name: str, value: str, algorithm: str) -> str:
    rule = RULES.get(name)
    if rule is None:
        return f"the pipeline has no parameter {name} to set; it has {', '.join(sorted(RULES))}"
    if name == "TrainingInstanceType":
        return _instance_problem(value, algorithm)
    return "" if rule.allows(value) else f"{name}: wanted {rule.wanted}, got {value!r}"


def _instance_problem(value: str, algorithm: str) -> str:
    """The sentence that names those that go."""
    if value in INSTANCES[algorithm]:
        return ""
    why = "it needs a GPU, and uses one" if algorithm == BUILT_IN else "the pipeline offers it no other"
    wanted = ", ".join(INSTANCES[algorithm])
    return f"TrainingInstanceType: --algorithm {algorithm} trains on {wanted} ({why}), got {value!r}"
