"""The calls that programs made, held against the policies: allowed, refused, granted for nothing.

    python -m tests.infra.report CALLS.jsonl --bucket birds --role arn:aws:iam::123456789012:role/demo

CALLS.jsonl is what the recorder wrote (tests/infra/recorder). The templates are deployed into an emulated account with
the names that the programs were given, so that the very policies are looked at that would be in force.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.infra.account import REGION
from tests.infra.calls import Call, distinct, needed, read_calls
from tests.infra.deployed import NAME, Deployed, deployed
from tests.infra.policies import Grant, Request, Verdict, evaluate, unused

# Whose policy a program has to do with. A test, the demo, `provision` act for a person, who has other permissions.
_PROGRAMS: Sequence[tuple[str, str]] = (
    (r"-m (gunicorn|pipeline|backend (?!provision|destroy|doctor))\b", "backend"),
    (r"\bawslambdaric\b", "function"),
    (r"-m sagemaker_local\b", "sagemaker"),
    (r"bin/label-studio start\b", "storage"),
)
# Nobody deployed this bucket but the person who runs `setup --create-bucket`.
_OF_A_PERSON = {("s3", "CreateBucket")}


@dataclass(frozen=True, slots=True)
class Told:
    """What the programs were told, which stands for what the stacks have.

    *role* is SageMaker's role, *prefix* what the backend writes below, *buckets* and *annotations* are the buckets and
    the folders of annotations beside the stacks' own. Whatever else lies in a bucket is an image.
    """

    role: str
    prefix: str = "label-studio"
    buckets: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclass(slots=True)
class Judgement:
    """What came of one policy's calls."""

    allowed: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    unused: list[Grant] = field(default_factory=list)


def judge(calls: Sequence[Call], stacks: Deployed, told: Told) -> dict[str, Judgement]:
    """Judge each call by the policy of the program that made it; *stacks* have the recorded bucket, name and prefix."""
    found: dict[str, Judgement] = {}
    by_policy: dict[str, list[Request]] = {}
    for policy, call in _judged(calls):
        by_policy.setdefault(policy, []).extend(needed(_as_deployed(call, stacks, told), stacks.place))
    for policy, requests in by_policy.items():
        judgement = found[policy] = Judgement(unused=unused(getattr(stacks, policy), requests))
        for request in requests:
            if evaluate(getattr(stacks, policy), request) is Verdict.ALLOWED:
                judgement.allowed[request.action] += 1
            else:
                judgement.refused.append(str(request))
    return found


def _judged(calls: Sequence[Call]) -> Iterator[tuple[str, Call]]:
    for policy in dict.fromkeys(policy for _, policy in _PROGRAMS):
        own = [call for call in calls if _policy_of(call.program) == policy]
        yield from ((policy, call) for call in distinct(own) if (call.service, call.operation) not in _OF_A_PERSON)


def _policy_of(program: str) -> str:
    return next((policy for pattern, policy in _PROGRAMS if re.search(pattern, program)), "")


def _as_deployed(call: Call, stacks: Deployed, told: Told) -> Call:
    """The call as it would be there."""
    real = {told.role: stacks.outputs["SageMakerRoleArn"], **dict.fromkeys(told.buckets, stacks.outputs["BucketName"])}
    names = {name: real.get(value, value) for name, value in call.parameters.items()}
    for name in names.keys() & {"Key", "Prefix"}:
        names[name] = _in_its_folder(names[name], told)
    return replace(call, parameters=names)


def _in_its_folder(key: str, told: Told) -> str:
    for folder in told.annotations:
        if f"{key}/".startswith(f"{folder}/"):
            return f"annotations{key.removeprefix(folder)}"
    stays = f"{key}/".startswith((f"{told.prefix}/", "annotations/", "images/"))
    return key if stays else f"images/{key}"


def lines(found: Mapping[str, Judgement]) -> Iterator[str]:
    """For a person to read."""
    for policy, judgement in found.items():
        allowed, refused = sum(judgement.allowed.values()), len(judgement.refused)
        yield f"{policy}: {allowed} different requests allowed, {refused} refused"
        for action, count in sorted(judgement.allowed.items()):
            yield f"  allowed  {count:5}  {action}"
        yield from (f"  refused         {request}" for request in judgement.refused)
        yield from (f"  unused          {grant.sid}: {grant.action} on {grant.resource}" for grant in judgement.unused)


def main() -> int:
    """Print a report. Returns 1 if anything was refused."""
    parser = argparse.ArgumentParser(description="Hold recorded AWS calls against the policies of infra/.")
    parser.add_argument("calls", type=Path)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--prefix", default="label-studio")
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--role", required=True)
    given = parser.parse_args()
    stacks = deployed(given.bucket, given.name, given.prefix, given.region)
    found = judge(read_calls(given.calls), stacks, Told(given.role, given.prefix))
    sys.stdout.writelines(f"{line}\n" for line in lines(found))
    return 1 if any(judgement.refused for judgement in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
