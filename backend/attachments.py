"""Adapter: who in the account has a deployment's policies. IAM deletes none that anybody has."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import ClientError

from backend.aws_clients import Clients
from backend.aws_errors import absent, translated


@dataclass(frozen=True, slots=True)
class Holder:
    """A role, user or group that a policy, given by its ARN, is attached to."""

    policy: str
    kind: Literal["role", "user", "group"]
    name: str


class Attachments:
    """Policies and those whom they are attached to."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @translated
    def holders(self, policy: str) -> list[Holder]:
        """All who have the policy; none where there is no such policy."""
        try:
            return list(self._holders(policy))
        except ClientError as error:
            if absent(error):
                return []
            raise

    def _holders(self, policy: str) -> Iterator[Holder]:
        for page in self._clients.iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=policy):
            yield from (Holder(policy, "role", each.get("RoleName", "")) for each in page["PolicyRoles"])
            yield from (Holder(policy, "user", each.get("UserName", "")) for each in page["PolicyUsers"])
            yield from (Holder(policy, "group", each.get("GroupName", "")) for each in page["PolicyGroups"])

    @translated
    def roles_of(self, stack: str) -> set[str]:
        """The names of the roles that a stack made."""
        pages = self._clients.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        resources = [each for page in pages for each in page["StackResourceSummaries"]]
        return {each.get("PhysicalResourceId", "") for each in resources if each["ResourceType"] == "AWS::IAM::Role"}

    @translated
    def detach(self, holder: Holder) -> None:
        """They have the policy no more. They may have lost it already."""
        iam = self._clients.iam
        try:
            if holder.kind == "role":
                iam.detach_role_policy(RoleName=holder.name, PolicyArn=holder.policy)
            elif holder.kind == "user":
                iam.detach_user_policy(UserName=holder.name, PolicyArn=holder.policy)
            else:
                iam.detach_group_policy(GroupName=holder.name, PolicyArn=holder.policy)
        except ClientError as error:
            if not absent(error):
                raise
