"""The last of these tests, by its name: the policies of infra/ allow all that AWS was asked for in those before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from demo.services import BUCKET, PIPELINE, REGION, ROLE_ARN, S3_PREFIX
from tests.e2e.conftest import CALLS
from tests.infra.calls import read_calls
from tests.infra.deployed import deployed
from tests.infra.report import Told, judge
from tests.infra.seen import add_seen

if TYPE_CHECKING:
    from demo.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_what_the_service_its_commands_the_jobs_and_label_studio_did_is_allowed(stack: Stack):
    found = read_calls(stack.plan.folder.path / CALLS)
    # Some tests give a backend names of nothing, to see what it says of that.
    calls = [each for each in found if not any(name.startswith("no-such-") for name in each.parameters.values())]
    stacks = deployed(bucket=BUCKET, name=PIPELINE, prefix=S3_PREFIX, region=REGION)

    judged = judge(
        calls, stacks, Told(ROLE_ARN, S3_PREFIX, buckets=("set-up",), annotations=("serverless/annotations",))
    )

    assert {policy: judgement.refused for policy, judgement in judged.items() if judgement.refused} == {}
    if "WRITE_SEEN" in os.environ:  # of a run of all these tests; then `python -m tests.infra.policy_report`
        add_seen({policy: sorted(judgement.allowed) for policy, judgement in judged.items()})
    assert judged["backend"].allowed["sagemaker:UpdatePipeline"]  # by `publish`, which every run of these begins with
