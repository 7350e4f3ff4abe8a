"""The endpoint serves the newest approved model package, and Label Studio is told so."""

import logging
from collections.abc import Mapping
from typing import Protocol

from backend.aws import Endpoint, ModelPackage
from backend.config import Settings
from backend.errors import AwsError
from backend.live import trained_labels
from backend.state import StateFile

logger = logging.getLogger(__name__)


class ModelCloud(Protocol):
    """What deploying needs of AWS."""

    def newest_approved(self, project: int) -> ModelPackage | None: ...
    def endpoint(self, project: int) -> Endpoint | None: ...
    def deploy(self, project: int, package: ModelPackage, *, update: bool) -> None: ...
    def delete_endpoint(self, project: int) -> None: ...
    def reject_package(self, arn: str, reason: str) -> None: ...
    def get_json(self, uri: str) -> Mapping[str, object]: ...


class Preannotation(Protocol):
    """What Label Studio gets of a model that serves."""

    def secure_webhook(self, project: int) -> None: ...
    def present(self, project: int, version: str) -> None: ...


class Deployer:
    """Makes what is served what was approved, step by step; safe to call at any time and again.

    Without a *preannotation* there is an endpoint and nothing else: Label Studio is not told of it, and no predictions
    are stored.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        cloud: ModelCloud,
        states: StateFile,
        preannotation: Preannotation | None = None,
    ) -> None:
        self._settings = settings
        self._cloud = cloud
        self._states = states
        self._preannotation = preannotation

    def reconcile(self, project: int) -> None:
        """Take the next step towards serving the newest approved package.

        Raises:
            BackendError: AWS or Label Studio cannot be asked; the next call goes on from where this one stopped.
        """
        if self._preannotation is not None:
            self._preannotation.secure_webhook(project)
        package = self._cloud.newest_approved(project)
        endpoint = self._cloud.endpoint(project)
        if package is None:
            self._retire(project, endpoint)
        elif endpoint is None:
            self._deploy(project, package, update=False)
        elif endpoint.status == "InService" and endpoint.version == package.version:
            self._go_live(project, package)
        elif endpoint.status == "InService":
            self._update(project, package, endpoint)
        elif endpoint.status in {"Failed", "UpdateRollbackFailed"}:
            self._replace_failed(project, package, endpoint)

    def _retire(self, project: int, endpoint: Endpoint | None) -> None:
        """Nothing is approved (any more): serve nothing, and pay for nothing."""
        if self._states.get(project).live:
            self._states.update(project, live="")
        if endpoint is not None and endpoint.status in {"InService", "Failed"}:
            logger.warning("project %s: no model is approved any more; deleting the endpoint", project)
            self._cloud.delete_endpoint(project)

    def _deploy(self, project: int, package: ModelPackage, *, update: bool) -> None:
        logger.info("project %s: deploying %s", project, package.arn)
        self._cloud.deploy(project, package, update=update)
        self._states.update(project, deploying=package.version)

    def _update(self, project: int, package: ModelPackage, endpoint: Endpoint) -> None:
        """A failed update leaves the old model in service, with the reason: do not try that package again.

        Unless AWS had no room for it, which is no fault of the package.
        The reason stays until the next update, so it tells of *package* only if that is what was deployed last.
        """
        failed = self._states.get(project).deploying == package.version
        if failed and endpoint.failure and not endpoint.shortage:
            self._reject(project, package, endpoint.failure)
            return
        self._deploy(project, package, update=True)
        if failed and endpoint.shortage:
            raise AwsError(f"v{package.version} could not be deployed, and is tried again: {endpoint.shortage}")

    def _replace_failed(self, project: int, package: ModelPackage, endpoint: Endpoint) -> None:
        """A failed endpoint can only be deleted; what it could not serve is rejected, unless AWS had no room for it."""
        if endpoint.version == package.version and not endpoint.shortage:
            self._reject(project, package, endpoint.failure)
        self._states.update(project, live="")
        self._cloud.delete_endpoint(project)
        if endpoint.shortage:
            raise AwsError(f"the endpoint failed, and is made anew: {endpoint.shortage}")

    def _reject(self, project: int, package: ModelPackage, failure: str) -> None:
        reason = f"it could not be deployed: {failure or 'no reason given'}"
        logger.error("project %s: rejecting %s: %s", project, package.arn, reason)
        self._cloud.reject_package(package.arn, reason)

    def _go_live(self, project: int, package: ModelPackage) -> None:
        version = self._settings.model_version(package.version)
        if self._states.get(project).live != version:
            self._states.update(project, live=version, labels=trained_labels(self._cloud, package))
            logger.info("project %s: %s is in service", project, version)
        if self._preannotation is not None:
            self._preannotation.present(project, version)
