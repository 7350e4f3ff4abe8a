"""Adapter: the clients of boto3 for the commands that make, take away and examine what a deployment has in AWS.

They are used with the rights of the person who runs a command, which are wider than the service's.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from backend.config import aws_region
from backend.errors import SettingsError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sts import STSClient

_CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 5, "mode": "standard"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """One client for each service."""

    cloudformation: "CloudFormationClient"
    iam: "IAMClient"
    quotas: "ServiceQuotasClient"
    s3: "S3Client"
    sagemaker: "SageMakerClient"
    secrets: "SecretsManagerClient"
    sts: "STSClient"

    @classmethod
    def connect(cls) -> "Clients":
        """Clients by boto3's own ``AWS_*`` variables.

        Raises:
            SettingsError: there is no region, or no such profile.
        """
        try:
            session = boto3.session.Session(region_name=aws_region())
            return cls(
                cloudformation=session.client("cloudformation", config=_CONFIG),
                iam=session.client("iam", config=_CONFIG),
                quotas=session.client("service-quotas", config=_CONFIG),
                s3=session.client("s3", config=_CONFIG),
                sagemaker=session.client("sagemaker", config=_CONFIG),
                secrets=session.client("secretsmanager", config=_CONFIG),
                sts=session.client("sts", config=_CONFIG),
            )
        except (BotoCoreError, ValueError) as error:
            raise SettingsError([f"AWS: {error} (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_...)"]) from error

    @property
    def region(self) -> str:
        """The region that everything is in."""
        return self.s3.meta.region_name
