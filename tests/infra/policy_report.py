"""docs/aws-policies.md: who may do what, what for, and what is forbidden, as the templates have it now.

python -m tests.infra.policy_report           writes it
python -m tests.infra.policy_report --check   fails if it is not so
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.infra import operator
from tests.infra.account import ACCOUNT, REGION
from tests.infra.asked import asked
from tests.infra.calls import Call
from tests.infra.deployed import Deployed, deployed
from tests.infra.forbidden import FORBIDDEN, requests
from tests.infra.policies import Document, Request, Verdict, evaluate, statements, unused
from tests.infra.seen import read_seen

PATH = Path(__file__).parents[2] / "docs" / "aws-policies.md"
_BEARERS: Mapping[str, str] = {
    "backend": "The backend (`BackendPolicy`)",
    "trainer": "The Lambda function (`TrainingPolicy` and its role)",
    "function": "The Lambda function with `--endpoint` (`BackendPolicy` and its role)",
    "authorizer": "The authorizer of the webhook's address (its role)",
    "sagemaker": "Pipeline, jobs and models in SageMaker (`SageMakerRole`)",
    "storage": "Label Studio's storages (`LabelStudioStoragePolicy`)",
    "container_start": "The start of the container (`ExecutionRole`)",
}
_INTRODUCTION = f"""# Who may do what in AWS

`python -m tests.infra.policy_report` writes this page, and a test fails when it is not what the templates say. The
templates of `infra/` are deployed into an emulated account as the deployment `birds`, in region {REGION} of account
{ACCOUNT}; the policies are read there, with every name in them resolved, and evaluated by `tests/infra/policies.py`.
AWS itself was not asked.

Against them are held all calls that the code can make (`tests/infra/driven.py` makes each adapter do all that it can,
and a test compares that with the operations that occur in the source), what SageMaker does by its role for the
committed pipeline with either algorithm (`tests/infra/jobs.py`), and what Label Studio's storages do. A tick marks what
the real programs needed when the end-to-end tests were last recorded: service, commands, Lambda function, local
SageMaker and Label Studio, with `tests/infra/recorder` in them. Not in that record are what SageMaker does beside its
jobs' own calls, logs, and the authorizer.

Resources of the deployment's own account and region are written without these, as in `pipeline/birds`; BUCKET,
SageMakerRoleArn and SecretArn stand for names that CloudFormation makes up.
"""


_OPERATOR = """
## Who runs `provision`, `destroy` and `doctor` (`infra/operator-policy.json`)

For a deployment `birds`. These commands work through CloudFormation, which makes and deletes with the rights of the
person who calls it: so the policy grants services on the deployment's names, and not single calls, and that nothing of
it is unused cannot be said. What is held against it: all calls that the commands themselves make, as recorded in
`tests/e2e/test_provision.py` and `tests/e2e/test_aws_transcript.py`, and the actions that CloudFormation's own schemas
name for each type of resource in the templates (`tests/unit/test_infra_operator.py`). None of them is refused.

It is a policy for an administrator of the account: who may make roles and policies, be it under the deployment's names
alone, can make one that may do more.
"""


def text(stacks: Deployed) -> str:
    """The page."""
    found, seen = asked(stacks), read_seen()
    parts = [_INTRODUCTION, *_summary(stacks, found)]
    for policy in _BEARERS:
        parts += ["", f"## {_BEARERS[policy]}", ""]
        # The function was recorded as it deploys; its trainings are the same without.
        parts += _granted(
            getattr(stacks, policy), found[policy], seen.get("function" if policy == "trainer" else policy, ())
        )
        parts += _forbidden(policy, stacks)
    parts += [_OPERATOR, *_of_operator()]
    return _named("\n".join(parts), stacks) + "\n"


def _summary(stacks: Deployed, found: Mapping[str, Sequence[Request]]) -> Iterator[str]:
    yield "| who | requests allowed | refused | granted and unused | forbidden calls | of these denied |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for policy, bearer in _BEARERS.items():
        documents, different = getattr(stacks, policy), {str(each): each for each in found[policy]}.values()
        refused = sum(evaluate(documents, each) is not Verdict.ALLOWED for each in different)
        tried = FORBIDDEN.get(policy, {}).values()
        denied = sum(_refusal(documents, requests(each, stacks)) != "allowed" for each in tried)
        idle = unused(documents, found[policy])
        told = ", ".join(f"{each.sid}: {each.action} on {each.resource}" for each in idle) or "none"
        counts = f"{len(different) - refused} | {refused} | {told} | {len(tried) or ''} | {denied if tried else ''}"
        yield f"| {bearer} | {counts} |"


def _granted(documents: Iterable[Document], found: Sequence[Request], seen: Iterable[str]) -> Iterator[str]:
    yield "| statement | may | on | requests |"
    yield "| --- | --- | --- | --- |"
    for statement in statements(documents):
        on = "<br>".join(f"`{each}`" for each in _listed(statement["Resource"])) + _condition(statement)
        actions = _listed(statement["Action"])
        if statement["Effect"] == "Deny":
            may, count = f"never {', '.join(f'`{each}`' for each in actions)}", ""
        else:
            may = "<br>".join(f"`{each}`{' ✓' if each in seen else ''}" for each in actions)
            alone = [{"Statement": [statement]}]
            count = str(len({str(each) for each in found if evaluate(alone, each) is Verdict.ALLOWED}))
        yield f"| {statement['Sid']} | {may} | {on} | {count} |"


def _of_operator() -> Iterator[str]:
    yield "| statement | may | on |"
    yield "| --- | --- | --- |"
    for statement in statements(operator.policy()):
        may, on = ("<br>".join(f"`{each}`" for each in _listed(statement[key])) for key in ("Action", "Resource"))
        yield f"| {statement['Sid']} | {may} | {on}{_condition(statement)} |"
    yield from ("", "| it may not | that is | what becomes of it |", "| --- | --- | --- |")
    for what, request in operator.FORBIDDEN.items():
        verdict = evaluate(operator.policy(), request).value
        yield f"| {what} | `{request.action}` on `{request.resource}` | {verdict} |"


def _condition(statement: Mapping[str, Any]) -> str:
    keys = [(key, value) for keys in statement.get("Condition", {}).values() for key, value in keys.items()]
    return "".join(f"<br>if `{key}` is {' or '.join(f'`{each}`' for each in _listed(value))}" for key, value in keys)


def _forbidden(policy: str, stacks: Deployed) -> Iterator[str]:
    if policy not in FORBIDDEN:
        return
    yield from ("", "| it may not | that is | what becomes of it |", "| --- | --- | --- |")
    for what, each in FORBIDDEN[policy].items():
        verdict = _refusal(getattr(stacks, policy), requests(each, stacks))
        yield f"| {what} | {_call(each)} | {verdict} |"


def _refusal(documents: Iterable[Document], needs: Iterable[Request]) -> str:
    """The first of what a call needs that is not allowed."""
    listed = list(documents)
    for request in needs:
        verdict = evaluate(listed, request)
        if verdict is not Verdict.ALLOWED:
            return f"{'denied by a statement' if verdict is Verdict.DENIED else 'not allowed'}: `{request.action}`"
    return "allowed"


def _call(call: Call) -> str:
    names = {"BUCKET": "the bucket", "ROLE": "its own role", "SECRET": "the secret"}
    told = ", ".join(names.get(value, f"`{value}`") for value in call.parameters.values())
    return f"`{call.operation}` of {told}"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _named(page: str, stacks: Deployed) -> str:
    """Without the account and region that are all the same, and what CloudFormation ends names with each time."""
    own = {"SecretArn": "SecretArn", "SageMakerRoleArn": "SageMakerRoleArn", "BucketName": "BUCKET"}
    for output, name in own.items():
        page = page.replace(stacks.outputs[output], name)
    page = page.replace("`arn:aws:s3:::", "`s3://")
    return re.sub(rf"`arn:aws:[a-z]+:{REGION}:{ACCOUNT}:", "`", page)


def main() -> int:
    """Write the page, or compare it. Returns 1 if it is not as it should be."""
    parser = argparse.ArgumentParser(description="Who may do what, by the templates of infra/.")
    parser.add_argument("--check", action="store_true", help="compare with what is there, and write nothing")
    wanted = text(deployed())
    if not parser.parse_args().check:
        PATH.write_text(wanted, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") != wanted:
        sys.stderr.write("docs/aws-policies.md is not what infra/ says: python -m tests.infra.policy_report\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
