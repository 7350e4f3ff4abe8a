"""Adapter: what of a deployment lies in an AWS account beside its stacks, to be made or taken away."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from botocore.exceptions import ClientError

from backend.aws_clients import Clients
from backend.aws_errors import absent, error_code, is_there, translated
from backend.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_STACK_TAG = "aws:cloudformation:stack-name"
_BATCH = 1000  # objects that S3 deletes in one call
Kind = Literal["endpoint", "endpoint configuration", "model"]
# What SageMaker answers where there is nothing to stop any more; each of them may mean something else too.
_TOO_LATE = {"ConflictException", "ResourceNotFound", "ValidationException"}
_CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
KINDS: tuple[Kind, ...] = ("endpoint", "endpoint configuration", "model")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who runs this."""

    account: str
    arn: str


@dataclass(frozen=True, slots=True)
class PutPipeline:
    """The pipeline as SageMaker has it."""

    definition: Mapping[str, object]
    role_arn: str


class Account:
    """One deployment's things in one account and region."""

    def __init__(self, name: str, clients: Clients) -> None:
        """*name* is the deployment's, ``SAGEMAKER_PIPELINE``."""
        self._name = name
        self._clients = clients

    @property
    def region(self) -> str:
        """The region that everything is in."""
        return self._clients.region

    @translated
    def identity(self) -> Identity:
        """Whose credentials are used."""
        answer = self._clients.sts.get_caller_identity()
        return Identity(answer["Account"], answer["Arn"])

    # -- the secret --------------------------------------------------------------------------------------------------

    @translated
    def secret(self, arn: str) -> dict[str, str]:
        """The values in the secret; none where somebody has put something else there than a JSON object.

        Raises:
            AwsError: it is not there.
        """
        try:
            text = self._clients.secrets.get_secret_value(SecretId=arn)["SecretString"]
            value = json.loads(text)
        except ClientError as error:
            if error_code(error) in {"ResourceNotFoundException", "InvalidRequestException"}:
                raise AwsError(
                    f"the secret {arn} was deleted: `aws secretsmanager restore-secret --secret-id {arn}` brings it "
                    "back for some days; after that delete the stack and make it anew (the bucket stays)"
                ) from error
            raise
        except (KeyError, ValueError):
            return {}
        return {str(key): str(each) for key, each in value.items()} if isinstance(value, dict) else {}

    @translated
    def put_secret(self, arn: str, values: Mapping[str, str]) -> None:
        """Change the values in the secret."""
        self._clients.secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(dict(values)))

    # -- the pipeline ------------------------------------------------------------------------------------------------

    @translated
    def pipeline(self) -> PutPipeline | None:
        """The pipeline, None where there is none."""
        try:
            found = self._clients.sagemaker.describe_pipeline(PipelineName=self._name)
            return PutPipeline(json.loads(found["PipelineDefinition"]), found["RoleArn"])
        except ClientError as error:
            if absent(error):
                return None
            raise
        except ValueError as error:
            raise AwsError(f"the definition of the pipeline {self._name} is not readable JSON") from error

    @translated
    def running_executions(self) -> list[str]:
        """The ARNs of the pipeline's executions that have not ended; none where there is no pipeline."""
        pages = self._clients.sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=self._name)
        try:
            found = [each for page in pages for each in page["PipelineExecutionSummaries"]]
        except ClientError as error:
            if absent(error):
                return []
            raise
        return [
            each["PipelineExecutionArn"]
            for each in found
            if each["PipelineExecutionStatus"] in {"Executing", "Stopping"}
        ]

    @translated
    def stop_execution(self, arn: str) -> None:
        """Begin to stop an execution. It may have ended already, or be about to stop."""
        token = re.sub(r"\W", "-", arn)[-64:]  # the same one each time, so that it may be asked for again
        try:
            self._clients.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token)
        except ClientError as error:
            if error_code(error) not in _TOO_LATE or self._executes(arn):
                raise

    def _executes(self, arn: str) -> bool:
        try:
            found = self._clients.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        except ClientError as error:
            if absent(error):
                return False
            raise
        return found["PipelineExecutionStatus"] == "Executing"

    # -- the model registry ------------------------------------------------------------------------------------------

    @translated
    def packages(self) -> dict[str, list[str]]:
        """The ARNs of the model packages of all projects, by their groups."""
        pages = self._clients.sagemaker.get_paginator("list_model_package_groups").paginate(
            NameContains=f"{self._name}-p"
        )
        pattern = re.compile(rf"{re.escape(self._name)}-p\d+")
        names = [each["ModelPackageGroupName"] for page in pages for each in page["ModelPackageGroupSummaryList"]]
        return {name: self._packages_of(name) for name in names if pattern.fullmatch(name)}

    def _packages_of(self, group: str) -> list[str]:
        pages = self._clients.sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        return [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]

    @translated
    def delete_packages(self, group: str) -> int:
        """Delete a group with all that is in it; how many model packages there were."""
        packages = self._packages_of(group)
        for arn in packages:
            self._clients.sagemaker.delete_model_package(ModelPackageName=arn)
        self._clients.sagemaker.delete_model_package_group(ModelPackageGroupName=group)
        return len(packages)

    # -- what serves -------------------------------------------------------------------------------------------------

    @translated
    def served(self, kind: Kind) -> list[str]:
        """The names of what the backend made of this *kind* to serve the models of its projects."""
        pattern = re.compile(rf"{re.escape(self._name)}-p\d+{'' if kind == 'endpoint' else '-v[0-9]+'}")
        return [name for name in self._listed(kind) if pattern.fullmatch(name)]

    def _listed(self, kind: Kind) -> Iterator[str]:
        sagemaker, part = self._clients.sagemaker, f"{self._name}-p"
        if kind == "endpoint":
            for endpoints in sagemaker.get_paginator("list_endpoints").paginate(NameContains=part):
                yield from (each["EndpointName"] for each in endpoints["Endpoints"])
        elif kind == "model":
            for models in sagemaker.get_paginator("list_models").paginate(NameContains=part):
                yield from (each["ModelName"] for each in models["Models"])
        else:
            for configs in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=part):
                yield from (each["EndpointConfigName"] for each in configs["EndpointConfigs"])

    @translated
    def delete_served(self, kind: Kind, name: str) -> bool:
        """Begin to delete an endpoint; delete a configuration or a model. It may be gone already.

        Returns whether that was done: an endpoint that is being made or changed cannot be deleted yet.
        """
        sagemaker = self._clients.sagemaker
        try:
            if kind == "endpoint":
                sagemaker.delete_endpoint(EndpointName=name)
            elif kind == "model":
                sagemaker.delete_model(ModelName=name)
            else:
                sagemaker.delete_endpoint_config(EndpointConfigName=name)
        except ClientError as error:
            if absent(error):
                return True
            if kind == "endpoint" and error_code(error) == "ValidationException" and self._changes(name):
                return False
            raise
        return True

    def _changes(self, endpoint: str) -> bool:
        try:
            return self._clients.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] in _CHANGING
        except ClientError as error:
            if absent(error):
                return True
            raise

    # -- the bucket --------------------------------------------------------------------------------------------------

    @translated
    def bucket_stack(self, bucket: str) -> str | None:
        """The name of the stack that made the bucket, '' where none did; None where there is no such bucket."""
        try:
            tags = self._clients.s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
        except ClientError as error:
            if error_code(error) == "NoSuchTagSet":
                return ""
            if error_code(error) == "NoSuchBucket":
                return None
            raise
        return next((tag["Value"] for tag in tags if tag["Key"] == _STACK_TAG), "")

    @translated
    def empty_bucket(self, bucket: str, *, told: Callable[[int], None]) -> int:
        """Delete every version of every object; how many there were. *told* is called with the number so far."""
        count = 0
        versions = self._versions(bucket)
        while batch := list(itertools.islice(versions, _BATCH)):
            answer = self._clients.s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                first = errors[0]
                what = f"{first.get('Key', '')}: {first.get('Code', '')} {first.get('Message', '')}"
                raise AwsError(f"{len(errors)} objects of {bucket} cannot be deleted, the first one is {what}")
            count += len(batch)
            told(count)
        return count

    def _versions(self, bucket: str) -> "Iterator[ObjectIdentifierTypeDef]":
        for page in self._clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                yield cast("ObjectIdentifierTypeDef", {"Key": each["Key"], "VersionId": each["VersionId"]})

    @translated
    def delete_bucket(self, bucket: str) -> None:
        """Delete the bucket, which is empty."""
        self._clients.s3.delete_bucket(Bucket=bucket)

    @translated
    def bucket_exists(self, bucket: str) -> bool:
        """Whether there is such a bucket in this account.

        Raises:
            AwsAccessError: there is one, and it is somebody else's.
        """
        return is_there(lambda: self._clients.s3.head_bucket(Bucket=bucket))
