"""Hyperparameters: the names, defaults and ranges of the built-in algorithm, and a few of our own. Pure."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from segmenter.errors import ConfigError

logger = logging.getLogger(__name__)
_LONGEST_SECONDS = 432_000  # five days


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a training job was asked for, checked.

    Those of the built-in algorithm that only a network of its kind could use (`algorithm`, `backbone`, `optimizer`,
    `learning_rate`, `crop_size`, ...) are checked and kept, so that one pipeline can run either image.
    """

    num_classes: int
    num_training_samples: int = 0
    backbone: str = "resnet-50"
    algorithm: str = "fcn"
    use_pretrained_model: bool = True
    base_size: int = 520
    crop_size: int = 240
    epochs: int = 10
    mini_batch_size: int = 16
    validation_mini_batch_size: int = 16
    optimizer: str = "sgd"
    learning_rate: float = 0.001
    lr_scheduler: str = "poly"
    lr_scheduler_factor: float = 0.1
    lr_scheduler_step: str = ""
    momentum: float = 0.9
    weight_decay: float = 0.0001
    gamma1: float = 0.9
    gamma2: float = 0.9
    early_stopping: bool = False
    early_stopping_min_epochs: int = 5
    early_stopping_patience: int = 4
    early_stopping_tolerance: float = 0.0
    syncbn: bool = False
    # Ours.
    network: str = "light"
    light_side: int = 384
    max_seconds: float = 60.0
    seed: int = 0


def parse(values: Mapping[str, str], env: Mapping[str, str]) -> Hyperparameters:
    """Check the job's hyperparameters; `SEGMENTER_MAX_SECONDS` in `env` stands in for a missing `max_seconds`.

    There 0 is no limit of ours: the pipeline sets it unless told otherwise, and SageMaker ends jobs by itself.
    Unknown names are warned of and left out; all wrong values are named together.

    Raises:
        ConfigError: a value is out of its range, or `num_classes` is missing.
    """
    given = {name: _unquoted(value) for name, value in values.items()}
    if limit := env.get("SEGMENTER_MAX_SECONDS", "").strip():
        given.setdefault("max_seconds", str(_LONGEST_SECONDS) if limit == "0" else limit)
    _warn_of_unknown(given)
    problems: list[str] = []
    parsed = {name: _parsed(name, given[name], problems=problems) for name in RULES if name in given}
    if "num_classes" not in given:
        problems.insert(0, f"num_classes is missing: wanted {RULES['num_classes'].wanted}")
    if problems:
        raise ConfigError("hyperparameters refused: " + "; ".join(problems))
    return Hyperparameters(**parsed)  # type: ignore[arg-type]  # RULES names each field's own type


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one value is read, which values are allowed, and how to say so."""

    read: Callable[[str], object]
    allows: Callable[..., bool]
    wanted: str


def _whole(low: int, high: int | None = None) -> _Rule:
    wanted = f"a whole number of {low} or more" if high is None else f"a whole number from {low} to {high}"
    return _Rule(int, lambda value: value >= low and (high is None or value <= high), wanted)


def _number(wanted: str, allows: Callable[[float], bool]) -> _Rule:
    return _Rule(float, allows, wanted)


def _one_of(*names: str) -> _Rule:
    return _Rule(str, lambda value: value in names, "one of " + ", ".join(names))


def _flag() -> _Rule:
    return _Rule(_read_flag, lambda _: True, "True or False")


def _read_flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _is_fraction(value: float) -> bool:
    return 0 <= value <= 1


RULES: dict[str, _Rule] = {
    "num_classes": _whole(2, 254),
    "num_training_samples": _whole(1),
    "backbone": _one_of("resnet-50", "resnet-101"),
    "algorithm": _one_of("fcn", "psp", "deeplab"),
    "use_pretrained_model": _flag(),
    "base_size": _whole(17),
    "crop_size": _whole(17),
    "epochs": _whole(1),
    "mini_batch_size": _whole(1),
    "validation_mini_batch_size": _whole(1),
    "optimizer": _one_of("adam", "adagrad", "nag", "rmsprop", "sgd"),
    "learning_rate": _number("a number above 0, up to 1", lambda value: 0 < value <= 1),
    "lr_scheduler": _one_of("step", "poly", "cosine"),
    "lr_scheduler_factor": _number("a number from 0 to 1", _is_fraction),
    "lr_scheduler_step": _Rule(str, lambda _: True, "epochs, separated by commas"),
    "momentum": _number("a number from 0 to 1", _is_fraction),
    "weight_decay": _number("a number from 0 to 1", _is_fraction),
    "gamma1": _number("a number from 0 to 1", _is_fraction),
    "gamma2": _number("a number from 0 to 1", _is_fraction),
    "early_stopping": _flag(),
    "early_stopping_min_epochs": _whole(1),
    "early_stopping_patience": _whole(1),
    "early_stopping_tolerance": _number("a number from 0 to 1", _is_fraction),
    "syncbn": _flag(),
    "network": _one_of("light"),
    "light_side": _whole(64, 1536),
    "max_seconds": _number("a number from 1 to 432000 (five days)", lambda value: 1 <= value <= _LONGEST_SECONDS),
    "seed": _whole(0, 2**31 - 1),
}


def _parsed(name: str, text: str, *, problems: list[str]) -> object:
    rule = RULES[name]
    try:
        value = rule.read(text)
    except ValueError:
        value = None
    if value is None or not rule.allows(value):
        problems.append(f"{name}={text!r}: wanted {rule.wanted}")
    return value


def _unquoted(text: str) -> str:
    # SageMaker's SDK 2 encodes each value as JSON once more.
    return text.strip().strip('"')


def _warn_of_unknown(given: Mapping[str, str]) -> None:
    known = {field.name for field in fields(Hyperparameters)}
    for name in sorted(set(given) - known):
        # sagemaker_* and _* are SageMaker's own (script mode, tuning jobs).
        if not name.startswith(("sagemaker_", "_")):
            logger.warning("hyperparameter %s is unknown here and has no effect", name)
