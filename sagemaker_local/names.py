"""ARNs, ids and names as SageMaker makes them."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass

_ALPHABET = string.ascii_lowercase + string.digits
_EXECUTION_NAME = re.compile(r"arn:[^:]+:sagemaker:[^:]*:\d*:pipeline/(?P<pipeline>[^/]+)/execution/(?P<id>[^/]+)")


@dataclass(frozen=True, slots=True)
class Names:
    """Makes the ARNs of one account in one region."""

    region: str
    account: str = "123456789012"

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a thing; SageMaker lower-cases the name."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def execution_arn(self, pipeline: str, execution_id: str) -> str:
        """The ARN of a pipeline execution."""
        return self.arn("pipeline", f"{pipeline}/execution/{execution_id}")


def random_id(length: int = 12) -> str:
    """Lower-case letters and digits, as in a pipeline execution's id."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def bare_name(name_or_arn: str) -> str:
    """The name in a name or an ARN (`arn:...:pipeline/birds` -> `birds`); a model package keeps `group/version`."""
    return name_or_arn.split("/", 1)[1] if name_or_arn.startswith("arn:") and "/" in name_or_arn else name_or_arn


def execution_id(arn: str) -> str:
    """The id at the end of a pipeline execution's ARN."""
    match = _EXECUTION_NAME.fullmatch(arn)
    return match["id"] if match else arn


def job_name(execution: str, step: str) -> str:
    """A job's name as Pipelines makes it: `pipelines-<execution>-<step, at most 20>-<10 random>`."""
    readable = re.sub(r"[^A-Za-z0-9-]", "", step)[:20].strip("-") or "step"
    return f"pipelines-{execution}-{readable}-{random_id(10)}"
