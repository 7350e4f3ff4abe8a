"""What each AWS call of this repository must be allowed to do. A call without an entry is an error."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tests.infra.policies import Request

_SAGEMAKER = {"iam:PassedToService": "sagemaker.amazonaws.com"}


@dataclass(frozen=True, slots=True)
class Call:
    """An API call, with the names of what it is about."""

    service: str
    operation: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    program: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls go."""

    account: str
    region: str

    def sagemaker(self, kind: str, name: str) -> str:
        """The ARN of something in SageMaker, which writes names in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def stack(self, name: str) -> str:
        """The ARN of a stack."""
        return f"arn:aws:cloudformation:{self.region}:{self.account}:stack/{name}/1a2b"

    def function(self, name: str) -> str:
        """The ARN of a Lambda function, which may be given already."""
        return name if name.startswith("arn:") else f"arn:aws:lambda:{self.region}:{self.account}:function:{name}"


Parameters: TypeAlias = Mapping[str, str]
Needs: TypeAlias = Callable[[Place, Parameters], list[Request]]


def _list(_: Place, given: Parameters) -> list[Request]:
    context = {"s3:prefix": given["Prefix"]} if "Prefix" in given else {}
    return [Request("s3:ListBucket", f"arn:aws:s3:::{given['Bucket']}", context)]


def _bucket(action: str) -> Needs:
    return lambda _, given: [Request(action, f"arn:aws:s3:::{given['Bucket']}")]


def _object(action: str) -> Needs:
    return lambda _, given: [Request(action, f"arn:aws:s3:::{given['Bucket']}/{given['Key']}")]


def _stack(action: str) -> Needs:
    """On a stack by its ARN, or by its name, which CloudFormation completes by an id of its own."""

    def needs(place: Place, given: Parameters) -> list[Request]:
        value = given["StackName"]
        arn = value if value.startswith("arn:") else place.stack(value)
        return [Request(f"cloudformation:{action}", arn)]

    return needs


def _secret(action: str) -> Needs:
    return lambda _, given: [Request(f"secretsmanager:{action}", given["SecretId"])]


def _policy(action: str) -> Needs:
    return lambda _, given: [Request(f"iam:{action}", given["PolicyArn"])]


def _detach(kind: str) -> Needs:
    """A policy is taken off somebody, who may have any name."""

    def needs(place: Place, given: Parameters) -> list[Request]:
        bearer = f"arn:aws:iam::{place.account}:{kind.lower()}/{given[f'{kind}Name']}"
        return [Request(f"iam:Detach{kind}Policy", bearer, {"iam:PolicyARN": given["PolicyArn"]})]

    return needs


def _delete_versions(_: Place, given: Parameters) -> list[Request]:
    """Which ones stands in the body, which is not recorded."""
    every = f"arn:aws:s3:::{given['Bucket']}/*"
    return [Request("s3:DeleteObject", every), Request("s3:DeleteObjectVersion", every)]


def _anywhere(action: str) -> Needs:
    """An action that knows no resources."""
    return lambda *_: [Request(action, "*")]


def _on(action: str, kind: str, name: str) -> Needs:
    """An action of SageMaker on what parameter *name* names, by its ARN or without."""

    def needs(place: Place, given: Parameters) -> list[Request]:
        value = given[name]
        return [Request(f"sagemaker:{action}", value if value.startswith("arn:") else place.sagemaker(kind, value))]

    return needs


def _passing(needs: Needs, role: str) -> Needs:
    """*needs*, and the role in a parameter is handed to SageMaker."""
    return lambda place, given: [*needs(place, given), Request("iam:PassRole", given[role], _SAGEMAKER)]


def _serving(action: str) -> Needs:
    """Endpoint and its configuration are both looked at."""

    def needs(place: Place, given: Parameters) -> list[Request]:
        endpoint = place.sagemaker("endpoint", given["EndpointName"])
        configuration = place.sagemaker("endpoint-config", given["EndpointConfigName"])
        return [Request(f"sagemaker:{action}", endpoint), Request(f"sagemaker:{action}", configuration)]

    return needs


def _list_packages(place: Place, given: Parameters) -> list[Request]:
    """AWS documents the package as the resource, though it is the group that the call names: allowed on both."""
    group = given["ModelPackageGroupName"]
    return [
        Request("sagemaker:ListModelPackages", place.sagemaker("model-package-group", group)),
        Request("sagemaker:ListModelPackages", place.sagemaker("model-package", f"{group}/1")),
    ]


_OF_COMMANDS: Mapping[tuple[str, str], Needs] = {
    **{
        ("cloudformation", action): _stack(action)
        for action in (
            "CreateStack",
            "UpdateStack",
            "DeleteStack",
            "DescribeStacks",
            "DescribeStackEvents",
            "ListStackResources",
        )
    },
    ("iam", "GetRole"): lambda place, given: [
        Request("iam:GetRole", f"arn:aws:iam::{place.account}:role/{given['RoleName']}")
    ],
    ("iam", "ListEntitiesForPolicy"): _policy("ListEntitiesForPolicy"),
    **{("iam", f"Detach{kind}Policy"): _detach(kind) for kind in ("Role", "User", "Group")},
    ("s3", "DeleteBucket"): _bucket("s3:DeleteBucket"),
    ("s3", "DeleteObjects"): _delete_versions,
    ("s3", "GetBucketPolicy"): _bucket("s3:GetBucketPolicy"),
    ("s3", "GetBucketTagging"): _bucket("s3:GetBucketTagging"),
    ("s3", "GetPublicAccessBlock"): _bucket("s3:GetBucketPublicAccessBlock"),
    ("s3", "ListObjectVersions"): _bucket("s3:ListBucketVersions"),
    **{
        ("sagemaker", action): _anywhere(f"sagemaker:{action}")
        for action in ("ListEndpointConfigs", "ListEndpoints", "ListModelPackageGroups", "ListModels")
    },
    ("sagemaker", "DeleteEndpointConfig"): _on("DeleteEndpointConfig", "endpoint-config", "EndpointConfigName"),
    ("secretsmanager", "PutSecretValue"): _secret("PutSecretValue"),
    ("service-quotas", "ListServiceQuotas"): _anywhere("servicequotas:ListServiceQuotas"),
    ("service-quotas", "ListAWSDefaultServiceQuotas"): _anywhere("servicequotas:ListAWSDefaultServiceQuotas"),
    ("sts", "GetCallerIdentity"): _anywhere("sts:GetCallerIdentity"),
}
_PUT = _object("s3:PutObject")
TABLE: Mapping[tuple[str, str], Needs] = {
    ("s3", "HeadBucket"): _list,
    ("s3", "CreateBucket"): _bucket("s3:CreateBucket"),
    ("s3", "ListObjects"): _list,
    ("s3", "ListObjectsV2"): _list,
    ("s3", "GetObject"): _object("s3:GetObject"),
    ("s3", "HeadObject"): _object("s3:GetObject"),
    ("s3", "PutObject"): _PUT,
    ("s3", "CreateMultipartUpload"): _PUT,
    ("s3", "UploadPart"): _PUT,
    ("s3", "CompleteMultipartUpload"): _PUT,
    ("s3", "AbortMultipartUpload"): _object("s3:AbortMultipartUpload"),
    ("s3", "DeleteObject"): _object("s3:DeleteObject"),
    ("sagemaker", "CreatePipeline"): _passing(_on("CreatePipeline", "pipeline", "PipelineName"), "RoleArn"),
    ("sagemaker", "UpdatePipeline"): _passing(_on("UpdatePipeline", "pipeline", "PipelineName"), "RoleArn"),
    ("sagemaker", "DescribePipeline"): _on("DescribePipeline", "pipeline", "PipelineName"),
    ("sagemaker", "DeletePipeline"): _on("DeletePipeline", "pipeline", "PipelineName"),
    ("sagemaker", "ListPipelineExecutions"): _on("ListPipelineExecutions", "pipeline", "PipelineName"),
    ("sagemaker", "StartPipelineExecution"): _on("StartPipelineExecution", "pipeline", "PipelineName"),
    ("sagemaker", "StopPipelineExecution"): _on("StopPipelineExecution", "", "PipelineExecutionArn"),
    ("sagemaker", "DescribePipelineExecution"): _on("DescribePipelineExecution", "", "PipelineExecutionArn"),
    ("sagemaker", "ListPipelineExecutionSteps"): _on("ListPipelineExecutionSteps", "", "PipelineExecutionArn"),
    ("sagemaker", "CreateModelPackageGroup"): _on(
        "CreateModelPackageGroup", "model-package-group", "ModelPackageGroupName"
    ),
    ("sagemaker", "DeleteModelPackageGroup"): _on(
        "DeleteModelPackageGroup", "model-package-group", "ModelPackageGroupName"
    ),
    ("sagemaker", "CreateModelPackage"): _on("CreateModelPackage", "model-package-group", "ModelPackageGroupName"),
    ("sagemaker", "ListModelPackages"): _list_packages,
    ("sagemaker", "DescribeModelPackage"): _on("DescribeModelPackage", "model-package", "ModelPackageName"),
    ("sagemaker", "UpdateModelPackage"): _on("UpdateModelPackage", "model-package", "ModelPackageArn"),
    ("sagemaker", "DeleteModelPackage"): _on("DeleteModelPackage", "model-package", "ModelPackageName"),
    ("sagemaker", "DescribeTrainingJob"): _on("DescribeTrainingJob", "training-job", "TrainingJobName"),
    ("sagemaker", "CreateTrainingJob"): _passing(
        _on("CreateTrainingJob", "training-job", "TrainingJobName"), "RoleArn"
    ),
    ("sagemaker", "StopTrainingJob"): _on("StopTrainingJob", "training-job", "TrainingJobName"),
    ("sagemaker", "CreateModel"): _passing(_on("CreateModel", "model", "ModelName"), "ExecutionRoleArn"),
    ("sagemaker", "DeleteModel"): _on("DeleteModel", "model", "ModelName"),
    ("sagemaker", "CreateEndpointConfig"): _on("CreateEndpointConfig", "endpoint-config", "EndpointConfigName"),
    ("sagemaker", "CreateEndpoint"): _serving("CreateEndpoint"),
    ("sagemaker", "UpdateEndpoint"): _serving("UpdateEndpoint"),
    ("sagemaker", "DescribeEndpoint"): _on("DescribeEndpoint", "endpoint", "EndpointName"),
    ("sagemaker", "DeleteEndpoint"): _on("DeleteEndpoint", "endpoint", "EndpointName"),
    ("sagemaker-runtime", "InvokeEndpoint"): _on("InvokeEndpoint", "endpoint", "EndpointName"),
    ("secretsmanager", "GetSecretValue"): _secret("GetSecretValue"),
    ("lambda", "Invoke"): lambda place, given: [
        Request("lambda:InvokeFunction", place.function(given["FunctionName"]))
    ],
    **_OF_COMMANDS,
}


def needed(call: Call, place: Place) -> list[Request]:
    """What must be allowed for *call*.

    Raises:
        LookupError: the table has no entry for it.
    """
    try:
        needs = TABLE[call.service, call.operation]
    except KeyError:
        raise LookupError(f"tests/infra/calls.py has no entry for {call.operation} of {call.service}") from None
    return needs(place, call.parameters)


def read_calls(path: Path) -> list[Call]:
    """The calls that a recorder wrote down."""
    return [_call(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _call(line: Mapping[str, Any]) -> Call:
    return Call(line["service"], line["operation"], line["parameters"], line.get("program", ""))


def distinct(calls: Iterable[Call]) -> list[Call]:
    """Each call once, whoever made it."""
    known = {(each.service, each.operation, tuple(sorted(each.parameters.items()))): each for each in calls}
    return list(known.values())
