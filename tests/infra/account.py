"""An emulated AWS account (moto) in which the templates of infra/ can be created, updated and deleted."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
from moto import mock_aws
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.responses import CloudFormationResponse
from moto.iam.models import Role
from moto.servicequotas.responses import ServiceQuotasResponse

from tests.infra import templates
from tests.infra.added_types import ACCOUNT, add_types, client_of
from tests.infra.refusals import refuse_as_aws_does

__all__ = ["ACCOUNT", "REGION", "create", "emulated_account", "resources", "satisfies", "update"]
REGION = "eu-central-1"
# As a new account has them.
QUOTAS = {
    "ml.g4dn.xlarge for training job usage": 0.0,
    "ml.g4dn.xlarge for spot training job usage": 0.0,
    "ml.m5.xlarge for processing job usage": 2.0,
    "ml.m5.large for endpoint usage": 4.0,
}
_corrected: list[str] = []


@contextlib.contextmanager
def emulated_account(region: str = REGION) -> Iterator[None]:
    """Within it boto3 speaks to an empty account; templates of infra/ can be created there."""
    add_types()
    _behave_as_aws_does()
    with mock_aws():
        boto3.setup_default_session(region_name=region)
        try:
            yield
        finally:
            boto3.DEFAULT_SESSION = None


def create(stack: str, template: str, **parameters: str) -> dict[str, str]:
    """Create a stack from a template of infra/. Returns its outputs."""
    client = boto3.client("cloudformation")
    client.create_stack(**_request(stack, template, parameters))
    return _outputs(stack)


def update(stack: str, template: str, **parameters: str) -> dict[str, str]:
    """Update a stack. Returns its outputs."""
    boto3.client("cloudformation").update_stack(**_request(stack, template, parameters))
    return _outputs(stack)


def resources(stack: str) -> dict[str, str]:
    """What a stack is made of: logical ids, and what they are called really."""
    summaries = boto3.client("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
    return {each["LogicalResourceId"]: each.get("PhysicalResourceId", "") for each in summaries}


def _request(stack: str, template: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "StackName": stack,
        "TemplateBody": templates.path(template).read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }


def _outputs(stack: str) -> dict[str, str]:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    assert described["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}, described
    return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}


def _behave_as_aws_does() -> None:
    """Where moto differs in what commands that drive CloudFormation rely on."""
    if _corrected:
        return
    resources: Any = parsing.ResourceMap
    resources.delete = _retaining(resources.delete)
    resources.load_parameters = _checking(resources.load_parameters)
    responses: Any = CloudFormationResponse
    responses._validate_different_update = _refuse_same_update
    role: Any = Role
    role.create_from_cloudformation_json = _attaching(role.create_from_cloudformation_json)
    role.delete_from_cloudformation_json = _detaching(role.delete_from_cloudformation_json)
    quotas: Any = ServiceQuotasResponse
    quotas.list_service_quotas = _listing
    quotas.list_aws_default_service_quotas = _listing
    refuse_as_aws_does()
    _corrected.append("moto")


def _listing(_: object) -> str:
    """moto knows the quotas of VPC alone."""
    return json.dumps({"Quotas": [{"QuotaName": name, "Value": value} for name, value in QUOTAS.items()]})


def _checking(load: Callable[[parsing.ResourceMap], None]) -> Callable[[parsing.ResourceMap], None]:
    """moto takes any value for a parameter."""

    def checking(resources: parsing.ResourceMap) -> None:
        load(resources)
        slots = resources._template.get("Parameters", {})
        for name, value in resources.input_parameters.items():
            if name in slots and not satisfies(slots[name], value):
                reason = slots[name].get("ConstraintDescription", "its pattern")
                raise ValidationError(message=f"Parameter '{name}' failed to satisfy constraint: {reason}")

    return checking


def satisfies(slot: Mapping[str, Any], value: str) -> bool:
    """Whether CloudFormation takes *value* for a parameter; a list's pattern is for each of its elements."""
    values = value.split(",") if slot["Type"] == "CommaDelimitedList" else [value]
    pattern, allowed = slot.get("AllowedPattern", ".*"), slot.get("AllowedValues", values)
    fits = all(re.fullmatch(pattern, each, re.DOTALL) and each in allowed for each in values)
    if slot["Type"] == "Number":
        return fits and slot.get("MinValue", float("-inf")) <= float(value) <= slot.get("MaxValue", float("inf"))
    return fits and len(value) <= slot.get("MaxLength", len(value))


def _retaining(delete: Callable[[parsing.ResourceMap], None]) -> Callable[[parsing.ResourceMap], None]:
    """moto knows of Retain alone; RetainExceptOnCreate is the same for a stack that was made."""

    def retaining(resources: parsing.ResourceMap) -> None:
        for resource in resources._resource_json_map.values():
            if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
                resource["DeletionPolicy"] = "Retain"
        delete(resources)

    return retaining


def _refuse_same_update(request: Any, given: list[dict[str, Any]] | None, body: str, stack: Any) -> None:
    """moto compares what was given with what it made of it, numbers and lists, and so finds no two alike.

    Of tags it takes no notice.
    """
    tags = {each["Key"]: each["Value"] for each in request._get_param("Tags", [])}
    slots = stack.template_dict.get("Parameters", {})
    before = {name: str(slot.get("Default", "")) for name, slot in slots.items()} | stack.resource_map.input_parameters
    after = {each["ParameterKey"]: each.get("ParameterValue", before.get(each["ParameterKey"])) for each in given or []}
    if stack.template == body and before == before | after and stack.tags == tags:
        raise ValidationError(stack.name, message="No updates are to be performed.")


def _attaching(create: Callable[..., Role]) -> Callable[..., Role]:
    """moto attaches no managed policies to a role, and stores inline ones as Python's text of a dictionary.

    Those that AWS itself manages are left out: moto takes a second to load them.
    """

    def creating(name: str, resource: Any, account_id: str, region_name: str, **kwargs: object) -> Role:
        properties = resource["Properties"]
        for policy in properties.get("Policies", []):
            policy["PolicyDocument"] = json.dumps(policy["PolicyDocument"])
        role = create(name, resource, account_id, region_name, **kwargs)
        for arn in properties.get("ManagedPolicyArns", []):
            if ":iam::aws:" not in arn:
                client_of("iam", region_name).attach_role_policy(RoleName=role.name, PolicyArn=arn)
        return role

    return creating


def _detaching(delete: Callable[..., None]) -> Callable[..., None]:
    """CloudFormation takes its policies off a role before it deletes it."""

    def deleting(name: str, resource: Any, account_id: str, region_name: str) -> None:
        iam = client_of("iam", region_name)
        for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=name, PolicyArn=attached["PolicyArn"])
        for inline in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=inline)
        delete(name, resource, account_id, region_name)

    return deleting
