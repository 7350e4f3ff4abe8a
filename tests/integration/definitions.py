"""Pipeline definitions for the integration tests, in the form of the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.services import Json

ROLE = "arn:aws:iam::123456789012:role/pipeline"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/fake:1"

PREPARE = """
import json, os, pathlib, shutil
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "processing"
files = (base / "input/images").rglob("*")
images = sorted(path.relative_to(base / "input/images").as_posix() for path in files if path.is_file())
print("images", images)
(base / "output/train/list.txt").write_text("\\n".join(images))
(base / "output/report/sub").mkdir()
(base / "output/report/sub/dataset.json").write_text(json.dumps({"num_classes": 5, "names": images}))
"""


def get(reference: str) -> dict[str, str]:
    return {"Get": reference}


def join(*values: Json, on: str = "") -> Json:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def training(name: str = "Train", *, hyper: Json | None = None, **step: Json) -> Json:
    """A Training step; `Arguments` may be given in part."""
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {
            "S3OutputPath": join(get("Parameters.Base"), "models", get("Execution.PipelineExecutionId"), on="/")
        },
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "HyperParameters": hyper or {},
    }
    arguments |= step.pop("Arguments", {})
    return {"Name": name, "Type": "Training", "Arguments": arguments, **step}


def channel(name: str, uri: Json) -> Json:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def processing(name: str = "Preprocess", **step: Json) -> Json:
    """A Processing step that runs PREPARE from `<Base>/code/` on a manifest's images."""
    arguments = {
        "AppSpecification": {
            "ImageUri": "python:3",
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/prepare.py"],
        },
        "RoleArn": ROLE,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 10}
        },
        "ProcessingInputs": [
            _input("code", join(get("Parameters.Base"), "code", "", on="/"), "S3Prefix"),
            _input("images", join(get("Parameters.Base"), "images.manifest", on="/"), "ManifestFile"),
        ],
        "ProcessingOutputConfig": {"Outputs": [_output("train"), _output("report")]},
    }
    arguments |= step.pop("Arguments", {})
    files = [{"PropertyFileName": "Dataset", "OutputName": "report", "FilePath": "sub/dataset.json"}]
    return {"Name": name, "Type": "Processing", "Arguments": arguments, "PropertyFiles": files, **step}


def _input(name: str, uri: Json, kind: str) -> Json:
    where = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}", "S3DataType": kind, "S3InputMode": "File"}
    return {"InputName": name, "S3Input": where}


def _output(name: str) -> Json:
    uri = join(get("Parameters.Base"), "scratch", get("Execution.PipelineExecutionId"), name, "", on="/")
    where = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": where}


def register(name: str = "Register", *, group: Json = "birds", **arguments: Json) -> Json:
    container = {"Image": IMAGE, "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
    specification = {"Containers": [container], "SupportedContentTypes": ["image/jpeg"]}
    specification |= {"SupportedResponseMIMETypes": ["image/png"]}
    arguments = {"ModelPackageGroupName": group, "InferenceSpecification": specification, **arguments}
    return {"Name": name, "Type": "RegisterModel", "Arguments": arguments}


def condition(name: str, conditions: list[Json], *, then: list[Json], otherwise: list[Json]) -> Json:
    arguments = {"Conditions": conditions, "IfSteps": then, "ElseSteps": otherwise}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def fail(name: str, message: Json) -> Json:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def definition(*steps: Json, parameters: list[Json] | None = None) -> Json:
    base = {"Name": "Base", "Type": "String"}
    return {"Version": "2020-12-01", "Parameters": [base, *(parameters or [])], "Steps": list(steps)}
