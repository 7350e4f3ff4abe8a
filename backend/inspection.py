"""Adapter: what can be read of an AWS account to say whether a deployment is in order."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from botocore.exceptions import ClientError

from backend.aws_clients import Clients
from backend.aws_errors import absent, error_code, translated


class Inspection:
    """Reads; it changes nothing."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @translated
    def bucket_region(self, bucket: str) -> str | None:
        """The region that the bucket is in, None where there is no such bucket."""
        try:
            answer = self._clients.s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if absent(error):
                return None
            elsewhere = _headers(error).get("x-amz-bucket-region", "")
            if error_code(error) in {"301", "PermanentRedirect"} and elsewhere:
                return elsewhere
            raise
        return answer.get("BucketRegion") or self._clients.region

    @translated
    def blocks_public_access(self, bucket: str) -> bool:
        """Whether nothing in the bucket can be made public."""
        try:
            block = self._clients.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        except ClientError as error:
            if error_code(error) == "NoSuchPublicAccessBlockConfiguration":
                return False
            raise
        switches = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        return all(block.get(name) for name in switches)

    @translated
    def wants_tls(self, bucket: str) -> bool:
        """Whether the bucket's policy denies requests that come without TLS."""
        try:
            policy = json.loads(self._clients.s3.get_bucket_policy(Bucket=bucket)["Policy"])
        except ClientError as error:
            if error_code(error) == "NoSuchBucketPolicy":
                return False
            raise
        except ValueError:
            return False
        return any(_denies_without_tls(each) for each in _statements(policy))

    @translated
    def trusts_sagemaker(self, role: str) -> bool | None:
        """Whether SageMaker may take the role, given by its ARN, on; None where there is no such role."""
        try:
            found = self._clients.iam.get_role(RoleName=role.rpartition("/")[2])["Role"]
        except ClientError as error:
            if error_code(error) == "NoSuchEntity":
                return None
            raise
        trust: Any = found["AssumeRolePolicyDocument"]  # botocore has decoded it
        return "sagemaker.amazonaws.com" in json.dumps(trust)

    @translated
    def quotas(self, names: Iterable[str]) -> dict[str, float]:
        """The quotas of SageMaker with these names, those of them that AWS lists, for the account or for everybody."""
        wanted = set(names)
        found = self._listed("list_service_quotas", wanted)
        # AWS may leave out what was never changed in the account.
        return {**self._listed("list_aws_default_service_quotas", wanted - found.keys()), **found}

    def _listed(
        self, operation: Literal["list_service_quotas", "list_aws_default_service_quotas"], wanted: set[str]
    ) -> dict[str, float]:
        found: dict[str, float] = {}
        if not wanted:
            return found
        for page in self._clients.quotas.get_paginator(operation).paginate(ServiceCode="sagemaker"):
            found |= {each["QuotaName"]: each["Value"] for each in page["Quotas"] if each["QuotaName"] in wanted}
            if len(found) == len(wanted):
                break
        return found


def _headers(error: ClientError) -> Mapping[str, str]:
    return error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})


def _statements(policy: object) -> Iterable[Mapping[str, Any]]:
    statements = policy.get("Statement", []) if isinstance(policy, Mapping) else []
    return [each for each in (statements if isinstance(statements, list) else [statements]) if isinstance(each, dict)]


def _denies_without_tls(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    return statement.get("Effect") == "Deny" and str(condition.get("aws:SecureTransport", "")).lower() == "false"
