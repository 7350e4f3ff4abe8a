"""The policies as they come out of the templates, with every name in them resolved."""

import functools
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3

from pipeline.rendering import committed_definition
from tests.infra import account
from tests.infra.calls import Place
from tests.infra.policies import Document

NAME = "birds"
CODE = "label-studio/lambda/0a1b.zip"
DEFINITION = "label-studio/pipeline/0a1b.json"
REPOSITORY = f"arn:aws:ecr:{account.REGION}:{account.ACCOUNT}:repository/segmenter"
IMAGE = f"{account.ACCOUNT}.dkr.ecr.{account.REGION}.amazonaws.com/team/backend"


@dataclass(frozen=True, slots=True)
class Deployed:
    """All three stacks: what core.yaml gives out, and the policies by whom they are for.

    *function* trains and deploys, *trainer* is the same function where it is to deploy nothing.
    """

    place: Place
    outputs: Mapping[str, str]
    backend: list[Document]
    sagemaker: list[Document]
    storage: list[Document]
    function: list[Document]
    trainer: list[Document]
    authorizer: list[Document]
    container_start: list[Document]


def from_core(outputs: Mapping[str, str]) -> dict[str, str]:
    """The parameters that trigger.yaml and container.yaml take from the outputs of core.yaml."""
    taken = ("BucketName", "BackendPolicyArn", "SecretArn", "PipelineName", "SageMakerRoleArn")
    return {"Name": outputs["PipelineName"], **{name: outputs[name] for name in taken}}


def fill_bucket(bucket: str) -> None:
    """The pipeline's definition and the function's code lie in the bucket."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("backend/aws_lambda.py", "")
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key=DEFINITION, Body=json.dumps(committed_definition()))
    s3.put_object(Bucket=bucket, Key=CODE, Body=code.getvalue())


@functools.cache
def deployed(
    bucket: str = "", name: str = NAME, prefix: str = "label-studio", region: str = account.REGION
) -> Deployed:
    """Deploy everything into an emulated account, and read the policies there."""
    with account.emulated_account(region):
        core = {"Name": name, "BucketName": bucket, "S3Prefix": prefix, "ImageRepositoryArn": REPOSITORY}
        outputs = account.create(f"{name}-core", "core", **core)
        fill_bucket(outputs["BucketName"])
        account.create(f"{name}-trigger", "trigger", CodeKey=CODE, **from_core(outputs))
        trainer = _of_role(f"{name}-trigger", "FunctionRole")
        boto3.client("cloudformation").delete_stack(StackName=f"{name}-trigger")
        account.create(f"{name}-trigger", "trigger", CodeKey=CODE, DeployEndpoints="true", **from_core(outputs))
        account.create(
            f"{name}-container",
            "container",
            ImageUri=f"{IMAGE}:1",
            LabelStudioUrl="https://l.example",
            **from_core(outputs),
        )
        return Deployed(
            place=Place(account.ACCOUNT, region),
            outputs=outputs,
            backend=[_managed(outputs["BackendPolicyArn"])],
            storage=[_managed(outputs["LabelStudioStoragePolicyArn"])],
            sagemaker=_of_role(f"{name}-core", "SageMakerRole"),
            function=_of_role(f"{name}-trigger", "FunctionRole"),
            trainer=trainer,
            authorizer=_of_role(f"{name}-trigger", "AuthorizerRole"),
            container_start=_of_role(f"{name}-container", "ExecutionRole"),
        )


def _managed(arn: str) -> Document:
    answer: Any = boto3.client("iam").get_policy_version(PolicyArn=arn, VersionId="v1")
    document: Document = answer["PolicyVersion"]["Document"]
    return document


def _of_role(stack: str, resource: str) -> list[Document]:
    """All policies of a role, inline and attached."""
    iam, name = boto3.client("iam"), account.resources(stack)[resource]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    inline: list[Any] = [
        _as_aws_names_logs(iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"])
        for each in iam.list_role_policies(RoleName=name)["PolicyNames"]
    ]
    return [*inline, *(_managed(each["PolicyArn"]) for each in attached)]


def _as_aws_names_logs(document: Any) -> Any:
    """moto leaves out the end of a log group's ARN, which stands for its streams."""
    return json.loads(re.sub(r'(:log-group:[^":*]+)"', r'\1:*"', json.dumps(document)))
