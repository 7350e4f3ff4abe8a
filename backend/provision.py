"""Makes a deployment in an AWS account, step by step; each step is safe to run again.

Objects that stacks are made of lie under keys with their digests, so that a run in which nothing differs changes
nothing.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from backend.account import Identity, PutPipeline
from backend.config import Settings
from backend.console import Console
from backend.deployment import (
    STUDIO_TAG,
    Layer,
    check_name,
    check_ours,
    check_studio,
    core_outputs,
    other_studio,
    output,
    stack_name,
    trigger_settings,
)
from backend.errors import AwsAccessError, BackendError
from backend.rollout import Outcome, Rollout, Wanted
from backend.stacks import Stack

TEMPLATES = Path(__file__).parents[1] / "infra"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is made of, by the keys that it is to lie under."""

    objects: Mapping[str, bytes]
    definition: Mapping[str, object]
    definition_key: str


class AccountView(Protocol):
    """What the steps need of the account, beside its stacks."""

    @property
    def region(self) -> str: ...
    def identity(self) -> Identity: ...
    def pipeline(self) -> PutPipeline | None: ...
    def secret(self, arn: str) -> dict[str, str]: ...
    def put_secret(self, arn: str, values: Mapping[str, str]) -> None: ...
    def bucket_exists(self, bucket: str) -> bool: ...
    def packages(self) -> Mapping[str, Collection[str]]: ...


class Bucket(Protocol):
    """Where the objects go."""

    def has_object(self, key: str) -> bool: ...
    def put_object(self, key: str, body: bytes, *, content_type: str | None = None) -> None: ...


class Pipelines(Protocol):
    """The pipeline's parts, for a deployment that has its bucket and role."""

    def parts(self, settings: Settings) -> Parts: ...
    def publish(self, settings: Settings) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """The steps. *bucket_name* is the one that the person chose, '' for CloudFormation to choose."""

    settings: Settings
    bucket_name: str
    account: AccountView
    rollout: Rollout
    pipelines: Pipelines
    console: Console
    open_bucket: Callable[[Settings], Bucket]
    adopt: bool = False

    def check(self) -> Stack | None:
        """The deployment's core stack; None where there is none yet.

        Raises:
            BackendError: the name, or the bucket's, is another deployment's.
        """
        check_name(self.settings)
        check_studio(self.settings)
        core, trigger = (self.rollout.settled(stack_name(self.settings, layer)) for layer in ("core", "trigger"))
        for stack in (core, trigger):
            if stack is not None:
                check_ours(stack, self.settings)
                self._check_studio(stack)
        if core is None or core.unusable:
            self._check_new(half_made=core is not None)
            return None
        self._check_places(core)
        return core

    def _check_new(self, *, half_made: bool) -> None:
        name, bucket = self.settings.sagemaker_pipeline, self.bucket_name
        if not half_made and self.account.pipeline() is not None:  # a stack that is half-made may have it
            raise BackendError(
                f"the pipeline {name} is there already, but no stack {name}-core: another deployment has this name. "
                "Choose another SAGEMAKER_PIPELINE, or delete the pipeline if nobody needs it"
            )
        if bucket and self._is_taken(bucket):
            raise BackendError(
                f"the bucket {bucket} is there already, and a stack cannot take it over: leave S3_BUCKET out, so that "
                "a new one is made, or choose another name"
            )
        self._check_registry()

    def _check_registry(self) -> None:
        """Models of a former deployment would be served as this one's, and its own would be held against them."""
        left = [group for group, packages in self.account.packages().items() if packages]
        if left and not self.adopt:
            name = self.settings.sagemaker_pipeline
            raise BackendError(
                f"the model registry has models of a former deployment {name} ({', '.join(left)}), and a new one would "
                "go on with them: `destroy --data` deletes them if nobody needs them, --adopt keeps them; or choose "
                "another SAGEMAKER_PIPELINE"
            )

    def _is_taken(self, bucket: str) -> bool:
        try:
            return self.account.bucket_exists(bucket)
        except AwsAccessError as error:
            raise BackendError(f"somebody else has the bucket {bucket}: choose another S3_BUCKET") from error

    def _check_places(self, core: Stack) -> None:
        bucket = core.outputs.get("BucketName", "")
        if self.bucket_name and bucket != self.bucket_name:
            raise BackendError(
                f"stack {core.name} has the bucket {bucket}, and S3_BUCKET is {self.bucket_name}: set it to {bucket} "
                "or leave it out; for another deployment choose another SAGEMAKER_PIPELINE"
            )
        prefix = core.parameters.get("S3Prefix", self.settings.s3_prefix)
        if prefix != self.settings.s3_prefix:
            raise BackendError(
                f"stack {core.name} has its datasets and models below {prefix}/, and S3_PREFIX is "
                f"{self.settings.s3_prefix}, where nobody would find them: set it to {prefix} or leave it out; for "
                "another deployment choose another SAGEMAKER_PIPELINE"
            )

    def _check_studio(self, stack: Stack) -> None:
        if (studio := other_studio(stack, self.settings)) and not self.adopt:
            raise BackendError(
                f"stack {stack.name} belongs to the Label Studio at {studio}, not to {self.settings.label_studio_url}: "
                "choose another SAGEMAKER_PIPELINE, or --adopt if Label Studio has moved"
            )

    def core(self, parameters: Mapping[str, str]) -> tuple[Stack, Settings]:
        """Bucket, roles, secret and pipeline are there; with the settings that name them."""
        name = stack_name(self.settings, "core")
        stack, outcome = self.rollout.settled(name), "found"
        if stack is None or stack.unusable or "BucketName" not in stack.outputs:
            # The definition needs the bucket to lie in, so the pipeline comes second.
            stack, outcome = self.rollout.ensure(self._core({**parameters, "PipelineDefinitionKey": ""}))
        settings = self._located(stack)
        parts = self.pipelines.parts(settings)
        self._upload(settings, parts.objects)
        self._remake(stack, settings)
        stack, then = self.rollout.ensure(self._core({**parameters, "PipelineDefinitionKey": parts.definition_key}))
        self.console.item("stack", f"{name}: {then if outcome == 'found' else outcome}")
        self.console.item("bucket", settings.s3_bucket)
        self._put_back(settings, parts)
        return stack, self._with_secret(stack, settings)

    def _core(self, parameters: Mapping[str, str]) -> Wanted:
        own = {"Name": self.settings.sagemaker_pipeline, "S3Prefix": self.settings.s3_prefix}
        if self.bucket_name:
            own["BucketName"] = self.bucket_name
        return self._wanted("core", {**own, **parameters})

    def _wanted(self, layer: Layer, parameters: Mapping[str, str]) -> Wanted:
        return Wanted(
            name=stack_name(self.settings, layer),
            template=(TEMPLATES / f"{layer}.yaml").read_text(encoding="utf-8"),
            parameters=parameters,
            tags={STUDIO_TAG: self.settings.label_studio_url},
        )

    def _located(self, stack: Stack) -> Settings:
        return replace(
            self.settings,
            s3_bucket=output(stack, "BucketName"),
            sagemaker_role_arn=output(stack, "SageMakerRoleArn"),
        )

    def _upload(self, settings: Settings, objects: Mapping[str, bytes]) -> None:
        bucket = self.open_bucket(settings)
        for key, body in objects.items():
            if not bucket.has_object(key):
                bucket.put_object(key, body)

    def _remake(self, stack: Stack, settings: Settings) -> None:
        """CloudFormation does not see that its pipeline is gone, and cannot update one that is."""
        if stack.parameters.get("PipelineDefinitionKey") and self.account.pipeline() is None:
            self.pipelines.publish(settings)
            self.console.item("pipeline", f"{settings.sagemaker_pipeline}: was deleted by hand, made anew")

    def _put_back(self, settings: Settings, parts: Parts) -> None:
        """Nor does it see what else was done to the pipeline beside it."""
        wanted = PutPipeline(parts.definition, settings.sagemaker_role_arn)
        same = self.account.pipeline() == wanted
        if not same:
            self.pipelines.publish(settings)
        done = "as committed" if same else "was changed by hand, put back"
        self.console.item("pipeline", f"{settings.sagemaker_pipeline}: {done}")

    def _with_secret(self, stack: Stack, settings: Settings) -> Settings:
        """The password is the secret's, unless the person chose one or it has none; the token is the person's."""
        arn = output(stack, "SecretArn")
        before = self.account.secret(arn)
        after = {**before, **_password(before, settings), "LABEL_STUDIO_API_KEY": settings.label_studio_api_key}
        if after != before:
            self.account.put_secret(arn, after)
        self.console.item("secret", f"{arn}: {_change_of_secret(before, after)}")
        return replace(
            settings,
            basic_auth_user=after.get("BASIC_AUTH_USER", ""),
            basic_auth_pass=after.get("BASIC_AUTH_PASS", ""),
        )

    def trigger(self, core: Stack, settings: Settings, package: bytes, parameters: Mapping[str, str]) -> str:
        """The Lambda function with its API is there. Returns the address that Label Studio is to call."""
        key = settings.key("lambda", f"{hashlib.sha256(package).hexdigest()}.zip")
        self._upload(settings, {key: package})
        wanted = self._wanted(
            "trigger", {**core_outputs(core), **trigger_settings(settings), "CodeKey": key, **parameters}
        )
        stack, outcome = self.rollout.ensure(wanted)
        self._tell_stack(stack, outcome)
        return output(stack, "WebhookUrl")

    def _tell_stack(self, stack: Stack, outcome: Outcome) -> None:
        self.console.item("stack", f"{stack.name}: {outcome}")


def _password(before: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What of the password is to be written; a secret that somebody changed by hand may have lost it."""
    if settings.basic_auth is not None:
        return {"BASIC_AUTH_USER": settings.basic_auth_user, "BASIC_AUTH_PASS": settings.basic_auth_pass}
    if before.get("BASIC_AUTH_USER") and before.get("BASIC_AUTH_PASS"):
        return {}
    return {"BASIC_AUTH_USER": "label-studio", "BASIC_AUTH_PASS": secrets.token_urlsafe(30)}


def _change_of_secret(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if after == before:
        return "found"
    if not before.get("LABEL_STUDIO_API_KEY"):
        return "token and password written"
    return "token or password changed; a backend that runs is to be started again with them"
