"""The services' commands and environments: on loopback, talking to one another and to nobody else."""

from pathlib import Path

import pytest

from demo import services
from demo.ports import HOST, PREFERRED
from demo.services import BackendSettings, Plan, isolated_environment
from demo.stack import is_loopback
from demo.state import Folder, Secrets, State


@pytest.fixture(name="plan")
def _plan(tmp_path: Path) -> Plan:
    folder = Folder(tmp_path / "data")
    folder.make()
    return Plan(folder, State(dict(PREFERRED), Secrets()), isolated_environment({"PATH": "/usr/bin"}))


@pytest.mark.parametrize(
    "name",
    [
        "AWS_PROFILE",
        "aws_region",
        "LABEL_STUDIO_PORT",
        "SAGEMAKER_PIPELINE",
        "GUNICORN_CMD_ARGS",
        "PYTHONPATH",
        "MINIMUM_MIOU",
        "MODEL_NAME",
        "PREDICT_SIDE",
        "DJANGO_DB",
        "POSTGRE_HOST",
        "TRAINING_COOLDOWN_SECONDS",
    ],
)
def test_a_persons_own_settings_do_not_reach_the_demo(name: str):
    assert name not in isolated_environment({name: "mine"})


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "OMP_NUM_THREADS", "COVERAGE_PROCESS_START"],
)
def test_what_says_how_the_machine_is_reaches_the_demo(name: str):
    assert isolated_environment({name: "so"})[name] == "so"


def test_files_of_a_persons_own_account_are_not_read():
    environment = isolated_environment({"HOME": "/home/someone"})

    assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"


def test_proxies_are_not_asked_for_this_machine():
    assert HOST in isolated_environment({"HTTP_PROXY": "http://proxy:3128"})["NO_PROXY"]


def test_secrets_are_not_on_command_lines(plan: Plan):
    started = [
        services.seaweedfs(plan),
        services.sagemaker_local(plan),
        services.label_studio(plan),
        services.backend(plan),
    ]
    words = " ".join(word for service in started for word in service.command)
    secrets = plan.state.secrets

    for secret in (secrets.label_studio_password, secrets.label_studio_token, secrets.secret_access_key):
        assert secret not in words


def test_every_port_of_seaweedfs_is_chosen(plan: Plan):
    command = services.seaweedfs(plan).command
    chosen = {str(port) for name, port in PREFERRED.items() if name.startswith("s3")}

    assert chosen <= {word.rpartition("=")[2] for word in command}
    assert f"-ip.bind={HOST}" in command


def test_nobody_is_told_about_label_studio(plan: Plan):
    environment = services.label_studio(plan).environment

    assert environment["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
    assert environment["LABEL_STUDIO_LATEST_VERSION_CHECK"] == "false"
    assert environment["LABEL_STUDIO_SENTRY_DSN"] == environment["LABEL_STUDIO_FRONTEND_SENTRY_DSN"] == ""


def test_another_backend_differs_in_what_it_is_told(plan: Plan):
    settings = BackendSettings("other", "other", port_name="s3", workers=4, pipeline="stress", aws={"AWS_REGION": "x"})

    other = services.backend(plan, settings)

    assert (other.port, other.environment["WORKERS"]) == (PREFERRED["s3"], "4")
    assert (other.environment["SAGEMAKER_PIPELINE"], other.environment["AWS_REGION"]) == ("stress", "x")
    assert other.environment["MODEL_DIR"] != services.backend(plan).environment["MODEL_DIR"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),  # noqa: S104 - the address is what must be noticed
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_only_loopback_counts_as_loopback(host: str, loopback: bool):
    assert is_loopback(host) is loopback
