"""Adapter: AWS through boto3. Whether AWS is real, boto3's own ``AWS_*`` variables decide; nothing here asks."""

import contextlib
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import boto3
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from backend.aws_errors import absent, busy, error_code, exists_already, is_there, translated
from backend.config import Settings, aws_region
from backend.errors import AwsBusyError, AwsError, ImageError, SettingsError
from backend.shortages import Use, explained, shortage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import ObjectTypeDef
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import ProductionVariantInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        DescribeModelPackageOutputTypeDef,
        PipelineExecutionStepTypeDef,
        ProductionVariantTypeDef,
    )
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

R = TypeVar("R")
logger = logging.getLogger(__name__)

_DISPLAY_NAME = re.compile(r"p(\d+)-n(\d+)-(\d+)")
# Short, since the callers poll: what fails now is tried again in a minute.
_CONTROL = Config(
    connect_timeout=3,
    read_timeout=30,
    retries={"total_max_attempts": 2, "mode": "standard"},
    max_pool_connections=32,  # images are read by many threads
)
_ANSWER_SECONDS = 65.0  # an endpoint's container has 60


def _runtime(settings: Settings) -> Config:
    """An answer that comes too late is of no use, so it is not waited for and the endpoint not asked twice."""
    return Config(
        connect_timeout=3,
        read_timeout=min(_ANSWER_SECONDS, settings.predict_timeout_seconds),
        retries={"total_max_attempts": 1},
        max_pool_connections=settings.predict_concurrency + settings.threads,  # each request has a call of its own
        tcp_keepalive=True,
    )


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """An access key that somebody else may use too, for as long as they like."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Execution:
    """One pipeline execution of a project; *annotations* is how many there were when it was started.

    *reason* is why it failed, '' unless it did.
    """

    arn: str
    status: str
    annotations: int
    attempt: int
    started: datetime
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether it may still produce a model."""
        return self.status in {"Executing", "Stopping"}

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end without an error, whatever it decided about the model."""
        return self.status == "Succeeded"

    @property
    def failed(self) -> bool:
        """Whether a step failed."""
        return self.status in {"Failed", "CompletedWithFailures"}

    @property
    def used_up(self) -> bool:
        """Whether its annotations are not to be trained on again: it succeeded, or somebody stopped it."""
        return self.status in {"Succeeded", "Stopped"}


@dataclass(frozen=True, slots=True)
class Failure:
    """How an execution failed; *refused*: by a Fail step, since the model was not good enough.

    *shortage* says what to do where AWS had no room for one of its jobs, '' for any other failure.
    """

    ended: datetime
    refused: bool = False
    shortage: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an execution; *job* is the name of the training job that it runs, '' for other steps."""

    name: str
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """A version as the registry lists it."""

    arn: str
    version: int
    approval: str


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A version in a project's model package group; *model_data* is the URI of its model.tar.gz."""

    arn: str
    version: int
    dataset: str
    training_job: str
    model_data: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A project's endpoint as it is; *version* is the model package's that it serves.

    *failure* is why it or its update failed; *shortage* says what to do where that was for lack of room.
    """

    status: str
    version: int | None
    failure: str = ""
    shortage: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered; *version* is the model package's that did, None for an endpoint of somebody else's."""

    body: bytes
    version: int | None = None


def execution_name(project: int, annotations: int, attempt: int) -> str:
    """What an execution is called: the one place, beside its ARN, that tells whose it is."""
    return f"p{project}-n{annotations}-{attempt}"


class Aws:
    """S3, pipeline executions, model packages and endpoints of this backend's pipeline."""

    def __init__(
        self,
        settings: Settings,
        *,
        s3: "S3Client | None" = None,
        sagemaker: "SageMakerClient | None" = None,
        runtime: "SageMakerRuntimeClient | None" = None,
    ) -> None:
        self._settings = settings
        try:
            self._session = session = boto3.session.Session(region_name=aws_region())
            self._s3: S3Client = s3 or session.client("s3", config=_CONTROL)
            self._sagemaker: SageMakerClient = sagemaker or session.client("sagemaker", config=_CONTROL)
            self._runtime: SageMakerRuntimeClient = runtime or session.client(
                "sagemaker-runtime", config=_runtime(settings)
            )
        except (BotoCoreError, ValueError) as error:  # no region, no such profile, an endpoint URL that is none
            raise SettingsError([f"AWS: {error} (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_...)"]) from error

    @property
    def region(self) -> str:
        """The region that everything is in."""
        return self._s3.meta.region_name

    @translated
    def lend(self, use: Callable[["S3Client", "SageMakerClient"], R]) -> R:
        """What *use* makes of these clients; what they raise is told as an AwsError."""
        return use(self._s3, self._sagemaker)

    @translated
    def access_keys(self) -> AccessKeys:
        """The access key of this process.

        Raises:
            AwsError: there is none, or it expires, as those of a role or a session do, so nobody else can keep it.
        """
        credentials = self._session.get_credentials()
        if credentials is None:
            raise AwsError("wanted AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, found no AWS credentials")
        if isinstance(credentials, RefreshableCredentials):
            raise AwsError("wanted an access key that can be kept, found credentials of a role, which expire")
        keys = credentials.get_frozen_credentials()
        if keys.token:
            raise AwsError("wanted an access key that can be kept, found one with AWS_SESSION_TOKEN, which expires")
        return AccessKeys(str(keys.access_key), str(keys.secret_key))

    # -- S3 ------------------------------------------------------------------------------------------------------

    @translated
    def get_object(self, bucket: str, key: str, *, limit: int | None = None) -> bytes:
        """The object's bytes; an ImageError where they are more than *limit*."""
        answer = self._s3.get_object(Bucket=bucket, Key=key)
        with contextlib.closing(answer["Body"]) as body:
            if limit is not None and answer["ContentLength"] > limit:
                raise ImageError(f"s3://{bucket}/{key[:200]} is larger than {limit // 2**20} MB")
            return bytes(body.read())

    @translated
    def put_object(self, key: str, body: bytes, *, content_type: str | None = None) -> None:
        """Write an object into ``S3_BUCKET``."""
        extra = {"ContentType": content_type} if content_type else None
        self._s3.upload_fileobj(io.BytesIO(body), self._settings.s3_bucket, key, ExtraArgs=extra)

    @translated
    def has_objects(self, prefix: str) -> bool:
        """Whether any object of ``S3_BUCKET`` has a key that begins with *prefix*."""
        answer = self._s3.list_objects_v2(Bucket=self._settings.s3_bucket, Prefix=prefix, MaxKeys=1)
        return answer.get("KeyCount", 0) > 0

    @translated
    def object_sizes(self, prefix: str) -> dict[str, int]:
        """Key and bytes of every object of ``S3_BUCKET`` whose key begins with *prefix*."""
        return {entry["Key"]: entry["Size"] for entry in self._objects(prefix)}

    @translated
    def etags(self, prefix: str) -> dict[str, str]:
        """Key and ETag of every object of ``S3_BUCKET`` whose key begins with *prefix*; who writes anew changes it."""
        return {entry["Key"]: entry["ETag"] for entry in self._objects(prefix)}

    def _objects(self, prefix: str) -> "Iterator[ObjectTypeDef]":
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._settings.s3_bucket, Prefix=prefix):
            yield from page.get("Contents", [])

    @translated
    def folders(self, prefix: str) -> list[str]:
        """The names of the folders of ``S3_BUCKET`` right below *prefix*, which ends with a slash."""
        paginator = self._s3.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=self._settings.s3_bucket, Prefix=prefix, Delimiter="/")
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return [each.removeprefix(prefix).rstrip("/") for each in found]

    @translated
    def has_object(self, key: str) -> bool:
        """Whether ``S3_BUCKET`` has an object *key*."""
        return is_there(lambda: self._s3.head_object(Bucket=self._settings.s3_bucket, Key=key))

    @translated
    def check_bucket(self) -> None:
        """Raise if ``S3_BUCKET`` is not there or not ours."""
        self._s3.head_bucket(Bucket=self._settings.s3_bucket)

    @translated
    def has_bucket(self) -> bool:
        """Whether ``S3_BUCKET`` is there; raises if it is somebody else's."""
        return is_there(lambda: self._s3.head_bucket(Bucket=self._settings.s3_bucket))

    @translated
    def create_bucket(self) -> None:
        """Make ``S3_BUCKET`` in this region."""
        if self.region == "us-east-1":  # the one that S3 wants left out
            self._s3.create_bucket(Bucket=self._settings.s3_bucket)
            return
        where = cast("BucketLocationConstraintType", self.region)
        self._s3.create_bucket(Bucket=self._settings.s3_bucket, CreateBucketConfiguration={"LocationConstraint": where})

    def get_json(self, uri: str) -> Mapping[str, object]:
        """A JSON object in S3, by its ``s3://`` URI.

        Raises:
            AwsError: it cannot be read or is no JSON object.
        """
        bucket, key = split_s3_uri(uri)
        try:
            value = json.loads(self.get_object(bucket, key))
        except ValueError as error:
            raise AwsError(f"{uri} is not readable JSON") from error
        if not isinstance(value, dict):
            raise AwsError(f"{uri} is not a JSON object")
        return value

    # -- pipeline executions -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _of_pipeline(self) -> Iterator[None]:
        """What to do is told where there is no pipeline (any more)."""
        try:
            yield
        except ClientError as error:
            if not absent(error):
                raise
            where = f"{self._settings.sagemaker_pipeline} in {self.region}"
            raise AwsError(f"there is no pipeline {where}: run `provision` or `setup`, which make it anew") from error

    @translated
    def pipeline_arn(self) -> str:
        """The pipeline's ARN; raises if there is no such pipeline."""
        with self._of_pipeline():
            return self._sagemaker.describe_pipeline(PipelineName=self._settings.sagemaker_pipeline)["PipelineArn"]

    @translated
    def executions(self, project: int) -> list[Execution]:
        """The project's executions, newest first; the pipeline is shared by all projects of this backend.

        It looks back until a success that is more than a day old: further back nothing counts any more.
        """
        executions = []
        yesterday = datetime.now(UTC) - timedelta(days=1)
        with self._of_pipeline():
            for execution in self._executions(project):
                executions.append(execution)
                if execution.succeeded and execution.started < yesterday:
                    break
        return executions

    def _executions(self, project: int) -> Iterator[Execution]:
        pages = self._sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=self._settings.sagemaker_pipeline,
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"PageSize": 100},
        )
        for summary in (each for page in pages for each in page["PipelineExecutionSummaries"]):
            name = _DISPLAY_NAME.fullmatch(summary.get("PipelineExecutionDisplayName", ""))
            if name is not None and int(name[1]) == project:
                yield Execution(
                    arn=summary["PipelineExecutionArn"],
                    status=summary["PipelineExecutionStatus"],
                    annotations=int(name[2]),
                    attempt=int(name[3]),
                    started=summary["StartTime"],
                    reason=summary.get("PipelineExecutionFailureReason", ""),
                )

    @translated
    def execution_failure(self, execution: Execution) -> Failure:
        """When and how a failed execution came to its end."""
        described = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution.arn)
        steps = self._sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution.arn)
        return Failure(
            ended=described["LastModifiedTime"],
            refused=any("Fail" in step.get("Metadata", {}) for step in steps["PipelineExecutionSteps"]),
            shortage=next(filter(None, map(self._shortage, steps["PipelineExecutionSteps"])), ""),
        )

    def _shortage(self, step: "PipelineExecutionStepTypeDef") -> str:
        return shortage(step.get("FailureReason", ""), use=_use(step), region=self.region)

    @translated
    def steps(self, execution: Execution) -> tuple[Step, ...]:
        """The execution's steps that have begun, in the order in which they did."""
        answer = self._sagemaker.list_pipeline_execution_steps(
            PipelineExecutionArn=execution.arn, SortOrder="Ascending", MaxResults=100
        )
        return tuple(
            Step(
                name=step["StepName"],
                status=step["StepStatus"],
                started=step.get("StartTime"),
                ended=step.get("EndTime"),
                reason=explained(step.get("FailureReason", ""), use=_use(step), region=self.region),
                job=step.get("Metadata", {}).get("TrainingJob", {}).get("Arn", "").rpartition("/")[2],
            )
            for step in answer["PipelineExecutionSteps"]
        )

    @translated
    def start_execution(
        self, *, project: int, annotations: int, attempt: int, token: str, parameters: Mapping[str, str]
    ) -> str:
        """Start the pipeline; the same *token* never starts it twice. Returns the execution's ARN."""
        with self._of_pipeline():
            return self._sagemaker.start_pipeline_execution(
                PipelineName=self._settings.sagemaker_pipeline,
                PipelineExecutionDisplayName=execution_name(project, annotations, attempt),
                PipelineParameters=[{"Name": name, "Value": value} for name, value in parameters.items()],
                ClientRequestToken=token,
            )["PipelineExecutionArn"]

    # -- model packages ------------------------------------------------------------------------------------------

    @translated
    def ensure_package_group(self, project: int) -> str:
        """Make the project's model package group if it is not there. Returns its name."""
        name = self._settings.project_name(project)
        try:
            self._sagemaker.create_model_package_group(
                ModelPackageGroupName=name,
                ModelPackageGroupDescription=f"Segmentation models of Label Studio project {project}",
            )
        except ClientError as error:
            if not exists_already(error):
                raise
        return name

    @translated
    def newest_approved(self, project: int) -> ModelPackage | None:
        """The project's newest approved model package, None while there is none."""
        try:
            summaries = self._sagemaker.list_model_packages(
                ModelPackageGroupName=self._settings.project_name(project),
                ModelApprovalStatus="Approved",
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=1,
            )["ModelPackageSummaryList"]
        except ClientError as error:
            if absent(error):
                return None
            raise
        return self.package(summaries[0]["ModelPackageArn"]) if summaries else None

    @translated
    def package(self, arn: str) -> ModelPackage:
        """A model package by its ARN."""
        description = self._sagemaker.describe_model_package(ModelPackageName=arn)
        metadata = description.get("CustomerMetadataProperties", {})
        return ModelPackage(
            arn=arn,
            version=description["ModelPackageVersion"],
            dataset=metadata.get("dataset", ""),
            training_job=metadata.get("training_job", ""),
            model_data=_model_data(description),
        )

    @translated
    def newest_packages(self, project: int, count: int) -> list[Registered]:
        """The project's *count* newest model packages, whatever their approval, newest first."""
        try:
            summaries = self._sagemaker.list_model_packages(
                ModelPackageGroupName=self._settings.project_name(project),
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=count,
            )["ModelPackageSummaryList"]
        except ClientError as error:
            if absent(error):
                return []
            raise
        return [
            Registered(each["ModelPackageArn"], each["ModelPackageVersion"], each["ModelApprovalStatus"])
            for each in summaries
        ]

    @translated
    def model_data(self, package: str) -> str:
        """Where in S3 the model of a package, given by its ARN, lies; '' where the package does not tell."""
        return _model_data(self._sagemaker.describe_model_package(ModelPackageName=package))

    @translated
    def reject_package(self, arn: str, reason: str) -> None:
        """Take a model package out of the choice, for a reason that the registry keeps."""
        self._sagemaker.update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription=reason[:1024]
        )

    def validation_miou(self, package: ModelPackage) -> float | None:
        """The validation mIoU that the package's training job reported."""
        return self.job_miou(package.training_job) if package.training_job else None

    @translated
    def job_miou(self, training_job: str) -> float | None:
        """The validation mIoU that a training job reported, None if it did not."""
        job = self._sagemaker.describe_training_job(TrainingJobName=training_job)
        metrics = {metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", [])}
        return metrics.get("validation:mIOU")

    # -- endpoint ------------------------------------------------------------------------------------------------

    @translated
    def endpoint(self, project: int) -> Endpoint | None:
        """The project's endpoint, None while there is none."""
        try:
            description = self._sagemaker.describe_endpoint(EndpointName=self._settings.project_name(project))
        except ClientError as error:
            if absent(error):
                return None
            raise
        version = re.fullmatch(r".*-v(\d+)", description.get("EndpointConfigName", ""))
        return Endpoint(
            status=description["EndpointStatus"],
            version=int(version[1]) if version else None,
            failure=explained(description.get("FailureReason", ""), use=Use.ENDPOINT, region=self.region),
            shortage=shortage(description.get("FailureReason", ""), use=Use.ENDPOINT, region=self.region),
        )

    @translated
    def deploy(self, project: int, package: ModelPackage, *, update: bool) -> None:
        """Begin to serve *package*: a new endpoint, or an *update* of the running one, which answers meanwhile."""
        name = self._versioned_name(project, package)
        self._ensure_model(name, package)
        self._ensure_endpoint_config(name, package)
        endpoint = self._settings.project_name(project)
        if update:
            self._sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        else:
            self._sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)

    @translated
    def delete_endpoint(self, project: int) -> None:
        """Delete the project's endpoint: one that failed cannot be updated."""
        self._sagemaker.delete_endpoint(EndpointName=self._settings.project_name(project))

    def _versioned_name(self, project: int, package: ModelPackage) -> str:
        return f"{self._settings.project_name(project)}-v{package.version}"

    def _ensure_model(self, name: str, package: ModelPackage) -> None:
        try:
            self._sagemaker.create_model(
                ModelName=name,
                ExecutionRoleArn=self._settings.sagemaker_role_arn,
                Containers=[{"ModelPackageName": package.arn}],
            )
        except ClientError as error:
            if not exists_already(error):
                raise

    def _ensure_endpoint_config(self, name: str, package: ModelPackage) -> None:
        variant: ProductionVariantTypeDef = {
            "VariantName": f"v{package.version}",  # every answer names it, so it tells which model it is of
            "ModelName": name,
            "InstanceType": cast("ProductionVariantInstanceTypeType", self._settings.sagemaker_instance_type),
            "InitialInstanceCount": 1,
        }
        try:
            self._sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        except ClientError as error:
            if not exists_already(error):
                raise

    @translated
    def invoke(self, project: int, jpeg: bytes, accept: str) -> Answer:
        """Send an image to the project's endpoint; the answer is of the media type *accept*.

        Raises:
            AwsBusyError: it is asked too much at once, or is not ready yet.
        """
        name = self._settings.project_name(project)
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=name, ContentType="image/jpeg", Accept=accept, Body=jpeg
            )
        except ClientError as error:
            if busy(error):
                raise AwsBusyError(f"the endpoint {name} takes no more now ({error_code(error)})") from error
            raise
        version = re.fullmatch(r"v(\d+)", answer.get("InvokedProductionVariant", ""))
        with contextlib.closing(answer["Body"]) as body:
            return Answer(bytes(body.read()), int(version[1]) if version else None)


def _model_data(package: "DescribeModelPackageOutputTypeDef") -> str:
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    return containers[0].get("ModelDataUrl", "") if containers else ""


def _use(step: "PipelineExecutionStepTypeDef") -> Use:
    """What a step wanted an instance for: its job, or its name where it came to none."""
    jobs = step.get("Metadata", {})
    if "ProcessingJob" in jobs or step.get("StepName") == "Preprocess":
        return Use.PROCESSING
    return Use.TRAINING if "TrainingJob" in jobs or step.get("StepName") == "Train" else Use.UNKNOWN


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. Keys are raw: ``#``, ``?`` and ``%20`` stand for themselves.

    Raises:
        AwsError: it is no such URI.
    """
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not slash or not key:
        raise AwsError(f"wanted an address like s3://bucket/key, got {uri[:200]!r}")
    return bucket, key
