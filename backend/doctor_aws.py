"""What of a deployment is in AWS: is it there, and as it should be?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from backend.account import Identity, PutPipeline
from backend.config import Settings
from backend.deployment import LAYERS, stack_name
from backend.errors import AwsError
from backend.findings import Check, Finding, State, examined, ok, unknown, wrong
from backend.provision import Parts
from backend.stacks import Stack


class AccountView(Protocol):
    """What is asked of the account."""

    @property
    def region(self) -> str: ...
    def identity(self) -> Identity: ...
    def pipeline(self) -> PutPipeline | None: ...


class Details(Protocol):
    """What is asked of the account that the service itself need not know."""

    def bucket_region(self, bucket: str) -> str | None: ...
    def blocks_public_access(self, bucket: str) -> bool: ...
    def wants_tls(self, bucket: str) -> bool: ...
    def trusts_sagemaker(self, role: str) -> bool | None: ...
    def quotas(self, names: list[str]) -> dict[str, float]: ...


class StackFinder(Protocol):
    """Looks stacks up."""

    def find(self, name: str) -> Stack | None: ...


class Pipelines(Protocol):
    """The pipeline as it is committed."""

    def parts(self, settings: Settings) -> Parts: ...
    def plain(self, definition: Mapping[str, Any]) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsDoctor:
    """The checks."""

    settings: Settings
    account: AccountView
    details: Details
    stacks: StackFinder
    pipelines: Pipelines

    def findings(self) -> Iterator[Finding]:
        """All of them, in the order in which one thing needs the other."""
        checks: tuple[tuple[str, Check], ...] = (
            ("stacks", self.stack_states),
            ("bucket", self.bucket),
            ("bucket, private", self.private),
            ("bucket, TLS", self.tls),
            ("pipeline", self.pipeline),
            ("role", self.role),
            ("quota", self.quotas),
        )
        identity = list(self.credentials())
        yield from identity
        if all(each.state is State.OK for each in identity):
            for name, check in checks:
                yield from examined(name, check)

    def credentials(self) -> Iterator[Finding]:
        """Who asks, and where."""
        try:
            identity = self.account.identity()
        except AwsError as error:
            yield wrong("credentials", f"{error}; see AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_REGION")
            return
        yield ok("credentials", f"{identity.arn}, region {self.account.region}")
        given = self.settings.sagemaker_role_arn.split(":")[4]
        if given != identity.account:
            told = f"SAGEMAKER_ROLE_ARN is of account {given}, the credentials of {identity.account}: use one account"
            yield wrong("credentials", told)

    def stack_states(self) -> Iterator[Finding]:
        """Whether CloudFormation left any of the stacks half-made."""
        found = [self.stacks.find(stack_name(self.settings, layer)) for layer in LAYERS]
        there = [stack for stack in found if stack is not None]
        if not there:
            yield ok("stacks", "none: bucket, role and pipeline were made otherwise")
        for stack in there:
            if stack.done or stack.status == "UPDATE_ROLLBACK_COMPLETE":
                yield ok("stacks", f"{stack.name}: {stack.status}")
            elif stack.moving:
                yield unknown("stacks", f"{stack.name}: {stack.status}; look again when CloudFormation is done")
            else:
                yield wrong(
                    "stacks", f"{stack.name}: {stack.status}; run `provision` again, which mends it or says how"
                )

    def bucket(self) -> Iterator[Finding]:
        """Whether the bucket is there, and in the region."""
        name, region = self.settings.s3_bucket, self.account.region
        there = self.details.bucket_region(name)
        if there is None:
            yield wrong("bucket", f"there is no bucket {name}: set S3_BUCKET right, or run `provision`")
        elif there != region:
            yield wrong("bucket", f"{name} is in {there}, and SageMaker works in {region}: set AWS_REGION={there}")
        else:
            yield ok("bucket", f"{name} in {there}")

    def private(self) -> Iterator[Finding]:
        """Whether nothing in the bucket can be made public."""
        name = self.settings.s3_bucket
        if self.details.blocks_public_access(name):
            yield ok("bucket, private", "public access is blocked")
        else:
            todo = f"`aws s3api put-public-access-block --bucket {name}` with all four switches true"
            yield wrong("bucket, private", f"public access is not blocked: {todo}")

    def tls(self) -> Iterator[Finding]:
        """Whether the bucket can be spoken to over TLS alone."""
        if self.details.wants_tls(self.settings.s3_bucket):
            yield ok("bucket, TLS", "requests without TLS are denied")
        else:
            yield wrong("bucket, TLS", "requests without TLS are let in: add the statement TlsOnly of infra/core.yaml")

    def pipeline(self) -> Iterator[Finding]:
        """Whether the pipeline is the committed one."""
        name, put = self.settings.sagemaker_pipeline, self.account.pipeline()
        again = "run `provision` or `setup` again"
        if put is None:
            yield wrong("pipeline", f"there is no pipeline {name} in {self.account.region}: {again}")
            return
        wanted = self.pipelines.parts(self.settings).definition
        if _shape(self.pipelines.plain(put.definition)) != _shape(wanted):
            yield wrong("pipeline", f"{name} is not the one of this version of the backend: {again}")
        elif _defaults(put.definition).get("CodeS3Uri") != _defaults(wanted).get("CodeS3Uri"):
            yield wrong("pipeline", f"{name} runs another preprocess.py than this version's: {again}")
        elif put.role_arn != self.settings.sagemaker_role_arn:
            yield wrong("pipeline", f"{name} runs as {put.role_arn}, SAGEMAKER_ROLE_ARN is another: {again}")
        else:
            yield ok("pipeline", f"{name}, as committed")

    def role(self) -> Iterator[Finding]:
        """Whether SageMaker may act as the role."""
        arn = self.settings.sagemaker_role_arn
        trusts = self.details.trusts_sagemaker(arn)
        if trusts is None:
            yield wrong("role", f"there is no role {arn}: set SAGEMAKER_ROLE_ARN right")
        elif not trusts:
            yield wrong("role", f"{arn} does not trust sagemaker.amazonaws.com: add that to its trust policy")
        else:
            yield ok("role", f"{arn}, SageMaker may take it on")

    def quotas(self) -> Iterator[Finding]:
        """Whether the account may have the instances at all; a new account's quota of GPUs is 0."""
        put = self.account.pipeline()
        names = [f"{self.settings.sagemaker_instance_type} for endpoint usage", *(_jobs(put.definition) if put else ())]
        found = self.details.quotas(names)
        for name in names:
            if name not in found:
                yield unknown("quota", f"{name}: AWS does not list it in {self.account.region}")
            elif found[name] < 1:
                told = f"{name} is 0, so it would fail: ask for 1 or more (Service Quotas > Amazon SageMaker)"
                yield wrong("quota", told)
            else:
                yield ok("quota", f"{name}: {found[name]:g}")


def _parameters(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in definition.get("Parameters", []) if isinstance(each, Mapping)]


def _defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {str(each.get("Name")): each.get("DefaultValue") for each in _parameters(definition)}


def _jobs(definition: Mapping[str, Any]) -> Iterator[str]:
    """The quotas that an execution needs; instances that AWS has to spare count for themselves."""
    kinds = {"TrainingInstanceType": "training job usage", "ProcessingInstanceType": "processing job usage"}
    if any(each.get("Arguments", {}).get("EnableManagedSpotTraining") for each in _steps(definition)):
        kinds["TrainingInstanceType"] = "spot training job usage"
    defaults = _defaults(definition)
    yield from (f"{defaults[name]} for {kind}" for name, kind in kinds.items() if defaults.get(name))


def _steps(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in definition.get("Steps", []) if isinstance(each, Mapping)]


def _shape(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition without the defaults, which are the account's and the person's."""
    slots = [{key: value for key, value in each.items() if key != "DefaultValue"} for each in _parameters(definition)]
    return {**definition, "Parameters": slots}
