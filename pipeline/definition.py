"""The pipeline, written with the sagemaker SDK (version 3). Rendered to definition.json; needed for nothing else.

    Preprocess -> Train -> CheckMIoU: below the floor? -> BelowMinimumMIoU (Fail)
                       |-> CheckApproval: as good as the live model? -> RegisterApproved
                       `-> CheckReview: in between? -> RegisterPending

The definition names no account, region or bucket: those come in as parameters, whose defaults
``python -m pipeline publish`` fills in where the pipeline is put. Rendering needs no credentials and no network.
"""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

import boto3
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionNot
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import Properties, PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import ConfigurableRetryStep, StepTypeEnum

from pipeline.algorithms import INSTANCES, SEGMENTER

WORK = "/opt/ml/processing"
CHANNELS = ("train", "train_annotation", "validation", "validation_annotation")
# Hyperparameters of the built-in algorithm that a user may want to set; its defaults, but for the first three.
HYPERPARAMETERS = {
    "epochs": "30",
    "learning_rate": "0.0001",
    "optimizer": "rmsprop",
    "algorithm": "fcn",
    "backbone": "resnet-50",
    "use_pretrained_model": "True",
    "base_size": "520",
    "crop_size": "240",
    "lr_scheduler": "poly",
    "early_stopping": "False",
}
# These come from the dataset.
COUNTED = ("num_classes", "num_training_samples", "mini_batch_size")


class RequestStep(ConfigurableRetryStep):  # type: ignore[misc]  # the SDK has no types
    """A step whose arguments are an API request as boto3 would take it.

    The SDK's own step classes take them from objects (ModelTrainer, Processor) that cannot hold parameters in every
    field; a plain request can, and is checked against botocore's service model.
    """

    def __init__(
        self,
        name: str,
        kind: StepTypeEnum,
        request: Mapping[str, Any],
        *,
        properties: str,
        property_files: tuple[PropertyFile, ...] = (),
        retries: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(name, kind, retry_policies=list(retries))
        self._request = dict(request)
        self._properties = Properties(step_name=name, step=self, shape_name=properties)
        self.property_files = property_files

    @property
    def arguments(self) -> dict[str, Any]:
        """The request."""
        return self._request

    @property
    def properties(self) -> Properties:
        """What other steps can refer to: the answer of the Describe operation."""
        return self._properties

    def to_request(self) -> dict[str, Any]:
        """The step as it stands in the definition."""
        request: dict[str, Any] = super().to_request()
        if self.property_files:
            request["PropertyFiles"] = [each.expr for each in self.property_files]
        return request


_RETRIES = (
    StepRetryPolicy([StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING], 2.0, 10, 5),
    SageMakerJobStepRetryPolicy([SageMakerJobExceptionTypeEnum.INTERNAL_ERROR], None, 2.0, 60, 2),
    # A GPU may be short for hours. A quota is freed when another training ends, which takes minutes; one that is 0 is
    # freed by nobody, so that is not to be waited for all day.
    SageMakerJobStepRetryPolicy([SageMakerJobExceptionTypeEnum.CAPACITY_ERROR], None, 1.5, 120, 10),
    SageMakerJobStepRetryPolicy([SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT], None, 1.5, 120, 6),
)
_DATASET = PropertyFile(name="Dataset", output_name="report", path="dataset.json")


def _parameters() -> dict[str, Parameter]:
    """All parameters by name; those without a default are the account's, or the run's."""
    names = [*_ACCOUNT, *_RUN]
    parameters: list[Parameter] = [ParameterString(name) for name in names]
    parameters += [
        ParameterString("ProcessingInstanceType", default_value="ml.m5.xlarge"),
        ParameterString("TrainingInstanceType", default_value="ml.g4dn.xlarge", enum_values=[*INSTANCES[SEGMENTER]]),
        ParameterInteger("VolumeSizeInGB", default_value=50),
        ParameterInteger("MaxRuntimeInSeconds", default_value=6 * 3600),
        ParameterString("MaxImageSide", default_value="1024"),
        ParameterString("MaxTrainingSeconds", default_value="0"),
        ParameterFloat("MinimumMIoU", default_value=0.4),
        ParameterFloat("ApproveMIoU", default_value=0.4),
        *(ParameterString(_title(name), default_value=value) for name, value in HYPERPARAMETERS.items()),
    ]
    return {parameter.name: parameter for parameter in parameters}


_ACCOUNT = ("RoleArn", "ProcessingImage", "TrainingImage", "CodeS3Uri", "ArtifactsS3Uri")
_RUN = ("DatasetS3Uri", "ModelPackageGroupName")


def _title(name: str) -> str:
    """``learning_rate`` -> ``LearningRate``: parameters are written like the API's names."""
    return "".join(part.capitalize() for part in name.split("_"))


def _run_folder(parameters: Mapping[str, Parameter], *parts: str) -> Join:
    """A folder of this execution's own; the empty last part makes the slash at its end."""
    area, *rest = parts
    values = [parameters["ArtifactsS3Uri"], area, ExecutionVariables.PIPELINE_EXECUTION_ID, *rest, ""]
    return Join(on="/", values=values)


def _preprocess(parameters: Mapping[str, Parameter]) -> RequestStep:
    """The snapshot and its images become the algorithm's four channels."""
    inputs = [
        _processing_input("code", parameters["CodeS3Uri"]),
        _processing_input("dataset", parameters["DatasetS3Uri"]),
        _processing_input(
            "images", Join(on="", values=[parameters["DatasetS3Uri"], "images.manifest"]), kind="ManifestFile"
        ),
    ]
    outputs = [
        {
            "OutputName": name,
            "S3Output": {
                "S3Uri": _run_folder(parameters, "scratch", name),
                "LocalPath": f"{WORK}/output/{name}",
                "S3UploadMode": "EndOfJob",
            },
        }
        for name in (*CHANNELS, "report")
    ]
    request = {
        "RoleArn": parameters["RoleArn"],
        "AppSpecification": {
            "ImageUri": parameters["ProcessingImage"],
            "ContainerEntrypoint": ["python3", f"{WORK}/input/code/preprocess.py"],
        },
        "Environment": {"MAX_IMAGE_SIDE": parameters["MaxImageSide"]},
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": outputs},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": parameters["ProcessingInstanceType"],
                "VolumeSizeInGB": parameters["VolumeSizeInGB"],
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": parameters["MaxRuntimeInSeconds"]},
    }
    return RequestStep(
        "Preprocess",
        StepTypeEnum.PROCESSING,
        request,
        properties="DescribeProcessingJobResponse",
        property_files=(_DATASET,),
        retries=_RETRIES,
    )


def _processing_input(name: str, uri: Any, kind: str = "S3Prefix") -> dict[str, Any]:  # noqa: ANN401  # any expression
    source = {
        "S3Uri": uri,
        "LocalPath": f"{WORK}/input/{name}",
        "S3DataType": kind,
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"InputName": name, "S3Input": source}


def _train(parameters: Mapping[str, Parameter], preprocess: RequestStep) -> RequestStep:
    outputs = preprocess.properties.ProcessingOutputConfig.Outputs
    channels = [
        {
            "ChannelName": name,
            "ContentType": "image/png" if name.endswith("annotation") else "image/jpeg",
            "InputMode": "File",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": outputs[name].S3Output.S3Uri,
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for name in CHANNELS
    ]
    # The service takes a string here and refuses the number that a property file holds: to_string() joins it alone.
    counted = {
        name: JsonGet(step_name=preprocess.name, property_file=_DATASET, json_path=name).to_string() for name in COUNTED
    }
    request = {
        "RoleArn": parameters["RoleArn"],
        "AlgorithmSpecification": {"TrainingImage": parameters["TrainingImage"], "TrainingInputMode": "File"},
        "HyperParameters": {**counted, **{name: parameters[_title(name)] for name in HYPERPARAMETERS}},
        # The segmenter's time limit (0: none); the built-in algorithm does not look at it.
        "Environment": {"SEGMENTER_MAX_SECONDS": parameters["MaxTrainingSeconds"]},
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": _run_folder(parameters, "models")},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": parameters["TrainingInstanceType"],
            "VolumeSizeInGB": parameters["VolumeSizeInGB"],
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": parameters["MaxRuntimeInSeconds"]},
    }
    return RequestStep(
        "Train", StepTypeEnum.TRAINING, request, properties="DescribeTrainingJobResponse", retries=_RETRIES
    )


def _checks(parameters: Mapping[str, Parameter], train: RequestStep) -> list[ConditionStep]:
    """Fail below the floor; approve what is as good as the live model; leave what is between to a person.

    Three steps side by side, since SageMaker does not take a condition within a condition.
    """
    miou = train.properties.FinalMetricDataList["validation:mIOU"].Value
    above_floor = ConditionGreaterThanOrEqualTo(left=miou, right=parameters["MinimumMIoU"])
    approved = ConditionGreaterThanOrEqualTo(left=miou, right=parameters["ApproveMIoU"])
    below = FailStep(
        name="BelowMinimumMIoU",
        error_message=Join(on="", values=["The model's validation mIoU is below ", parameters["MinimumMIoU"]]),
    )
    register = _register("RegisterApproved", "Approved", parameters, train)
    leave = _register("RegisterPending", "PendingManualApproval", parameters, train)
    return [
        ConditionStep(name="CheckMIoU", conditions=[above_floor], if_steps=[], else_steps=[below]),
        ConditionStep(name="CheckApproval", conditions=[above_floor, approved], if_steps=[register], else_steps=[]),
        ConditionStep(
            name="CheckReview", conditions=[above_floor, ConditionNot(approved)], if_steps=[leave], else_steps=[]
        ),
    ]


def _register(name: str, approval: str, parameters: Mapping[str, Parameter], train: RequestStep) -> RequestStep:
    container = {
        "Image": parameters["TrainingImage"],
        "ModelDataUrl": train.properties.ModelArtifacts.S3ModelArtifacts,
    }
    request = {
        "ModelPackageGroupName": parameters["ModelPackageGroupName"],
        "ModelApprovalStatus": approval,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["image/png", "application/x-protobuf"],
        },
        # How the service finds the labels and the quality of a model again.
        "CustomerMetadataProperties": {
            "dataset": parameters["DatasetS3Uri"],
            "execution": ExecutionVariables.PIPELINE_EXECUTION_ID,
            "training_job": train.properties.TrainingJobName,
        },
    }
    return RequestStep(name, StepTypeEnum.REGISTER_MODEL, request, properties="DescribeModelPackageOutput")


def render() -> str:
    """The definition as JSON text, the same on every machine."""
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    return json.dumps(_definition(), indent=2) + "\n"


def _definition() -> dict[str, Any]:
    parameters = _parameters()
    preprocess = _preprocess(parameters)
    train = _train(parameters, preprocess)
    pipeline = Pipeline(
        name="label-studio-segmentation",
        parameters=list(parameters.values()),
        pipeline_experiment_config=None,
        steps=[preprocess, train, *_checks(parameters, train)],
        sagemaker_session=_offline_session(),
    )
    definition: dict[str, Any] = json.loads(pipeline.definition())
    return {name: value for name, value in definition.items() if value is not None}


def _offline_session() -> PipelineSession:
    """The SDK makes its clients beforehand; these have a region and credentials that never get used."""
    session = boto3.session.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")  # noqa: S106
    quiet = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    return PipelineSession(boto_session=session, default_bucket="none", sagemaker_config=quiet)


if __name__ == "__main__":
    sys.stdout.write(render())
