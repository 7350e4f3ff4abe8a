"""Records what the present version leaves in its data folders: `python -m tests.integration.record_state 0.1.0`.

It is run once for a release, with that release's code, and what it writes is never changed again: see
tests/data/upgrade/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.definitions import ROLE, channel, definition, get, join, register, training
from tests.integration.services import CREDENTIALS, NO_PROXY, LocalSageMaker, end, s3_client, start_weed, wait_for

if TYPE_CHECKING:
    from tests.integration.services import AwsClient, Json

RECORDED = Path(__file__).parents[1] / "data" / "upgrade"
PIPELINE, NAME, TOKEN = "label-studio-segmentation", "label-studio-segmentation-p3", "0" * 40


def questions(client: AwsClient, execution: str) -> dict[str, Json]:
    """What is asked of a state, and what it answers; without the times that a start changes."""
    answers = {
        "pipeline": client.describe_pipeline(PipelineName=PIPELINE),
        "executions": client.list_pipeline_executions(PipelineName=PIPELINE),
        "execution": client.describe_pipeline_execution(PipelineExecutionArn=execution),
        "parameters": client.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution),
        "steps": client.list_pipeline_execution_steps(PipelineExecutionArn=execution),
        "training jobs": client.list_training_jobs(),
        "group": client.describe_model_package_group(ModelPackageGroupName=NAME),
        "packages": client.list_model_packages(ModelPackageGroupName=NAME),
        "package": client.describe_model_package(ModelPackageName=f"{NAME}/1"),
        "model": client.describe_model(ModelName=f"{NAME}-v1"),
        "endpoint config": client.describe_endpoint_config(EndpointConfigName=f"{NAME}-v1"),
        "endpoint": client.describe_endpoint(EndpointName=NAME),
    }
    job = answers["training jobs"]["TrainingJobSummaries"][0]["TrainingJobName"]
    answers["training job"] = client.describe_training_job(TrainingJobName=job)
    answers["tags"] = client.list_tags(ResourceArn=answers["pipeline"]["PipelineArn"])
    del answers["endpoint"]["LastModifiedTime"]
    for answer in answers.values():
        del answer["ResponseMetadata"]
    told: dict[str, Json] = json.loads(json.dumps(answers, default=lambda time: time.timestamp()))
    return told


def make_state(client: AwsClient) -> str:
    """A pipeline that was run, an approved package, and the endpoint that serves it; the execution's ARN."""
    images = {"InputDataConfig": [channel("train", join(get("Parameters.Base"), "train", "", on="/"))]}
    trained = training(hyper={"name": "recorded"}, Arguments=images)
    text = json.dumps(definition(trained, register(group=NAME, ModelApprovalStatus="PendingManualApproval")))
    tags = [{"Key": "project", "Value": "birds"}]
    client.create_pipeline(PipelineName=PIPELINE, PipelineDefinition=text, RoleArn=ROLE, Tags=tags)
    arn = client.start_pipeline_execution(
        PipelineName=PIPELINE,
        PipelineExecutionDisplayName="p3-n16-0",
        PipelineParameters=[{"Name": "Base", "Value": "s3://birds/recorded"}],
        ClientRequestToken=TOKEN,
    )["PipelineExecutionArn"]
    asked = {"PipelineExecutionArn": arn}
    wait_for(lambda: client.describe_pipeline_execution(**asked)["PipelineExecutionStatus"] == "Succeeded")
    package = client.describe_model_package(ModelPackageName=f"{NAME}/1")["ModelPackageArn"]
    client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    client.create_model(ModelName=f"{NAME}-v1", ExecutionRoleArn=ROLE, Containers=[{"ModelPackageName": package}])
    variant = {"VariantName": "v1", "ModelName": f"{NAME}-v1", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    client.create_endpoint_config(EndpointConfigName=f"{NAME}-v1", ProductionVariants=[variant])
    client.create_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-v1")
    wait_for(lambda: client.describe_endpoint(EndpointName=NAME)["EndpointStatus"] == "InService")
    return str(arn)


def record(folder: Path, work: Path) -> None:
    """Leave a state in *folder*, as `sagemaker_local` leaves it when it is stopped, and what it answered before."""
    started = start_weed(work)
    if started is None:
        sys.exit("SeaweedFS did not start; try again")
    weed, url = started
    try:
        s3 = s3_client(url)
        s3.create_bucket(Bucket="birds")
        s3.put_object(Bucket="birds", Key="recorded/train/1.txt", Body=b"bird")
        environment = {**CREDENTIALS, **NO_PROXY, "AWS_ENDPOINT_URL_S3": url, "PATH": os.environ["PATH"]}
        service = LocalSageMaker(data=work / "sagemaker", environment=environment).start()
        arn = make_state(service.client())
        answers = questions(service.client(), arn)
        service.stop()
    finally:
        end(weed)
    shutil.copytree(work / "sagemaker", folder / "sagemaker")
    (folder / "answers.json").write_text(json.dumps({"execution": arn, "answers": answers}, indent=1) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        record(RECORDED / sys.argv[1], Path(made))
