"""About what a deployment costs, by AWS's public list prices; what a bill says depends on region, use and contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PRICED = "us-east-1, on demand, 2025"  # where and when the prices below were the list's
_GPU_MINUTES = 15  # of a training on some tens of images, as the pipeline's defaults have it
_CPU_MINUTES = 6  # of its preprocessing
_HOURS = 730  # of a month
TRAINING: Mapping[str, float] = {  # US dollars an hour
    "ml.g4dn.xlarge": 0.736,
    "ml.g4dn.2xlarge": 0.94,
    "ml.g5.xlarge": 1.408,
    "ml.g5.2xlarge": 1.515,
    "ml.p3.2xlarge": 3.825,
    "ml.m5.xlarge": 0.23,
    "ml.c5.xlarge": 0.204,
}
HOSTING: Mapping[str, float] = {
    "ml.t2.medium": 0.056,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.g4dn.xlarge": 0.736,
    "ml.g5.xlarge": 1.408,
}
_PROCESSING_HOUR = 0.23  # ml.m5.xlarge
_SECRET, _ALARM = 0.40, 0.10  # a month each
_ALARMS = {"backend": 3, "lambda": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the prices depend on."""

    trigger: str
    training_instance: str
    spot: bool = False
    endpoint_instance: str
    endpoint: bool = True  # whether there is one, once there is a model


def cost_lines(use: Use) -> Iterator[str]:
    """The prices, a line each."""
    standing = _SECRET + _ALARM * _ALARMS[use.trigger]
    yield f"About what it costs (list prices of {PRICED}; yours may differ):"
    yield f"  {'as it stands':<22} ${standing:.2f} a month: secret and alarms; S3 $0.023 a GB and month"
    if use.trigger == "lambda":
        yield f"  {'trigger':<22} under $1 a month: Lambda and API by the call"
    yield f"  {'each training':<22} {'at most ' if use.spot else ''}{_training(use.training_instance)}"
    none = "none until a backend is connected (or --endpoint), then "
    yield f"  {'endpoint, by project':<22} {'' if use.endpoint else none}{_endpoint(use.endpoint_instance)}"


def _training(instance: str) -> str:
    hour = TRAINING.get(instance)
    if hour is None:
        return f"by the minute of {instance}: see AWS's price list"
    run = hour * _GPU_MINUTES / 60 + _PROCESSING_HOUR * _CPU_MINUTES / 60
    return f"${run:.2f} for {_GPU_MINUTES} minutes of {instance} (${hour:.3f} an hour) and preprocessing"


def _endpoint(instance: str) -> str:
    hour = HOSTING.get(instance)
    if hour is None:
        return f"all day long from the first model on, {instance}: see AWS's price list"
    return f"${hour:.3f} an hour, ${hour * _HOURS:.0f} a month, from the first model on ({instance}, all day long)"
