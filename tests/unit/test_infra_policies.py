"""The evaluator of policies, which the tests of infra/ rest on, and what our policies forbid."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.calls import Call, needed
from tests.infra.deployed import deployed
from tests.infra.forbidden import FORBIDDEN, call, requests
from tests.infra.policies import Grant, PolicyError, Request, Verdict, evaluate, matches, unused

BUCKET = "arn:aws:s3:::birds"
READ = Request("s3:GetObject", f"{BUCKET}/images/a.jpg")


def policy(*statements: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"Version": "2012-10-17", "Statement": list(statements)}]


def allow(action: object = "s3:GetObject", resource: object = f"{BUCKET}/*", **more: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def test_nothing_is_allowed_that_no_statement_allows():
    assert evaluate(policy(allow("s3:PutObject")), READ) is Verdict.NOT_ALLOWED
    assert evaluate([], READ) is Verdict.NOT_ALLOWED


def test_a_deny_counts_more_than_any_allow():
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": f"{BUCKET}/images/*"}
    assert evaluate([*policy(allow()), *policy(deny)], READ) is Verdict.DENIED
    assert evaluate(policy(deny, allow()), Request("s3:GetObject", f"{BUCKET}/code/a")) is Verdict.ALLOWED


@pytest.mark.parametrize(
    ("pattern", "arn", "fits"),
    [
        ("*", f"{BUCKET}/a", True),
        (f"{BUCKET}/*", f"{BUCKET}/", True),
        (f"{BUCKET}/*", f"{BUCKET}/a/b:c", True),
        (f"{BUCKET}/*", BUCKET, False),
        (f"{BUCKET}/images/?.jpg", f"{BUCKET}/images/a.jpg", True),
        (f"{BUCKET}/images/?.jpg", f"{BUCKET}/images/ab.jpg", False),
        (f"{BUCKET}/A/*", f"{BUCKET}/a/b", False),
        ("arn:aws:ecr:*:1:repository/x", "arn:aws:ecr:eu-west-1:1:repository/x", True),
        ("arn:aws:*:repository/x", "arn:aws:ecr:eu-west-1:1:repository/x", False),
        (f"{BUCKET}/[ab]", f"{BUCKET}/a", False),
    ],
)
def test_wildcards_of_resources_reach_over_slashes_but_not_over_the_parts_of_an_arn(pattern: str, arn: str, fits: bool):
    verdict = evaluate(policy(allow(resource=pattern)), Request("s3:GetObject", arn))
    assert (verdict is Verdict.ALLOWED) is fits


@pytest.mark.parametrize("action", ["s3:getobject", "s3:Get*", "s3:*", "*", "S3:GetObject", "s3:GetObjec?"])
def test_actions_have_wildcards_and_no_case(action: str):
    assert evaluate(policy(allow(action)), READ) is Verdict.ALLOWED


def test_not_action_and_not_resource_name_what_is_left_out():
    listed = {"Effect": "Allow", "NotAction": ["s3:Put*"], "NotResource": f"{BUCKET}/secret/*"}
    assert evaluate(policy(listed), READ) is Verdict.ALLOWED
    assert evaluate(policy(listed), Request("s3:PutObject", READ.resource)) is Verdict.NOT_ALLOWED
    assert evaluate(policy(listed), Request("s3:GetObject", f"{BUCKET}/secret/a")) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize(
    ("operator", "wanted", "got", "holds"),
    [
        ("StringEquals", "images/", "images/", True),
        ("StringEquals", "images/*", "images/a", False),
        ("StringLike", ["annotations/*", "images/*"], "images/a", True),
        ("StringLike", "images/*", "image", False),
        ("Bool", "false", "False", True),
        ("Bool", "false", "true", False),
        ("ArnLike", "arn:aws:sns:*:1:birds", "arn:aws:sns:eu-west-1:1:birds", True),
        ("ArnLike", "arn:aws:*:birds", "arn:aws:sns:eu-west-1:1:birds", False),
    ],
)
def test_a_condition_is_compared_by_its_operator(operator: str, wanted: object, got: str, holds: bool):
    documents = policy(allow(Condition={operator: {"aws:Key": wanted}}))
    verdict = evaluate(documents, Request(READ.action, READ.resource, {"AWS:key": got}))
    assert (verdict is Verdict.ALLOWED) is holds


def test_all_conditions_must_hold_and_one_on_a_key_that_does_not_come_along_does_not():
    condition = {"StringEquals": {"a": "1", "b": "2"}}
    documents = policy(allow(Condition=condition))
    assert evaluate(documents, Request(READ.action, READ.resource, {"a": "1", "b": "2"})) is Verdict.ALLOWED
    assert evaluate(documents, Request(READ.action, READ.resource, {"a": "1"})) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize(
    "statement",
    [
        allow(Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
        allow(resource=f"{BUCKET}/${{aws:username}}/*"),
        allow(Sorce="*"),
        {"Effect": "Allow", "Resource": "*"},
        {"Effect": "allow", "Action": "*", "Resource": "*"},
    ],
)
def test_what_is_not_known_is_an_error_and_never_a_yes(statement: dict[str, Any]):
    with pytest.raises(PolicyError):
        evaluate(policy(statement), READ)


def test_unused_names_the_action_and_the_resource_that_nothing_makes_use_of():
    documents = policy(allow(["s3:GetObject", "s3:PutObject"], [f"{BUCKET}/images/*", f"{BUCKET}/code/*"], Sid="Read"))
    assert unused(documents, [READ]) == [Grant("Read", "s3:PutObject", "any"), Grant("Read", "any", f"{BUCKET}/code/*")]


def test_matches_takes_every_character_for_itself_but_the_two():
    assert matches("a.b+(c)", "a.b+(c)")
    assert not matches("a.b", "axb")


# ---- what the policies of infra/ forbid ----------------------------------------------------------------------------


def forbidden() -> list[Any]:
    return [
        pytest.param(who, each, id=f"{who}: {what}") for who, table in FORBIDDEN.items() for what, each in table.items()
    ]


@pytest.mark.parametrize(("who", "each"), forbidden())
def test_nobody_may(who: str, each: Call):
    """The call as a whole: one thing that it needs and that is not allowed is enough."""
    stacks = deployed()
    verdicts = {evaluate(getattr(stacks, who), request) for request in requests(each, stacks)}
    assert verdicts - {Verdict.ALLOWED}, "allowed"


def test_the_function_may_call_itself_and_no_other():
    stacks = deployed()
    for function, verdict in (("birds-trigger", Verdict.ALLOWED), ("birds-authorizer", Verdict.NOT_ALLOWED)):
        (request,) = needed(call("lambda", "Invoke", FunctionName=function), stacks.place)
        assert {evaluate(each, request) for each in (stacks.function, stacks.trainer)} == {verdict}


def test_the_secret_is_for_the_authorizer_and_the_start_of_the_container_alone():
    stacks = deployed()
    (request,) = needed(call("secretsmanager", "GetSecretValue", SecretId=stacks.outputs["SecretArn"]), stacks.place)
    everybody = ("backend", "sagemaker", "storage", "function", "trainer", "authorizer", "container_start")
    readers = {who for who in everybody if evaluate(getattr(stacks, who), request) is Verdict.ALLOWED}
    assert readers == {"authorizer", "container_start"}


@pytest.mark.parametrize("policy_of", ["backend", "storage", "sagemaker", "trainer"])
def test_managed_policies_fit_into_their_size_with_the_longest_names(policy_of: str):
    """IAM takes 6,144 characters, blanks not counted."""
    longest = deployed(bucket="b" * 63, name="n" * 40, prefix="p" * 60)
    for document in getattr(longest, policy_of):
        assert len(json.dumps(document, separators=(",", ":"))) <= 6144
