"""Takes a deployment away, step by step; one that broke off goes on where it was."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from backend.account import KINDS, Kind
from backend.attachments import Holder
from backend.config import Settings
from backend.console import Console
from backend.deployment import LAYERS, Layer, check_ours, other_studio, stack_name
from backend.errors import AwsAccessError, AwsAwayError, AwsError, BackendError
from backend.ownership import Marks
from backend.rollout import Rollout
from backend.stacks import Stack

_POLICIES = ("BackendPolicyArn", "LabelStudioStoragePolicyArn")  # outputs of core.yaml
_LOOK_S = 2.0
_TRIES = 300  # looks at what is on its way out, ten minutes


class AccountContents(Protocol):
    """What is needed of the account, beside its stacks."""

    def secret(self, arn: str) -> dict[str, str]: ...
    def running_executions(self) -> list[str]: ...
    def stop_execution(self, arn: str) -> None: ...
    def served(self, kind: Kind) -> list[str]: ...
    def delete_served(self, kind: Kind, name: str) -> bool: ...
    def packages(self) -> Mapping[str, Collection[str]]: ...
    def delete_packages(self, group: str) -> int: ...
    def bucket_stack(self, bucket: str) -> str | None: ...
    def empty_bucket(self, bucket: str, *, told: Callable[[int], None]) -> int: ...
    def delete_bucket(self, bucket: str) -> None: ...


class Policies(Protocol):
    """Who has the policies that a person was told of."""

    def holders(self, policy: str) -> list[Holder]: ...
    def roles_of(self, stack: str) -> set[str]: ...
    def detach(self, holder: Holder) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of a deployment.

    *holders* are roles, users and groups of others that have its policies; *packages* is how many models there are in
    each group of the registry.
    """

    stacks: tuple[Stack, ...]
    executions: tuple[str, ...]
    served: tuple[tuple[Kind, str], ...]
    holders: tuple[Holder, ...]
    packages: Mapping[str, int]
    bucket: str

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to take away, beside what is in the model registry."""
        return not (self.stacks or self.executions or self.served or self.bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teardown:
    """The steps. *bucket_name* is where a bucket that no stack tells of any more is, '' if nobody knows."""

    settings: Settings
    account: AccountContents
    policies: Policies
    rollout: Rollout
    console: Console
    bucket_name: str = ""

    def find(self) -> Found:
        """What there is now.

        Raises:
            BackendError: a stack, or the bucket that was named, belongs to no deployment or to another one.
        """
        stacks = [self.rollout.settled(stack_name(self.settings, layer)) for layer in reversed(LAYERS)]
        there = tuple(stack for stack in stacks if stack is not None)
        for stack in there:
            self._check(stack)
        return Found(
            stacks=there,
            executions=tuple(self.account.running_executions()),
            served=tuple((kind, name) for kind in KINDS for name in self.account.served(kind)),
            holders=tuple(self._strangers(there)),
            packages={group: len(versions) for group, versions in self.account.packages().items()},
            bucket=self._bucket(there),
        )

    def marks(self, found: Found) -> Marks:
        """By what Label Studio's webhooks and ML backends are known to be this deployment's."""
        outputs = {name: value for stack in found.stacks for name, value in stack.outputs.items()}
        service = outputs.get("Url", "")  # of container.yaml
        return Marks(
            is_version=self.settings.is_model_version,
            addresses={outputs.get("WebhookUrl", ""), f"{service}/webhook" if service else ""},
            passwords=self._password(outputs.get("SecretArn", "")),
        )

    def _password(self, secret: str) -> Collection[tuple[str, str]]:
        """The one in the secret, with which `provision` made the webhooks; else the one of the environment."""
        values = self._secret(secret) if secret else {}
        user, password = values.get("BASIC_AUTH_USER", ""), values.get("BASIC_AUTH_PASS", "")
        if user and password:
            return [(user, password)]
        return [self.settings.basic_auth] if self.settings.basic_auth else []

    def _secret(self, arn: str) -> Mapping[str, str]:
        try:
            return self.account.secret(arn)
        except (AwsAccessError, AwsAwayError):
            raise
        except AwsError:  # it was deleted: a `destroy` that broke off, or somebody
            return {}

    def _check(self, stack: Stack) -> None:
        check_ours(stack, self.settings)
        if studio := other_studio(stack, self.settings):
            raise BackendError(
                f"stack {stack.name} belongs to the Label Studio at {studio}, not to {self.settings.label_studio_url}: "
                "nothing was deleted; if that one is to go, set LABEL_STUDIO_URL to its address"
            )

    def _strangers(self, stacks: Collection[Stack]) -> Iterator[Holder]:
        """Those that have the deployment's policies by a person's hand; its own roles go with their stacks."""
        found = [each for stack in stacks for each in self._holders(stack)]
        own = {role for stack in stacks for role in self.policies.roles_of(stack.name)} if found else set()
        return (each for each in found if each.kind != "role" or each.name not in own)

    def _holders(self, stack: Stack) -> Iterator[Holder]:
        for policy in filter(None, map(stack.outputs.get, _POLICIES)):
            yield from self.policies.holders(policy)

    def _bucket(self, stacks: Collection[Stack]) -> str:
        core = stack_name(self.settings, "core")
        told = next((stack.outputs.get("BucketName", "") for stack in stacks if stack.name == core), "")
        bucket = told or self.bucket_name
        maker = self.account.bucket_stack(bucket) if bucket else None
        if maker is None:
            return ""
        if not told and maker != core:
            raise BackendError(
                f"the bucket {bucket} was not made by stack {core}, so it is left alone: check S3_BUCKET"
            )
        return bucket

    def plan(self, found: Found, *, data: bool) -> Iterator[str]:
        """What goes and what stays, in lines for a person."""
        yield f"Of {self.settings.sagemaker_pipeline} goes:"
        for stack in found.stacks:
            yield f"  {'stack':<24} {stack.name}"
        for arn in found.executions:
            yield f"  {'running training':<24} {arn.rpartition('/')[2]}"
        for kind, name in found.served:
            yield f"  {kind:<24} {name}"
        for holder in found.holders:
            yield f"  {'policy taken off':<24} {_told(holder)}"
        if not data and (found.packages or found.bucket):
            yield "What stays without --data:"
        yield from _data_of(found, ", for ever" if data else "")
        yield "What stays:"
        yield f"  {'Label Studio':<24} its projects with their tasks and annotations"
        yield "Stop a backend that still runs: it would make its endpoint again."

    def all(self, found: Found, *, data: bool) -> None:
        """All of it is gone: first what would make things anew, last what all the rest is made with."""
        self.stacks(found, "trigger", "container")
        self.executions()
        self.served()
        if data:
            self.packages()
            self.data(found)  # while the stack still tells which bucket it is
        self.detached(found)
        self.stacks(found, "core")

    def stacks(self, found: Found, *layers: Layer) -> None:
        """These stacks are gone."""
        names = {stack.name for stack in found.stacks}
        for name in (stack_name(self.settings, layer) for layer in layers):
            if name in names:
                self.rollout.remove(name)
                self.console.item("stack", f"{name}: deleted")

    def executions(self) -> None:
        """Nothing trains, nor what was begun meanwhile: a pipeline that runs cannot be deleted."""
        asked: set[str] = set()

        def left() -> list[str]:
            running = self.account.running_executions()
            for arn in running:
                if arn not in asked:
                    self.account.stop_execution(arn)
                    self.console.item("training", f"{arn.rpartition('/')[2]}: stopped")
                    asked.add(arn)
            return running

        self._until_gone(left, "trainings stop")

    def served(self) -> None:
        """Endpoints, their configurations and models are gone, in this order."""
        told: set[str] = set()

        def left() -> list[str]:
            endpoints = self.account.served("endpoint")
            for name in endpoints:
                if self.account.delete_served("endpoint", name) and name not in told:
                    self.console.item("endpoint", f"{name}: deleted")
                    told.add(name)
            return endpoints

        self._until_gone(left, "endpoints go")
        for kind in KINDS[1:]:
            for name in self.account.served(kind):
                self.account.delete_served(kind, name)
                self.console.item(kind, f"{name}: deleted")

    def packages(self) -> None:
        """The registry has no models of the deployment, nor their groups."""
        for group in self.account.packages():
            count = self.account.delete_packages(group)
            self.console.item("model packages", f"{group}: deleted, {count} of them")

    def detached(self, found: Found) -> None:
        """Nobody has the policies any more, which could not be deleted otherwise."""
        for holder in [each for stack in found.stacks for each in self._holders(stack)]:
            self.policies.detach(holder)
            self.console.item("policy", f"{_told(holder)}: taken off")

    def data(self, found: Found) -> None:
        """The bucket is gone, with all that was in it."""
        if not found.bucket:
            return
        count = self.account.empty_bucket(
            found.bucket, told=lambda number: self.console.progress(f"bucket: {number} objects deleted")
        )
        self.account.delete_bucket(found.bucket)
        self.console.item("bucket", f"{found.bucket}: deleted, with {count} versions of objects")

    def _until_gone(self, look: Callable[[], Collection[str]], what: str) -> None:
        for _ in range(_TRIES):
            left = look()
            if not left:
                return
            self.console.progress(f"{what}: {len(left)} left")
            self.console.sleep(_LOOK_S)
        raise BackendError(f"{what} for ten minutes and are not done: run this again later")


def _data_of(found: Found, note: str) -> Iterator[str]:
    for group, count in found.packages.items():
        yield f"  {'model packages':<24} {group} in the model registry, {count} of them{note}"
    if found.bucket:
        yield f"  {'bucket':<24} {found.bucket} with every image, annotation and model in it{note}"


def _told(holder: Holder) -> str:
    return f"{holder.kind} {holder.name}: {holder.policy.rpartition('/')[2]}"
