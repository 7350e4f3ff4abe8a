"""Models and endpoint configurations: what an endpoint is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import validation
from sagemaker_local.listing import page

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.names import Names
    from sagemaker_local.packages import Packages
    from sagemaker_local.state import Document, Store


@dataclass(frozen=True, slots=True)
class Variant:
    """A production variant with all that is needed to serve it.

    It is kept with the endpoint, so that the model and the configuration may be deleted.
    """

    name: str
    weight: float
    image: str
    model_data: str
    environment: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """For the store; `Variant(**...)` reads it back."""
        return asdict(self)


class Models:
    """CreateModel, CreateEndpointConfig and their kin."""

    def __init__(self, *, store: Store, names: Names, packages: Packages) -> None:
        self._store = store
        self._names = names
        self._packages = packages

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on models and endpoint configurations."""
        return {
            "CreateModel": self.create,
            "DescribeModel": lambda request: self._find(request["ModelName"]),
            "ListModels": self.list_models,
            "DeleteModel": self.delete,
            "CreateEndpointConfig": self.create_config,
            "DescribeEndpointConfig": lambda request: self.find_config(request["EndpointConfigName"]),
            "ListEndpointConfigs": self.list_configs,
            "DeleteEndpointConfig": self.delete_config,
        }

    def create(self, request: Document) -> Document:
        """CreateModel: one container, given by a model package or by image and model data."""
        containers = request.get("Containers") or [request.get("PrimaryContainer")]
        if len(containers) != 1 or containers[0] is None:
            raise validation(
                "sagemaker_local serves models of exactly one container: PrimaryContainer or Containers[0]."
            )
        self._resolve(containers[0])
        arn = self._names.arn("model", request["ModelName"])
        document = request | {"ModelArn": arn, "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False)}
        self._insert("model", request["ModelName"], document, arn, what="model")
        return {"ModelArn": arn}

    def list_models(self, request: Document) -> Document:
        """ListModels."""
        shown, token = page(self._store.documents("model"), request, name="ModelName")
        return {"Models": shown, "NextToken": token}

    def delete(self, request: Document) -> Document:
        """DeleteModel; endpoints that serve it go on."""
        model = self._find(request["ModelName"])
        self._store.delete("model", model["ModelName"])
        self._store.untag(model["ModelArn"])
        return {}

    def create_config(self, request: Document) -> Document:
        """CreateEndpointConfig; its models must exist."""
        for variant in request["ProductionVariants"]:
            if "ModelName" not in variant:
                raise validation(
                    f"Variant {variant['VariantName']}: sagemaker_local serves variants with a ModelName only."
                )
            self._find(variant["ModelName"])
        names = [variant["VariantName"] for variant in request["ProductionVariants"]]
        if len(set(names)) < len(names):
            raise validation(f"Variant names must be unique: {', '.join(names)}")
        arn = self._names.arn("endpoint-config", request["EndpointConfigName"])
        document = request | {"EndpointConfigArn": arn}
        self._insert("endpoint-config", request["EndpointConfigName"], document, arn, what="endpoint configuration")
        return {"EndpointConfigArn": arn}

    def list_configs(self, request: Document) -> Document:
        """ListEndpointConfigs."""
        shown, token = page(self._store.documents("endpoint-config"), request, name="EndpointConfigName")
        return {"EndpointConfigs": shown, "NextToken": token}

    def delete_config(self, request: Document) -> Document:
        """DeleteEndpointConfig; endpoints that use it go on."""
        config = self.find_config(request["EndpointConfigName"])
        self._store.delete("endpoint-config", config["EndpointConfigName"])
        self._store.untag(config["EndpointConfigArn"])
        return {}

    def find_config(self, name: str) -> Document:
        """The endpoint configuration of this name; ValidationException if there is none."""
        config = self._store.get("endpoint-config", name)
        if config is None:
            arn = self._names.arn("endpoint-config", name)
            raise validation(f'Could not find endpoint configuration "{arn}".')
        return config

    def variants(self, config: Document) -> list[Variant]:
        """What an endpoint with this configuration serves."""
        return [self._variant(item) for item in config["ProductionVariants"]]

    def _variant(self, item: Document) -> Variant:
        model = self._find(item["ModelName"])
        container = (model.get("Containers") or [model.get("PrimaryContainer")])[0]
        image, model_data, environment = self._resolve(container)
        return Variant(
            name=item["VariantName"],
            weight=float(item.get("InitialVariantWeight", 1.0)),
            image=image,
            model_data=model_data,
            environment=environment,
        )

    def _resolve(self, container: Document) -> tuple[str, str, dict[str, str]]:
        """A container's image, model data and environment, taken from its model package if it names one."""
        environment = container.get("Environment", {})
        if "ModelPackageName" in container:
            package = self._packages.find(container["ModelPackageName"])
            container = package["InferenceSpecification"]["Containers"][0]
            environment = container.get("Environment", {}) | environment
        if "Image" not in container or "ModelDataUrl" not in container:
            raise validation(
                "A container needs Image and ModelDataUrl, or a ModelPackageName whose container has them."
            )
        return container["Image"], container["ModelDataUrl"], environment

    def _find(self, name: str) -> Document:
        model = self._store.get("model", name)
        if model is None:
            raise validation(f'Could not find model "{self._names.arn("model", name)}".')
        return model

    def _insert(self, kind: str, name: str, document: Document, arn: str, *, what: str) -> None:
        with self._store.transaction():
            if not self._store.insert(kind, name, document):
                raise validation(f'Cannot create already existing {what} "{arn}".')
            self._store.tag(arn, {tag["Key"]: tag["Value"] for tag in document.get("Tags", [])})
