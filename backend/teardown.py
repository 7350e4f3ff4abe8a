"""Takes a deployment away, step by step; one that broke off goes on where it was."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from backend.account import KINDS, Kind
from backend.config import Settings
from backend.console import Console
from backend.errors import AwsAccessError, AwsAwayError, AwsError, BackendError
from backend.label_studio import Project
from backend.label_studio_wiring import Connection, Hook
from backend.ownership import Marks, leads_to, left, webhook_of
from backend.provision import Layer, check_ours, other_studio, stack_name
from backend.rollout import Rollout
from backend.stacks import Stack

LAYERS: tuple[Layer, ...] = ("trigger", "container", "core")
_LOOK_S = 2.0
_TRIES = 300  # looks at what is on its way out, ten minutes


class Wiring(Protocol):
    """What is needed of Label Studio."""

    def projects(self) -> list[Project]: ...
    def hooks(self, project: int) -> list[Hook]: ...
    def connections(self, project: int) -> list[Connection]: ...
    def delete_hook(self, hook: Hook) -> None: ...
    def delete_connection(self, connection: Connection) -> None: ...


class AccountContents(Protocol):
    """What is needed of the account, beside its stacks."""

    def secret(self, arn: str) -> dict[str, str]: ...
    def running_executions(self) -> list[str]: ...
    def stop_execution(self, arn: str) -> None: ...
    def served(self, kind: Kind) -> list[str]: ...
    def delete_served(self, kind: Kind, name: str) -> None: ...
    def bucket_stack(self, bucket: str) -> str | None: ...
    def empty_bucket(self, bucket: str, *, told: Callable[[int], None]) -> int: ...
    def delete_bucket(self, bucket: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of a deployment."""

    stacks: tuple[Stack, ...]
    executions: tuple[str, ...]
    served: tuple[tuple[Kind, str], ...]
    bucket: str

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to take away."""
        return not (self.stacks or self.executions or self.served or self.bucket)


def unhook(wiring: Wiring, console: Console, marks: Marks) -> None:
    """No project sends events to the deployment, nor has its ML backend; those of others stay."""
    for project in wiring.projects():
        hooks, found = wiring.hooks(project.id), wiring.connections(project.id)
        mine = marks.own(found, hooks)
        for connection in mine:
            wiring.delete_connection(connection)
            console.item("ML backend", f"{connection.url}: taken out of project {project.id}")
        for connection in marks.others(found, mine):
            console.item("ML backend", left(connection, project))
        for hook in hooks:
            if marks.hears(hook) or leads_to(hook, set(map(webhook_of, mine))):
                wiring.delete_hook(hook)
                console.item("webhook", f"{hook.url}: taken out of project {project.id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Teardown:
    """The steps. *bucket_name* is where a bucket that no stack tells of any more is, '' if nobody knows."""

    settings: Settings
    account: AccountContents
    rollout: Rollout
    console: Console
    bucket_name: str = ""

    def find(self) -> Found:
        """What there is now.

        Raises:
            BackendError: a stack, or the bucket that was named, belongs to no deployment or to another one.
        """
        stacks = [self.rollout.settled(stack_name(self.settings, layer)) for layer in LAYERS]
        there = tuple(stack for stack in stacks if stack is not None and stack.status != "DELETE_COMPLETE")
        for stack in there:
            self._check(stack)
        return Found(
            stacks=there,
            executions=tuple(self.account.running_executions()),
            served=tuple((kind, name) for kind in KINDS for name in self.account.served(kind)),
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
        if data and found.bucket:
            yield f"  {'bucket':<24} {found.bucket} with every image, annotation and model in it, for ever"
        yield "What stays:"
        if not data and found.bucket:
            yield f"  {'bucket':<24} {found.bucket} (--data deletes it too)"
        yield f"  {'model packages':<24} {self.settings.sagemaker_pipeline}-p... in the model registry"
        yield f"  {'Label Studio':<24} its projects with their tasks and annotations"
        yield "Stop a backend that still runs: it would make its endpoint again."

    def stacks(self, found: Found, *layers: Layer) -> None:
        """These stacks are gone."""
        names = {stack.name for stack in found.stacks}
        for name in (stack_name(self.settings, layer) for layer in layers):
            if name in names:
                self.rollout.remove(name)
                self.console.item("stack", f"{name}: deleted")

    def executions(self, found: Found) -> None:
        """Nothing trains: a pipeline that runs cannot be deleted."""
        for arn in found.executions:
            self.account.stop_execution(arn)
            self.console.item("training", f"{arn.rpartition('/')[2]}: stopped")
        self._until_gone(self.account.running_executions, "trainings stop")

    def served(self, found: Found) -> None:
        """Endpoints, their configurations and models are gone, in this order."""
        for kind, name in found.served:
            self.account.delete_served(kind, name)
            self.console.item(kind, f"{name}: deleted")
        self._until_gone(lambda: self.account.served("endpoint"), "endpoints go")

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
