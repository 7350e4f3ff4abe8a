"""What to ask AWS for, or to take instead, where it had no room: by the words in which it says so. Pure."""

import re
from enum import Enum


class Use(Enum):
    """What an instance was wanted for, in the words of quotas' names."""

    TRAINING = "training job"
    SPOT = "spot training job"
    PROCESSING = "processing job"
    ENDPOINT = "endpoint"
    UNKNOWN = ""


_QUOTA = re.compile(r"service limit (?:for )?'?([^']+?)'? is ([\d.]+) Instances")
_INSTANCE = re.compile(r"\bml\.[a-z0-9-]+\.[a-z0-9]+")
_FULL = re.compile(
    r"CapacityError|InsufficientInstanceCapacity|InsufficientCapacityError"
    r"|unable to provision requested (?:ml )?compute capacity",
    re.IGNORECASE,
)
_NO_SPOT = "MaxWaitTimeExceeded"
_ASK = "ask for more in Service Quotas > Amazon SageMaker"


def explained(reason: str, *, use: Use = Use.UNKNOWN, region: str = "") -> str:
    """*reason*, after a sentence that says what to do if it tells of a shortage.

    Args:
        reason: why AWS says that a step, an endpoint or a call failed.
        use: what it was about, where its words do not tell.
        region: where it was.
    """
    sentence = shortage(reason, use=use, region=region)
    return f"{sentence} (AWS: {reason})" if sentence else reason


def shortage(reason: str, *, use: Use = Use.UNKNOWN, region: str = "") -> str:
    """The sentence alone; '' for a reason that tells of no shortage."""
    where = region or "this region"
    instance = _INSTANCE.search(reason)
    taken = instance[0] if instance else ""
    if quota := _QUOTA.search(reason):
        wanted = f"the quota '{quota[1]}' of {where} is {float(quota[2]):g}"
        in_use = "" if float(quota[2]) == 0 else ", all of it in use"
        return f"{wanted}{in_use}: {_ASK}{_instead(_use(quota[1], use), taken)}"
    if _FULL.search(reason):
        what = f"{taken} instance" if taken else "instance of the type"
        return f"AWS has no {what} free in {where} at present: wait{_instead(use, taken)}"
    if _NO_SPOT in reason:
        return f"AWS had no spot instance to spare in {where} for long enough: wait{_instead(Use.SPOT, taken)}"
    if "ResourceLimitExceeded" in reason:
        return f"a quota of the account in {where} is used up: {_ASK}"
    return ""


def _use(quota: str, use: Use) -> Use:
    """By the quota's name: longer names hold the shorter ones."""
    named = quota.replace("-", " ")
    by_length = sorted((each for each in Use if each.value), key=lambda each: -len(each.value))
    return next((each for each in by_length if each.value in named), use)


def _instead(use: Use, taken: str) -> str:
    gpu = "ml.g4dn.xlarge" if ".g5." in taken else "ml.g5.xlarge"
    cpu = "ml.c5.xlarge" if ".m5." in taken else "ml.m5.xlarge"
    match use:
        case Use.TRAINING:
            return f", or put the pipeline there anew with --set TrainingInstanceType={gpu} or another"
        case Use.SPOT:
            return f", or put the pipeline there anew without --spot or with --set TrainingInstanceType={gpu}"
        case Use.PROCESSING:
            return f", or put the pipeline there anew with --set ProcessingInstanceType={cpu} or another"
        case Use.ENDPOINT:
            return f", or set SAGEMAKER_INSTANCE_TYPE={cpu} or another for the next model"
    return ""
