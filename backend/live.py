"""The model that answers for a project, as AWS has it: for those who do not deploy it themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from backend.aws import Endpoint, ModelPackage, Registered
from backend.config import Settings
from backend.errors import AwsError, BackendError

_RECENT = 100  # packages among which the one that serves is looked for


class Documents(Protocol):
    """Reads what lies in S3."""

    def get_json(self, uri: str) -> Mapping[str, object]: ...


class Registry(Documents, Protocol):
    """What is asked of AWS."""

    def endpoint(self, project: int) -> Endpoint | None: ...
    def newest_approved(self, project: int) -> ModelPackage | None: ...
    def newest_packages(self, project: int, count: int) -> list[Registered]: ...
    def package(self, arn: str) -> ModelPackage: ...


@dataclass(frozen=True, slots=True)
class LiveModel:
    """What an endpoint serves: the model's version as Label Studio has it, and the labels that it was trained with."""

    version: str
    labels: tuple[str, ...]


def live_model(project: int, settings: Settings, registry: Registry) -> LiveModel:
    """The model that the project's endpoint serves.

    Raises:
        BackendError: there is none, or not now; it says what to do.
    """
    endpoint = registry.endpoint(project)
    newest = registry.newest_approved(project)
    if endpoint is None or endpoint.status != "InService":
        raise BackendError(_not_serving(project, endpoint, newest, settings))
    if endpoint.version is None:
        raise BackendError(
            f"project {project}: its endpoint {settings.project_name(project)} serves no model of this backend: delete "
            "it, and the backend makes its own"
        )
    package = newest if newest and newest.version == endpoint.version else _older(project, endpoint.version, registry)
    labels = trained_labels(registry, package) if package else ()
    return LiveModel(settings.model_version(endpoint.version), labels)


def _older(project: int, version: int, registry: Registry) -> ModelPackage | None:
    found = (each for each in registry.newest_packages(project, _RECENT) if each.version == version)
    return next((registry.package(each.arn) for each in found), None)


def _not_serving(project: int, endpoint: Endpoint | None, newest: ModelPackage | None, settings: Settings) -> str:
    look = f"`python -m backend status --project {project} --watch` tells when"
    if endpoint is None and newest is None:
        every = settings.start_training_each_n_updates
        return f"project {project} has no approved model yet: one is trained at {every} annotations; {look}"
    if endpoint is None:
        return f"project {project} has a model and no endpoint: a running backend makes one, so start it; {look}"
    if endpoint.status == "Failed":
        reason = endpoint.failure or "no reason given"
        return f"project {project}: its endpoint failed: {reason}; a running backend makes it anew; {look}"
    return f"project {project}: its endpoint is {endpoint.status}: run this again when it is InService; {look}"


def trained_labels(documents: Documents, package: ModelPackage) -> tuple[str, ...]:
    """The labels that the model was trained with, by the dataset that its package names; () where it names none.

    Raises:
        AwsError: the dataset cannot be read, or names no labels.
    """
    if not package.dataset:
        return ()
    labels = documents.get_json(f"{package.dataset}dataset.json").get("labels")
    if not isinstance(labels, list):
        raise AwsError(f"wanted a list of labels in {package.dataset}dataset.json")
    return tuple(str(label) for label in labels)
