"""sagemaker_local killed and started again, stopped, started twice."""

from __future__ import annotations

import json
import os
import re
import socket
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.integration.definitions import ROLE, definition, training
from tests.integration.services import AwsClient, Json, LocalSageMaker, free_ports, wait_for
from tests.integration.test_sagemaker_local_endpoints import Deployer

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def own(new_local_sagemaker: Callable[..., LocalSageMaker]) -> LocalSageMaker:
    """A sagemaker_local that the test may kill."""
    return new_local_sagemaker()


def _start_long_job(own: LocalSageMaker, bucket: str) -> str:
    client, name = own.client(), f"p-{uuid.uuid4().hex[:6]}"
    text = json.dumps(definition(training(hyper={"sleep": "120", "marker": bucket})))
    client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)
    base = [{"Name": "Base", "Value": f"s3://{bucket}/b"}]
    arn = client.start_pipeline_execution(PipelineName=name, PipelineParameters=base, ClientRequestToken="t" * 40)
    wait_for(lambda: any("train" in _command(process) for process in _jobs_of(own)))  # not a model server
    return str(arn["PipelineExecutionArn"])


def _jobs_of(own: LocalSageMaker) -> list[psutil.Process]:
    """Running programs of this service's jobs and model servers, wherever they hang in the process tree."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SAGEMAKER_BASE_DIR", "").startswith(str(own.data)):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if "fake_algorithm.py" in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_killed_it_comes_back_with_everything(own: LocalSageMaker, s3: AwsClient, bucket: str) -> None:
    deployer = Deployer(own, s3, bucket)
    deployer.create(deployer.config("survivor"))
    arn = _start_long_job(own, bucket)

    own.kill()
    wait_for(lambda: not _jobs_of(own), timeout_s=10)
    own.start()

    client = own.client()
    execution = client.describe_pipeline_execution(PipelineExecutionArn=arn)
    (step,) = client.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    (job,) = client.list_training_jobs()["TrainingJobSummaries"]
    assert execution["PipelineExecutionStatus"] == step["StepStatus"] == job["TrainingJobStatus"] == "Failed"
    assert execution["FailureReason"] == (
        "The pipeline execution was cut off: sagemaker_local was stopped while it ran"
    )
    assert wait_for(lambda: _answer(deployer))["model"] == "survivor"
    again = client.start_pipeline_execution(PipelineName=arn.split("/")[1], ClientRequestToken="t" * 40)
    assert again["PipelineExecutionArn"] == arn


def _answer(deployer: Deployer) -> Json:
    try:
        return deployer.invoke()
    except Exception:  # noqa: BLE001 - not yet
        return None


def test_an_update_that_was_cut_off_is_finished(own: LocalSageMaker, s3: AwsClient, bucket: str) -> None:
    deployer = Deployer(own, s3, bucket)
    deployer.create(deployer.config("old"))
    new = deployer.config("new")
    deployer.client.update_endpoint(EndpointName=deployer.endpoint, EndpointConfigName=new)

    own.kill()
    own.start()

    assert deployer.settled()["EndpointConfigName"] == new
    assert deployer.invoke()["model"] == "new"


def test_sigterm_ends_all_children_and_marks_what_ran(own: LocalSageMaker, s3: AwsClient, bucket: str) -> None:
    deployer = Deployer(own, s3, bucket)
    deployer.create(deployer.config("served"))
    arn = _start_long_job(own, bucket)

    assert own.stop() == 0

    assert _jobs_of(own) == []
    own.start()
    execution = own.client().describe_pipeline_execution(PipelineExecutionArn=arn)
    (job,) = own.client().list_training_jobs()["TrainingJobSummaries"]
    (step,) = own.client().list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert execution["PipelineExecutionStatus"] == step["StepStatus"] == job["TrainingJobStatus"] == "Failed"
    assert "was cut off" in execution["FailureReason"]
    assert "was cut off" in step["FailureReason"]
    assert wait_for(lambda: _answer(deployer))["model"] == "served"


def test_a_second_one_on_the_same_data_is_refused(own: LocalSageMaker) -> None:
    second = own.spawn(free_ports(1)[0])

    assert second.wait(20) == 1
    assert own.log.splitlines()[-1] == (
        f"sagemaker_local: another sagemaker_local already uses the data folder {own.data}"
    )


def test_a_taken_port_is_one_sentence(new_local_sagemaker: Callable[..., LocalSageMaker]) -> None:
    other = new_local_sagemaker()
    other.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = other.spawn(port)

        assert process.wait(20) == 1

    assert other.log.splitlines()[-1].startswith(
        f"sagemaker_local: cannot listen on 127.0.0.1:{port}: the port is taken"
    )
    assert "Traceback" not in other.log


def test_it_listens_on_loopback_only_and_is_small_when_idle(own: LocalSageMaker) -> None:
    own.client().list_pipelines()
    process = psutil.Process(own.process.pid if own.process else os.getpid())

    addresses = {connection.laddr.ip for connection in process.net_connections("tcp") if connection.status == "LISTEN"}

    assert addresses == {"127.0.0.1"}
    assert process.memory_info().rss < 120e6


def test_its_log_holds_no_secret(own: LocalSageMaker, bucket: str, aws_env: dict[str, str]) -> None:
    arn = _start_long_job(own, bucket)
    own.client().stop_pipeline_execution(PipelineExecutionArn=arn)
    wait_for(lambda: re.search("execution .*: Stopped", own.log))

    assert aws_env["AWS_SECRET_ACCESS_KEY"] not in own.log
