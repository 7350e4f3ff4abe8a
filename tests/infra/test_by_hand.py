"""What becomes of a running service when somebody deletes things in the account by hand."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from backend.aws import Aws
from backend.config import Settings
from backend.deployer import Deployer
from backend.errors import AwsError
from backend.state import StateFile
from tests.infra.desk import Desk, client

pytestmark = pytest.mark.usefixtures("account")
PROJECT = 1


@dataclass
class Running:
    """The part of the service that serves models."""

    cloud: Aws
    deployer: Deployer
    states: StateFile
    settings: Settings

    @property
    def live(self) -> str:
        return self.states.get(PROJECT).live

    def look(self) -> None:
        """Two regular looks: what one begins the other finds done."""
        for _ in range(2):
            self.deployer.reconcile(PROJECT)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """A service whose project has a model in service."""
    _, made = Desk().make()
    settings = replace(made, model_dir=tmp_path)
    cloud, states = Aws(settings), StateFile(tmp_path / "projects.json")
    register(cloud)
    running = Running(cloud, Deployer(settings, cloud=cloud, states=states), states, settings)
    running.look()
    assert running.live == "segmentation v1"
    return running


def register(cloud: Aws) -> None:
    """What a pipeline does at its end."""
    group = cloud.ensure_package_group(PROJECT)
    sagemaker: Any = client("sagemaker")
    sagemaker.create_model_package(ModelPackageGroupName=group, ModelApprovalStatus="Approved")


def start(cloud: Aws) -> str:
    return cloud.start_execution(project=PROJECT, annotations=16, attempt=0, token="t" * 64, parameters={})


def test_without_its_pipeline_the_service_says_what_makes_it_anew_and_then_goes_on(running: Running):
    client("sagemaker").delete_pipeline(PipelineName="birds")
    cure = "there is no pipeline birds in eu-central-1: run `provision` or `setup`, which make it anew"
    for ask in (running.cloud.pipeline_arn, lambda: running.cloud.executions(PROJECT), lambda: start(running.cloud)):
        with pytest.raises(AwsError, match=cure):
            ask()

    Desk().make()

    assert running.cloud.executions(PROJECT) == []
    assert "pipeline/birds" in start(running.cloud)


def test_an_endpoint_that_was_deleted_is_made_anew_by_the_next_look(running: Running):
    client("sagemaker").delete_endpoint(EndpointName="birds-p1")
    assert running.cloud.endpoint(PROJECT) is None

    running.look()

    found = running.cloud.endpoint(PROJECT)
    assert found is not None
    assert (found.status, found.version, running.live) == ("InService", 1, "segmentation v1")


def test_an_endpoint_that_was_deleted_with_its_configuration_and_model_is_made_anew(running: Running):
    sagemaker = client("sagemaker")
    sagemaker.delete_endpoint(EndpointName="birds-p1")
    sagemaker.delete_endpoint_config(EndpointConfigName="birds-p1-v1")
    sagemaker.delete_model(ModelName="birds-p1-v1")

    running.look()

    assert running.live == "segmentation v1"
    assert running.cloud.endpoint(PROJECT) is not None


def test_without_its_models_nothing_is_served_until_the_next_training_registers_one(running: Running):
    Desk().account.delete_packages("birds-p1")

    running.look()
    assert (running.live, running.cloud.endpoint(PROJECT)) == ("", None)

    register(running.cloud)
    running.look()
    assert running.live == "segmentation v1"
