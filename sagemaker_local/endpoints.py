"""Endpoints: created, updated and deleted in the background."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sagemaker_local.errors import JobError, validation
from sagemaker_local.listing import page
from sagemaker_local.models import Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.hosting import Hosting
    from sagemaker_local.models import Models
    from sagemaker_local.names import Names
    from sagemaker_local.state import Document, Store

logger = logging.getLogger(__name__)


class Endpoints:
    """The endpoints of the account. What an endpoint serves is kept in its own document."""

    def __init__(self, *, store: Store, names: Names, models: Models, hosting: Hosting) -> None:
        self._store = store
        self._names = names
        self._models = models
        self._hosting = hosting
        self._workers: set[threading.Thread] = set()
        self._closing = threading.Event()

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on endpoints."""
        return {
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_endpoints,
            "UpdateEndpoint": self.update,
            "DeleteEndpoint": self.delete,
        }

    def create(self, request: Document) -> Document:
        """CreateEndpoint: answers at once, the servers start behind it."""
        name = request["EndpointName"]
        arn = self._names.arn("endpoint", name)
        config = self._models.find_config(request["EndpointConfigName"])
        document = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointStatus": "Creating",
            **self._served(config),
        }
        with self._store.transaction():
            if not self._store.insert("endpoint", name, document):
                raise validation(f'Cannot create already existing endpoint "{arn}".')
            self._store.tag(arn, {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])})
        self._behind(self._finish_creation, name, True)
        return {"EndpointArn": arn}

    def describe(self, request: Document) -> Document:
        """DescribeEndpoint."""
        return self._find(request["EndpointName"])

    def list_endpoints(self, request: Document) -> Document:
        """ListEndpoints."""
        shown, token = page(self._store.documents("endpoint"), request, name="EndpointName", status="EndpointStatus")
        return {"Endpoints": shown, "NextToken": token}

    def update(self, request: Document) -> Document:
        """UpdateEndpoint: the old configuration answers until the new one does; if that fails, it stays."""
        config = self._models.find_config(request["EndpointConfigName"])
        with self._store.transaction():
            endpoint = self._changeable(request["EndpointName"])
            if endpoint["EndpointStatus"] != "InService":
                raise validation(
                    f'Cannot update endpoint "{endpoint["EndpointArn"]}" in status {endpoint["EndpointStatus"]}.'
                )
            pending = self._served(config)
            changes = {"EndpointStatus": "Updating", "FailureReason": None, "_pending": pending}
            self._store.update("endpoint", endpoint["EndpointName"], changes)
        self._behind(self._finish_update, endpoint["EndpointName"], True)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def delete(self, request: Document) -> Document:
        """DeleteEndpoint: its servers end behind the answer."""
        with self._store.transaction():
            endpoint = self._changeable(request["EndpointName"])
            self._store.update("endpoint", endpoint["EndpointName"], {"EndpointStatus": "Deleting"})
        self._behind(self._finish_deletion, endpoint["EndpointName"])
        return {}

    def recover(self) -> None:
        """After a start of the service: bring every endpoint to where it was going."""
        for endpoint in self._store.documents("endpoint"):
            status, name = endpoint["EndpointStatus"], endpoint["EndpointName"]
            if status == "Deleting":
                self._behind(self._finish_deletion, name)
            elif status == "Updating":
                self._behind(self._resume_update, name)
            elif status != "Failed":
                self._behind(self._finish_creation, name, False)

    def close(self) -> None:
        """End all model servers; the endpoints serve again after the next start."""
        self._closing.set()
        self._hosting.close()
        for worker in list(self._workers):
            worker.join()
        self._hosting.close()

    def _find(self, name: str) -> Document:
        endpoint = self._store.get("endpoint", name)
        if endpoint is None:
            raise validation(f'Could not find endpoint "{self._names.arn("endpoint", name)}".')
        return endpoint

    def _changeable(self, name: str) -> Document:
        endpoint = self._find(name)
        if endpoint["EndpointStatus"] in ("Creating", "Updating", "Deleting"):
            raise validation(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')
        return endpoint

    def _served(self, config: Document) -> Document:
        """The members that say what an endpoint serves."""
        variants = self._models.variants(config)
        return {
            "EndpointConfigName": config["EndpointConfigName"],
            "ProductionVariants": [
                _variant_summary(item, raw) for item, raw in zip(variants, config["ProductionVariants"], strict=True)
            ],
            "_variants": [variant.as_json() for variant in variants],
        }

    def _behind(self, work: Callable[..., None], *arguments: object) -> None:
        """Do the work in a thread that is known, so that closing can wait for it."""

        def run() -> None:
            try:
                work(*arguments)
            except Exception:
                logger.exception("endpoint %s: a fault of sagemaker_local", arguments[0])
                self._fail(str(arguments[0]), "a fault of sagemaker_local; its own log has the details")
            finally:
                self._workers.discard(threading.current_thread())

        worker = threading.Thread(target=run, name=f"endpoint-{arguments[0]}")
        self._workers.add(worker)
        worker.start()

    def _finish_creation(self, name: str, fresh: bool) -> None:
        endpoint = self._find(name)
        try:
            self._deploy(name, endpoint, fresh=fresh)
        except JobError as error:
            self._fail(name, _reason(endpoint, error))
        else:
            self._store.update("endpoint", name, {"EndpointStatus": "InService", "FailureReason": None})
            logger.info("endpoint %s: in service with %s", name, endpoint["EndpointConfigName"])

    def _finish_update(self, name: str, fresh: bool) -> None:
        endpoint = self._find(name)
        pending, old = endpoint["_pending"], endpoint["EndpointConfigName"]
        try:
            self._deploy(name, pending, fresh=fresh)
        except JobError as error:
            if self._closing.is_set():
                return
            reason = _reason(pending, error)
            changes = {"EndpointStatus": "InService", "FailureReason": reason, "_pending": None}
            self._store.update("endpoint", name, changes)
            logger.warning("endpoint %s: keeps %s: %s", name, old, reason)
            return
        self._store.update("endpoint", name, {"EndpointStatus": "InService", "_pending": None} | pending)
        logger.info("endpoint %s: in service with %s", name, pending["EndpointConfigName"])
        if old != pending["EndpointConfigName"]:
            self._hosting.drop_config(name, old)

    def _resume_update(self, name: str) -> None:
        endpoint = self._find(name)
        try:
            self._deploy(name, endpoint, fresh=False)
        except JobError as error:
            logger.warning("endpoint %s: the old configuration does not start: %s", name, error)
        self._finish_update(name, True)

    def _finish_deletion(self, name: str) -> None:
        self._hosting.remove(name)
        self._store.delete("endpoint", name)
        self._store.untag(self._names.arn("endpoint", name))
        logger.info("endpoint %s: deleted", name)

    def _deploy(self, name: str, served: Document, *, fresh: bool) -> None:
        variants = [Variant(**item) for item in served["_variants"]]
        config = served["EndpointConfigName"]
        self._hosting.deploy(
            name, config, variants, fresh=fresh, on_failure=lambda reason: self._lost(name, config, reason)
        )

    def _lost(self, name: str, config: str, reason: str) -> None:
        """A model server died for good. That of an older configuration no longer matters."""
        endpoint = self._store.get("endpoint", name)
        if endpoint and endpoint["EndpointConfigName"] == config and not self._closing.is_set():
            self._fail(name, reason)

    def _fail(self, name: str, reason: str) -> None:
        if self._closing.is_set():
            return
        logger.warning("endpoint %s: failed: %s", name, reason)
        self._store.update("endpoint", name, {"EndpointStatus": "Failed", "FailureReason": reason[:1024]})


def _variant_summary(variant: Variant, raw: Document) -> Document:
    instances = raw.get("InitialInstanceCount", 1)
    return {
        "VariantName": variant.name,
        "DeployedImages": [{"SpecifiedImage": variant.image, "ResolvedImage": variant.image}],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": instances,
        "DesiredInstanceCount": instances,
    } | ({"CurrentServerlessConfig": raw["ServerlessConfig"]} if "ServerlessConfig" in raw else {})


def _reason(served: Document, error: JobError) -> str:
    config = served["EndpointConfigName"]
    return f"The container of endpoint configuration {config} did not start: {error}"
