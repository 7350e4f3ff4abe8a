"""A job's folder: what a SageMaker container finds under /opt/ml."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import JobError
from sagemaker_local.transfer import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sagemaker_local.images import Metric
    from sagemaker_local.transfer import Transfer

_REASON_LENGTH = 1024


def host_path(container_path: str, base: Path) -> Path:
    """`/opt/ml/...` below the job's folder; JobError for any other place."""
    relative = container_path.removeprefix("/opt/ml").lstrip("/")
    path = (base / relative).resolve()
    if not container_path.startswith("/opt/ml/") or not path.is_relative_to(base.resolve()):
        raise JobError(f"ClientError: LocalPath must lie below /opt/ml/, not {container_path!r}")
    return path


def write_training_config(base: Path, request: dict[str, Any]) -> None:
    """The three files of input/config and the folders that a training container expects."""
    for folder in ("input/config", "input/data", "model", "output/data", "tmp"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    channels = {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            "ContentType": channel.get("ContentType", ""),
        }
        for channel in request.get("InputDataConfig", [])
    }
    _write_json(base / "input/config/hyperparameters.json", request.get("HyperParameters", {}))
    _write_json(base / "input/config/inputdataconfig.json", channels)
    _write_json(base / "input/config/resourceconfig.json", _resources(request.get("ResourceConfig", {})))


def write_processing_config(base: Path, request: dict[str, Any]) -> None:
    """config/*.json of a processing container, and the folders of its outputs."""
    for folder in ("config", "output", "tmp"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        host_path(output["S3Output"]["LocalPath"], base).mkdir(parents=True, exist_ok=True)
    _write_json(base / "config/processingjobconfig.json", request)
    cluster = request["ProcessingResources"]["ClusterConfig"]
    _write_json(base / "config/resourceconfig.json", _resources(cluster))


def _resources(cluster: dict[str, Any]) -> dict[str, Any]:
    instance = cluster.get("InstanceType", "local")
    if cluster.get("InstanceCount", 1) != 1:
        raise JobError(f"ClientError: sagemaker_local runs one instance per job, not {cluster['InstanceCount']}")
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": ["algo-1"]}
    return {
        "current_host": "algo-1",
        "current_instance_type": instance,
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def _write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    path.write_text(json.dumps(value), encoding="utf-8")


def download_input(source: dict[str, Any], folder: Path, transfer: Transfer, *, stopped: Callable[[], bool]) -> None:
    """One input (an S3DataSource or S3Input) into its folder; JobError if it is of a kind not known here."""
    kind, uri = source.get("S3DataType"), S3Uri.parse(source["S3Uri"])
    if source.get("S3InputMode", "File") != "File":
        raise JobError(f"ClientError: sagemaker_local does not know S3InputMode {source['S3InputMode']!r}")
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "S3Prefix":
        transfer.download_prefix(uri, folder, stopped=stopped)
    elif kind == "ManifestFile":
        transfer.download_manifest(uri, folder, stopped=stopped)
    else:
        raise JobError(f"ClientError: sagemaker_local does not know S3DataType {kind!r}")


def failure_reason(base: Path, log: Path, code: int) -> str:
    """What a failed program says of itself (output/failure, output/message), else the last line of its log."""
    texts = (_read_text(base / "output" / name).strip() for name in ("failure", "message"))
    said = next((text for text in texts if text), "") or _last_line(log) or "See job logs for more information"
    end = f", exit code: {code}"
    return f"AlgorithmError: {said}"[: _REASON_LENGTH - len(end)] + end


def _read_text(path: Path) -> str:
    return path.read_bytes()[:4096].decode(errors="replace") if path.is_file() else ""


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def final_metrics(log: Path, metrics: Iterable[Metric]) -> dict[str, float]:
    """The last value of each metric in the log; a metric that never appeared is left out."""
    patterns = {metric.name: re.compile(metric.pattern) for metric in metrics}
    values: dict[str, float] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            for name, pattern in patterns.items():
                match = pattern.search(line)
                value = _number(match[1]) if match and match.groups() else None
                if value is not None:
                    values[name] = value
    return values


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
