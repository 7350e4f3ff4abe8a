"""infra/operator-policy.json lets a person run the commands, and nothing outside of the deployment."""

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.infra import templates
from tests.infra.account import ACCOUNT, REGION
from tests.infra.calls import TABLE, Place
from tests.infra.operator import FORBIDDEN, PATH, policy
from tests.infra.policies import Request, Verdict, evaluate, matches, statements
from tests.infra.rules_of_policies import is_listed, kinds_of

ROOT = Path(__file__).parents[2]
MODULES = ("account", "attachments", "aws", "inspection", "stacks")
SERVICES = ("cloudformation", "iam", "s3", "sagemaker", "secretsmanager", "service-quotas", "sts")
# CloudFormation would use them for properties that no template sets: networks, keys and file systems of one's own.
UNUSED = r"ec2|elasticfilesystem|firehose|kms|s3files|s3tables"
UNUSED_ACTIONS = {
    *("iam:AttachGroupPolicy", "iam:AttachUserPolicy", "s3:REST.PUT.OBJECT", "lambda:GetLayerVersion"),
    *("lambda:GetCodeSigningConfig", "lambda:PassCapacityProvider"),
    *("logs:PutIndexPolicy", "logs:DeleteIndexPolicy", "logs:CreateLogDelivery"),
    *("logs:PutResourcePolicy", "logs:DeleteResourcePolicy"),
    "apigateway:UpdateRestApiPolicy",
}


def of_templates() -> set[str]:
    """What CloudFormation does for the types of resources in the templates, by the types' own schemas."""
    types = {each["Type"] for name in templates.NAMES for each in templates.load(name)["Resources"].values()}
    schemas: list[Any] = [PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", each).schema for each in types]
    handlers = [handler for schema in schemas for handler in schema["handlers"].items()]
    found = {action for verb, handler in handlers if verb != "list" for action in handler["permissions"]}
    # A stack hands its tags on to its resources.
    found |= {action for schema in schemas for action in schema.get("tagging", {}).get("permissions", [])}
    return {each for each in found - UNUSED_ACTIONS if not re.match(rf"({UNUSED}):", each)}


def of_commands() -> set[str]:
    """What the commands' modules can ask for themselves."""
    called = {each for module in MODULES for each in operations(ROOT / "backend" / f"{module}.py")}
    names: defaultdict[str, str] = defaultdict(lambda: "a-name")
    return {request.action for each in called for request in TABLE[each](Place(ACCOUNT, REGION), names)}


def operations(path: Path) -> set[tuple[str, str]]:
    """Whatever is named as a method of a client, or of a paginator."""
    text = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(text) if isinstance(node, ast.Attribute)}
    names |= {node.value for node in ast.walk(text) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    methods = {
        name: (service, operation)
        for service in SERVICES
        for name, operation in boto3.client(service, region_name="us-east-1").meta.method_to_api_mapping.items()  # type: ignore[call-overload]
    }
    return {methods[name] for name in names & methods.keys()}


def granted(action: str) -> list[str]:
    """The resources that an action is allowed on."""
    found: list[str] = []
    for each in statements(policy()):
        actions, on = ([value] if isinstance(value, str) else value for value in (each["Action"], each["Resource"]))
        if any(matches(pattern.lower(), action.lower()) for pattern in actions):
            found += on
    return found


@pytest.mark.parametrize("action", sorted(of_templates() | of_commands()))
def test_an_action_that_commands_or_stacks_need_is_granted_on_a_resource_of_its_kind(action: str):
    service = action.partition(":")[0]
    on = granted(action)
    assert any(each == "*" or each.split(":")[2] == service for each in on), on
    if is_listed(action) and not kinds_of(action):
        assert "*" in on, "an action that knows no resources is granted on all of them alone"


def test_the_stack_s_tags_can_be_put_on_the_api_which_is_another_resource_than_the_api():
    for verb in ("GET", "PUT", "DELETE"):
        request = Request(f"apigateway:{verb}", f"arn:aws:apigateway:{REGION}::/tags/arn:aws:apigateway:x::/restapis/a")
        assert evaluate(policy(), request) is Verdict.ALLOWED


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_not_the_deployment_s_is_not_allowed(what: str):
    assert evaluate(policy(), FORBIDDEN[what]) is Verdict.NOT_ALLOWED


def test_it_fits_into_a_managed_policy_of_iam():
    assert len(re.sub(r"\s", "", PATH.read_text(encoding="utf-8"))) < 6144 - 15 * 40  # with a long name filled in
