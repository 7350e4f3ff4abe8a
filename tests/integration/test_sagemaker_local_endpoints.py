"""Endpoints of sagemaker_local: created, updated without a gap, deleted, invoked; real model servers."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.integration.services import AwsClient, Json, LocalSageMaker, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


class Deployer:
    """Puts models into S3 and deploys them."""

    def __init__(self, sagemaker: LocalSageMaker, s3: AwsClient, bucket: str) -> None:
        self.client = sagemaker.client()
        self.runtime = sagemaker.client("sagemaker-runtime")
        self._s3 = s3
        self._bucket = bucket
        self.endpoint = f"e-{uuid.uuid4().hex[:8]}"

    def config(self, model: str, *, image: str = "fake:1", **parameters: str) -> str:
        """A model and an endpoint configuration, both of this name."""
        name = f"{model}-{uuid.uuid4().hex[:6]}"
        content = json.dumps({"name": model, "parameters": parameters}).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo("model.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        self._s3.put_object(Bucket=self._bucket, Key=f"{name}.tar.gz", Body=archive.getvalue())
        container = {
            "Image": image,
            "ModelDataUrl": f"s3://{self._bucket}/{name}.tar.gz",
            "Environment": {"GREETING": model},
        }
        self.client.create_model(ModelName=name, PrimaryContainer=container)
        self.client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)])
        return name

    def create(self, config: str) -> str:
        """Create the endpoint and wait; its status."""
        self.client.create_endpoint(EndpointName=self.endpoint, EndpointConfigName=config)
        return str(self.settled()["EndpointStatus"])

    def settled(self, timeout_s: float = 30) -> Json:
        """The endpoint's description once nothing is under way."""

        def done() -> Json:
            described = self.client.describe_endpoint(EndpointName=self.endpoint)
            return described["EndpointStatus"] in ("InService", "Failed") and described

        return wait_for(done, timeout_s=timeout_s)

    def invoke(self, body: bytes = b"hello", **options: str) -> Json:
        options = {"ContentType": "image/jpeg", "Accept": "image/png", **options}
        answer = self.runtime.invoke_endpoint(EndpointName=self.endpoint, Body=body, **options)
        return json.loads(answer["Body"].read()) | {"variant": answer["InvokedProductionVariant"]}


def variant(model: str, name: str = "AllTraffic") -> Json:
    return {"VariantName": name, "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}


@pytest.fixture
def deployer(local_sagemaker: LocalSageMaker, s3: AwsClient, bucket: str) -> Iterator[Deployer]:
    made = Deployer(local_sagemaker, s3, bucket)
    yield made
    try:
        made.settled()
        made.client.delete_endpoint(EndpointName=made.endpoint)
    except ClientError:
        pass


def test_an_endpoint_passes_body_type_and_answer_through(deployer: Deployer) -> None:
    assert deployer.create(deployer.config("first")) == "InService"

    body = bytes(range(256)) * 4000

    said = deployer.invoke(body)

    assert (said["model"], said["bytes"], said["type"], said["accept"]) == (
        "first",
        len(body),
        "image/jpeg",
        "image/png",
    )
    assert (said["variant"], said["env"]) == ("AllTraffic", "first")


def test_a_model_may_come_from_a_model_package(deployer: Deployer) -> None:
    first = deployer.config("packaged")
    url = deployer.client.describe_model(ModelName=first)["PrimaryContainer"]["ModelDataUrl"]
    specification: Json = {"Containers": [{"Image": "fake:1", "ModelDataUrl": url}]}
    group = f"g-{uuid.uuid4().hex[:6]}"
    deployer.client.create_model_package_group(ModelPackageGroupName=group)
    package = deployer.client.create_model_package(ModelPackageGroupName=group, InferenceSpecification=specification)
    name = f"m-{uuid.uuid4().hex[:6]}"
    deployer.client.create_model(ModelName=name, Containers=[{"ModelPackageName": package["ModelPackageArn"]}])
    deployer.client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)])

    assert deployer.create(name) == "InService"
    assert deployer.invoke()["model"] == "packaged"


def test_an_update_may_name_the_variant_anew_and_every_answer_tells_which_one_gave_it(deployer: Deployer) -> None:
    names = {"v1": deployer.config("old"), "v2": deployer.config("new")}
    configs = {version: f"{model}-{version}" for version, model in names.items()}
    for version, config in configs.items():
        variants = [variant(names[version], version)]
        deployer.client.create_endpoint_config(EndpointConfigName=config, ProductionVariants=variants)
    deployer.create(configs["v1"])
    before = deployer.invoke()

    deployer.client.update_endpoint(EndpointName=deployer.endpoint, EndpointConfigName=configs["v2"])
    seen = [before]
    while seen[-1]["variant"] == "v1":
        seen.append(deployer.invoke())

    assert {(said["variant"], said["model"]) for said in seen} == {("v1", "old"), ("v2", "new")}


def test_an_update_under_load_loses_no_request(deployer: Deployer) -> None:
    deployer.create(deployer.config("old"))
    new = deployer.config("new")
    seen: list[str] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            seen.append(deployer.invoke()["model"])

    with ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load) for _ in range(6)]
        deployer.client.update_endpoint(EndpointName=deployer.endpoint, EndpointConfigName=new)
        assert deployer.client.describe_endpoint(EndpointName=deployer.endpoint)["EndpointStatus"] == "Updating"
        described = deployer.settled()
        switched = len(seen)
        wait_for(lambda: len(seen) > switched + 20)
        stop.set()
        for item in loads:
            item.result()

    assert described["EndpointConfigName"] == new
    assert set(seen) == {"old", "new"}
    assert set(seen[switched + 6 :]) == {"new"}


def test_an_update_that_does_not_start_keeps_the_old_configuration(deployer: Deployer) -> None:
    old = deployer.config("old")
    deployer.create(old)

    deployer.client.update_endpoint(
        EndpointName=deployer.endpoint, EndpointConfigName=deployer.config("bad", broken="1")
    )
    described = deployer.settled()

    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
    assert "exit code 1" in described["FailureReason"]
    assert deployer.invoke()["model"] == "old"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"broken": "1"}, "exit code 1", id="server ends"),
        pytest.param({"image": "xgboost:1"}, "'xgboost:1'", id="unknown image"),
    ],
)
def test_an_endpoint_that_cannot_start_is_failed_with_the_reason(
    deployer: Deployer, options: dict[str, str], reason: str
) -> None:
    assert deployer.create(deployer.config("bad", **options)) == "Failed"

    assert reason in deployer.settled()["FailureReason"]
    with pytest.raises(ClientError, match="not found"):
        deployer.invoke()
    deployer.client.delete_endpoint(EndpointName=deployer.endpoint)
    wait_for(lambda: deployer.endpoint not in _endpoints(deployer.client))


def _endpoints(client: AwsClient) -> list[Json]:
    return [item["EndpointName"] for item in client.list_endpoints()["Endpoints"]]


def test_a_model_server_that_dies_is_restarted(deployer: Deployer) -> None:
    deployer.create(deployer.config("mortal"))
    before = deployer.invoke()["pid"]

    with pytest.raises(ClientError):
        deployer.invoke(b"die")

    assert wait_for(lambda: _pid_or_none(deployer)) != before


def _pid_or_none(deployer: Deployer) -> int | None:
    try:
        return int(deployer.invoke()["pid"])
    except ClientError:
        return None


def test_a_model_that_answers_an_error_is_a_model_error(deployer: Deployer) -> None:
    deployer.create(deployer.config("picky"))

    with pytest.raises(ClientError) as caught:
        deployer.invoke(b"status 503")

    answer: Json = caught.value.response
    assert answer["Error"]["Code"] == "ModelError"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert answer["OriginalStatusCode"] == 503
    assert '"model": "picky"' in answer["OriginalMessage"]


def test_an_endpoint_that_is_not_there_is_a_validation_error(deployer: Deployer) -> None:
    with pytest.raises(ClientError, match=f"Endpoint {deployer.endpoint} of account 123456789012 not found") as caught:
        deployer.invoke()

    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_deleted_endpoint_is_gone_and_can_be_made_again(deployer: Deployer) -> None:
    config = deployer.config("again")
    deployer.create(config)
    with pytest.raises(ClientError, match="already existing endpoint"):
        deployer.client.create_endpoint(EndpointName=deployer.endpoint, EndpointConfigName=config)

    deployer.client.delete_endpoint(EndpointName=deployer.endpoint)
    wait_for(lambda: deployer.endpoint not in _endpoints(deployer.client))

    assert deployer.create(config) == "InService"


def test_variants_share_the_requests_by_weight_and_can_be_named(deployer: Deployer) -> None:
    one, two = deployer.config("one"), deployer.config("two")
    both = f"both-{uuid.uuid4().hex[:6]}"
    variants = [variant(one, "A") | {"InitialVariantWeight": 1.0}, variant(two, "B") | {"InitialVariantWeight": 0.0}]
    deployer.client.create_endpoint_config(EndpointConfigName=both, ProductionVariants=variants)
    deployer.create(both)

    assert {deployer.invoke()["variant"] for _ in range(10)} == {"A"}
    assert deployer.invoke(TargetVariant="B")["model"] == "two"


def test_models_and_configurations_can_be_listed_and_deleted(deployer: Deployer) -> None:
    name = deployer.config("listed")
    client = deployer.client

    assert [item["ModelName"] for item in client.list_models(NameContains=name)["Models"]] == [name]
    assert len(client.list_endpoint_configs(NameContains=name)["EndpointConfigs"]) == 1
    client.delete_endpoint_config(EndpointConfigName=name)
    client.delete_model(ModelName=name)
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        client.create_endpoint(EndpointName=deployer.endpoint, EndpointConfigName=name)
    with pytest.raises(ClientError, match="Could not find model"):
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)])


def test_invoking_costs_little_more_than_the_model(deployer: Deployer) -> None:
    deployer.create(deployer.config("fast"))
    deployer.invoke()

    times = []
    for _ in range(40):
        began = time.perf_counter()
        deployer.invoke(b"x" * 50_000)
        times.append(time.perf_counter() - began)

    assert sorted(times)[20] < 0.05  # without TCP_NODELAY it is 0.04 more
