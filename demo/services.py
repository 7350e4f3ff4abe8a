"""The demo's four services: commands, environments and health addresses."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demo.limits import TRAIN_AT
from demo.ports import HOST
from demo.process import Service
from demo.state import ROOT, Folder, State

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "us-east-1"
ROLE_ARN = "arn:aws:iam::123456789012:role/demo"
BUCKET = "birds"
S3_PREFIX = "sagemaker"
"""Snapshots, runs and models; beside the images, which lie under `images/`."""

PIPELINE = "label-studio-segmentation"
LOGIN = "demo@example.com"
BACKEND_USER = "label-studio"
COOLDOWN_S = 5
"""What fails here was mostly cut off by a Ctrl-C, and its machines cost nothing: it is tried again at once."""

OF_THE_MACHINE = {
    *("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TMPDIR", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),  # for the install of Chromium, not for this machine
}
OF_THE_MACHINE_BEGINNINGS = ("LC_", "OMP_", "COVERAGE_")
"""What says how this machine is, in full and by its beginning. No more reaches the demo: neither a person's AWS account
nor their own settings of the backend, of Label Studio or of gunicorn, which have plain names such as MODEL_NAME."""


def isolated_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of *environment* says how this machine is, no AWS account, and no proxies for this machine."""
    kept = {
        key: value
        for key, value in environment.items()
        if key in OF_THE_MACHINE or key.startswith(OF_THE_MACHINE_BEGINNINGS)
    }
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """What the services need to know of one another; *environment* is the isolated one they all start from."""

    folder: Folder
    state: State
    environment: Mapping[str, str]

    def url(self, name: str) -> str:
        """The address of a service by its name."""
        return f"http://{HOST}:{self.state.ports[name]}"

    def aws_environment(self) -> dict[str, str]:
        """boto3's own variables, pointing at the local stack."""
        return {
            **self.environment,
            "AWS_ENDPOINT_URL_S3": self.url("s3"),
            "AWS_ENDPOINT_URL_SAGEMAKER": self.url("sagemaker_local"),
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.url("sagemaker_local"),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.state.secrets.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.state.secrets.secret_access_key,
        }


def seaweedfs(plan: Plan) -> Service:
    """S3: `weed mini` with every port chosen by us and bound to loopback, and one identity."""
    ports = plan.state.ports
    data = plan.folder.data("s3")
    flags = {
        "dir": data,
        "ip": HOST,
        "ip.bind": HOST,
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3_grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.port.https": 0,
        "s3.config": _s3_identities(plan),
        "s3.allowDeleteBucketNotEmpty": "false",
        "s3.autoCreateBucket": "false",
        "master.port": ports["s3_master"],
        "master.port.grpc": ports["s3_master_grpc"],
        "master.telemetry": "false",
        "volume.port": ports["s3_volume"],
        "volume.port.grpc": ports["s3_volume_grpc"],
        "filer.port": ports["s3_filer"],
        "filer.port.grpc": ports["s3_filer_grpc"],
        "admin.ui": "false",
        "admin.port": ports["s3_admin"],
        "admin.port.grpc": ports["s3_admin_grpc"],
        "webdav": "false",
    }
    command = [str(program("weed")), "-logtostderr=true", "mini", *(f"-{key}={value}" for key, value in flags.items())]
    environment = {**plan.environment, "HOME": str(data)}
    return Service("s3", "SeaweedFS (S3)", command, environment, ports["s3"], "/healthz", 60)


def _s3_identities(plan: Plan) -> Path:
    """SeaweedFS's own file of who may do what, readable by its owner only."""
    secrets = plan.state.secrets
    credentials = [{"accessKey": secrets.access_key_id, "secretKey": secrets.secret_access_key}]
    identity = {"name": "demo", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    path = plan.folder.path / "s3.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"identities": [identity]}))
    return path


def sagemaker_local(plan: Plan) -> Service:
    """SageMaker on this machine."""
    port = plan.state.ports["sagemaker_local"]
    data = plan.folder.data("sagemaker")
    command = [sys.executable, "-m", "sagemaker_local", "--data", str(data), "--host", HOST, "--port", str(port)]
    return Service("sagemaker_local", "sagemaker_local", command, plan.aws_environment(), port, "/livez", 60)


def label_studio(plan: Plan) -> Service:
    """Label Studio, with nobody told about it: no analytics, no version check, no error reports."""
    port = plan.state.ports["label_studio"]
    secrets = plan.state.secrets
    environment = {
        **plan.environment,
        "LABEL_STUDIO_BASE_DATA_DIR": str(plan.folder.data("label-studio")),
        "LABEL_STUDIO_HOST": plan.url("label_studio"),
        "LABEL_STUDIO_USERNAME": LOGIN,
        "LABEL_STUDIO_PASSWORD": secrets.label_studio_password,
        "LABEL_STUDIO_USER_TOKEN": secrets.label_studio_token,
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        # Label Studio refuses loopback addresses unless told otherwise; link-local ones (cloud metadata) stay refused.
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16",
    }
    command = [str(label_studio_program()), "start", "--no-browser", "--enable-legacy-api-token"]
    command += ["--internal-host", HOST, "--port", str(port), "--log-level", "WARNING"]
    return Service("label_studio", "Label Studio", command, environment, port, "/health", 240)


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Where the check's other backends differ from the demo's."""

    name: str = "backend"
    title: str = "backend"
    port_name: str = "backend"
    workers: int = 2
    pipeline: str = PIPELINE
    aws: Mapping[str, str] | None = None


def backend(plan: Plan, settings: BackendSettings | None = None) -> Service:
    """The ML backend under gunicorn."""
    chosen = settings or BackendSettings()
    port = plan.state.ports[chosen.port_name]
    environment = {
        **plan.aws_environment(),
        "PORT": str(port),
        "WORKERS": str(chosen.workers),
        "THREADS": "8",
        "LOG_LEVEL": "INFO",
        "MODEL_DIR": str(plan.folder.data(chosen.name)),
        "BASIC_AUTH_USER": BACKEND_USER,
        "BASIC_AUTH_PASS": plan.state.secrets.backend_password,
        "LABEL_STUDIO_URL": plan.url("label_studio"),
        "LABEL_STUDIO_API_KEY": plan.state.secrets.label_studio_token,
        "START_TRAINING_EACH_N_UPDATES": str(TRAIN_AT),
        "TRAINING_COOLDOWN_SECONDS": str(COOLDOWN_S),
        "S3_BUCKET": BUCKET,
        "S3_PREFIX": S3_PREFIX,
        "SAGEMAKER_PIPELINE": chosen.pipeline,
        "SAGEMAKER_ROLE_ARN": ROLE_ARN,
        "POLL_SECONDS": "2",
        **(chosen.aws or {}),
    }
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "--bind", f"{HOST}:{port}"]
    command.append("backend.app:create_app()")
    return Service(chosen.name, chosen.title, command, environment, port, "/livez", 60)


def program(name: str) -> Path:
    """A program that was installed beside the Python that runs us."""
    return Path(sys.executable).parent / name


def label_studio_program() -> Path:
    """Label Studio's program, in its own environment."""
    return ROOT / ".venv-label-studio" / "bin" / "label-studio"
