"""Real services for the integration tests: SeaweedFS as S3, and sagemaker_local as a process."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.integration.services import CREDENTIALS, NO_PROXY, AwsClient, LocalSageMaker, end, s3_client, start_weed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real S3 server, for the whole test session."""
    for _ in range(5):
        started = start_weed(tmp_path_factory.mktemp("weed"))
        if started:
            process, url = started
            yield url
            end(process)
            return
    pytest.fail("SeaweedFS did not start")


@pytest.fixture(scope="session")
def aws_env(s3_endpoint: str) -> dict[str, str]:
    """boto3's own variables that lead to the S3 server, and to nothing else."""
    return {
        **CREDENTIALS,
        **NO_PROXY,
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHAREDCREDENTIALS_FILE": os.devnull,
    }


@pytest.fixture(scope="session")
def s3(s3_endpoint: str) -> Iterator[AwsClient]:
    """A boto3 client of the S3 server."""
    client = s3_client(s3_endpoint)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: AwsClient) -> str:
    """A fresh, empty bucket."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def new_local_sagemaker(
    tmp_path_factory: pytest.TempPathFactory, aws_env: dict[str, str]
) -> Iterator[Callable[..., LocalSageMaker]]:
    """Makes more of them, each with its own data folder; they end with the session."""
    made: list[LocalSageMaker] = []

    def make(*options: str) -> LocalSageMaker:
        environment = {
            **aws_env,
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "OMP_NUM_THREADS": "1",
        }
        data = tmp_path_factory.mktemp("sagemaker") / "data"
        made.append(LocalSageMaker(data=data, environment=environment, options=options))
        return made[-1].start()

    yield make
    for item in made:
        if item.process:
            end(item.process)


@pytest.fixture(scope="session")
def local_sagemaker(new_local_sagemaker: Callable[..., LocalSageMaker]) -> LocalSageMaker:
    """One sagemaker_local for all tests that do not kill it."""
    return new_local_sagemaker("--jobs", "3")


@pytest.fixture(scope="session")
def sagemaker_local_url(local_sagemaker: LocalSageMaker) -> str:
    """The address of sagemaker_local with the test algorithm."""
    return local_sagemaker.url
