"""Faults of policies: what they allow by mistake, and what they fail to allow."""

import functools
import importlib.resources
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.infra.templates import Faults, Template, resources

# Express Mode makes load balancers and certificates by it; AWS changes it with the product.
_MANAGED_BY_AWS = {"arn:aws:iam::aws:policy/service-role/AmazonECSInfrastructureRoleforExpressGatewayServices"}
# AWS lists a resource for it that there is no way to name yet.
_ON_EVERYTHING = {"cloudwatch:PutMetricData"}


def _statements(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every statement of every policy that says what its bearer may do."""
    for name, properties in resources(template, "AWS::IAM::ManagedPolicy").items():
        yield from ((name, each) for each in properties["PolicyDocument"]["Statement"])
    for name, properties in resources(template, "AWS::IAM::Role").items():
        for policy in properties.get("Policies", []):
            yield from ((name, each) for each in policy["PolicyDocument"]["Statement"])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _managed_policies(template: Template) -> Faults:
    """FullAccess was the fault of the set-up that this one replaces."""
    for name, properties in resources(template, "AWS::IAM::Role").items():
        for arn in properties.get("ManagedPolicyArns", []):
            if ":iam::aws:" in arn and arn not in _MANAGED_BY_AWS:
                yield f"{name}: {arn.rpartition('/')[2]} is AWS's, and wider than what is needed"


@functools.cache
def _services() -> Mapping[str, Any]:
    """AWS's own list of actions, the kinds of resources that they are for, and their conditions."""
    text = importlib.resources.files("cfnlint").joinpath("data/AdditionalSpecs/Policies.json").read_text("utf-8")
    services: Mapping[str, Any] = json.loads(text)
    return services


def kinds_of(action: str) -> list[str]:
    """The kinds of resources that an action is for; none for an action that knows no resources."""
    service, name = action.split(":")
    found: list[str] = _services()[service]["Actions"][name.lower()].get("Resources", [])
    return found


def is_listed(action: str) -> bool:
    """Whether AWS's list has the action: what is new in a service is not in it yet."""
    service, name = action.split(":")
    return name.lower() in _services()[service]["Actions"]


def _fits(action: str, resource: str) -> bool:
    """Whether a resource is of a kind that the action is for."""
    if resource == "*":
        return action in _ON_EVERYTHING or not kinds_of(action)
    service = action.split(":", maxsplit=1)[0]
    return any(_is_of_kind(service, kind, resource) for kind in kinds_of(action))


def _is_of_kind(service: str, kind: str, resource: str) -> bool:
    name = resource.split(":", 5)[-1]
    if service == "s3":
        return (
            kind in {"object", "bucket"} and resource.startswith("arn:aws:s3:") and ("/" in name) == (kind == "object")
        )
    if kind == "pipeline-execution":
        return name.startswith("pipeline/") and "/execution/" in name
    if kind == "log-stream":
        return name.startswith("log-group:") and name.endswith("*")
    listed = {known.lower(): value for known, value in _services()[service]["Resources"].items()}
    values = {"Partition": "aws", "Region": "[a-z0-9-]*", "Account": r"(\d*|\*)"}
    formats = [
        re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], each) for each in listed[kind.lower()]["ARNFormats"]
    ]
    return any(re.fullmatch(each, resource) for each in formats)


def _actions_and_resources(template: Template) -> Faults:
    """A statement whose resources its actions are not for allows nothing, and says nothing."""
    for name, statement in _statements(template):
        if statement["Effect"] != "Allow":
            continue
        actions, listed = _listed(statement["Action"]), _listed(statement["Resource"])
        where = f"{name}.{statement.get('Sid')}"
        for action in actions:
            if "*" in action:
                yield f"{where}: {action} is more than one action"
            elif not any(_fits(action, resource) for resource in listed):
                yield f"{where}: {action} is not for {', '.join(listed)}"
        for resource in listed:
            if not any("*" in action or _fits(action, resource) for action in actions):
                yield f"{where}: no action is for {resource}"


def _passed_roles(template: Template) -> Faults:
    """Whoever may hand on a role to any service may do all that the role may."""
    for name, statement in _statements(template):
        if "iam:PassRole" in _listed(statement["Action"]):
            conditions = statement.get("Condition", {}).get("StringEquals", {})
            if "iam:PassedToService" not in conditions or "*" in str(statement["Resource"]):
                yield f"{name}: a role may be passed to any service, or any role"


def _names_of_the_account(template: Template) -> Faults:
    """IAM is the same in all regions: a second deployment elsewhere could not have the name."""
    for kind, member in (("AWS::IAM::Role", "RoleName"), ("AWS::IAM::ManagedPolicy", "ManagedPolicyName")):
        for name, properties in resources(template, kind).items():
            if member in properties:
                yield f"{name}: {member} stands in the way of the same deployment in another region"


def _trust(template: Template) -> Faults:
    """These services act for many accounts, and could be made to act for another.

    Lambda and, for the load balancer of Express Mode, ECS are documented to be trusted without a condition.
    """
    for name, properties in resources(template, "AWS::IAM::Role").items():
        for statement in properties["AssumeRolePolicyDocument"]["Statement"]:
            service = statement["Principal"]["Service"]
            conditions = statement.get("Condition", {}).get("StringEquals", {})
            if service not in {"lambda.amazonaws.com", "ecs.amazonaws.com"} and "aws:SourceAccount" not in conditions:
                yield f"{name}: {service} may take the role for whichever account"


POLICY_RULES: Sequence[Callable[[Template], Faults]] = (
    *(_managed_policies, _actions_and_resources, _passed_roles, _names_of_the_account, _trust),
)
