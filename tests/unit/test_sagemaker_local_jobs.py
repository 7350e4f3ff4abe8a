"""Jobs' folders, archives, images and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from sagemaker_local import guard
from sagemaker_local.errors import JobError
from sagemaker_local.images import Metric, default_images, find_algorithm, local_command, repository
from sagemaker_local.jobs import spot_problem
from sagemaker_local.processes import Process, child_environment, python_path
from sagemaker_local.transfer import S3Uri, pack, unpack
from sagemaker_local.workspace import failure_reason, final_metrics, host_path


@pytest.mark.parametrize(
    ("image", "name"),
    [
        pytest.param("811284229777.dkr.ecr.us-east-1.amazonaws.com/semantic-segmentation:1", "semantic-segmentation"),
        pytest.param("1.dkr.ecr.eu-west-1.amazonaws.com/team/segmenter@sha256:ab", "segmenter"),
        pytest.param("localhost:5000/segmenter", "segmenter"),
        pytest.param("segmenter", "segmenter"),
    ],
)
def test_an_images_repository_is_what_stands_before_its_tag(image: str, name: str) -> None:
    assert repository(image) == name
    assert find_algorithm(default_images(), image).train[1:] == ("-m", "segmenter", "train")


SPOT = {"EnableManagedSpotTraining": True}


@pytest.mark.parametrize(
    ("spot", "limit", "problem"),
    [
        pytest.param({}, {"MaxRuntimeInSeconds": 60}, "", id="on demand"),
        pytest.param(SPOT, {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}, "", id="spot"),
        pytest.param({}, {"MaxWaitTimeInSeconds": 60}, "EnableManagedSpotTraining is not set", id="a wait alone"),
        pytest.param(SPOT, {"MaxRuntimeInSeconds": 60}, "wants MaxWaitTimeInSeconds", id="no wait"),
        pytest.param(
            SPOT, {"MaxWaitTimeInSeconds": 60}, "(60) must be equal to or greater than", id="a day is the default"
        ),
        pytest.param(
            SPOT,
            {"MaxRuntimeInSeconds": 61, "MaxWaitTimeInSeconds": 60},
            "greater than MaxRuntimeInSeconds (61)",
            id="short",
        ),
    ],
)
def test_spot_training_is_taken_and_refused_as_by_sagemaker(
    spot: dict[str, bool], limit: dict[str, int], problem: str
) -> None:
    found = spot_problem({**spot, "StoppingCondition": limit})

    assert problem in found
    assert bool(found) == bool(problem)


def test_an_unknown_image_is_named() -> None:
    with pytest.raises(JobError, match="'a/xgboost:1'"):
        find_algorithm(default_images(), "a/xgboost:1")


def test_a_containers_command_is_made_local() -> None:
    command = local_command(["python3", "/opt/ml/processing/input/code/x.py", "--in=/opt/ml", "/opt/mlx"], Path("/job"))

    assert command == [sys.executable, "/job/processing/input/code/x.py", "--in=/opt/ml", "/opt/mlx"]


@pytest.mark.parametrize("path", ["/opt/ml/../../etc", "/etc", "relative", "/opt/mlx/a"])
def test_a_local_path_stays_below_opt_ml(tmp_path: Path, path: str) -> None:
    assert host_path("/opt/ml/processing/in", tmp_path) == tmp_path / "processing/in"
    with pytest.raises(JobError, match="must lie below /opt/ml/"):
        host_path(path, tmp_path)


def _model(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "b.bin").write_bytes(b"2" * 5000)
    (folder / "sub/a.json").write_text("{}")
    return folder


def test_an_archive_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    pack(_model(tmp_path / "one"), tmp_path / "one.tar.gz")
    other = _model(tmp_path / "two")
    os.utime(other / "b.bin", (0, 0))
    (other / "b.bin").chmod(0o600)
    pack(other, tmp_path / "two.tar.gz")

    unpack(tmp_path / "one.tar.gz", tmp_path / "out")

    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert (tmp_path / "out/sub/a.json").read_text() == "{}"
    assert (tmp_path / "out/b.bin").stat().st_size == 5000


def test_links_are_not_packed(tmp_path: Path) -> None:
    folder = _model(tmp_path / "one")
    (folder / "link").symlink_to("/etc/passwd")

    with pytest.raises(JobError, match="symbolic link: link"):
        pack(folder, tmp_path / "x.tar.gz")


def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil"))

    with pytest.raises(JobError, match="cannot be unpacked"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "out")
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    with pytest.raises(JobError, match="cannot be unpacked"):
        unpack(tmp_path / "broken.tar.gz", tmp_path / "out")


@pytest.mark.parametrize(
    ("uri", "name", "below"),
    [
        pytest.param("s3://b/k", "x", "s3://b/k/x"),
        pytest.param("s3://b/k/", "x", "s3://b/k/x"),
        pytest.param("s3://b", "x", "s3://b/x"),
    ],
)
def test_an_object_in_an_s3_folder_has_one_slash_before_it(uri: str, name: str, below: str) -> None:
    assert str(S3Uri.parse(uri).below(name)) == below


@pytest.mark.parametrize("uri", ["http://b/k", "s3://", "", "b/k"])
def test_what_is_no_s3_uri_is_named(uri: str) -> None:
    with pytest.raises(JobError, match="is not an S3 URI"):
        S3Uri.parse(uri)


def test_the_last_value_of_a_metric_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("epoch 1 mIOU=0.1 x\nother\nepoch 2 mIOU=0.62\nmIOU=.\n")
    metrics = [Metric(name="mIOU", pattern="mIOU=([0-9.]+)"), Metric(name="absent", pattern="absent=(.*)")]

    assert final_metrics(log, metrics) == {"mIOU": 0.62}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param({"output/failure": "no images"}, "AlgorithmError: no images, exit code: 3", id="failure file"),
        pytest.param({"output/message": "bad data"}, "AlgorithmError: bad data, exit code: 3", id="message file"),
        pytest.param({"log": "a\nValueError: b\n\n"}, "AlgorithmError: ValueError: b, exit code: 3", id="last line"),
        pytest.param({}, "AlgorithmError: See job logs for more information, exit code: 3", id="silent"),
    ],
)
def test_a_failure_says_what_the_program_said(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    (tmp_path / "output").mkdir()
    for name, content in {"log": "", **files}.items():
        (tmp_path / name).write_text(content)

    assert failure_reason(tmp_path, tmp_path / "log", 3) == reason


def test_a_job_gets_the_way_to_s3_and_little_else() -> None:
    environ = {"PATH": "/bin", "AWS_ENDPOINT_URL_S3": "http://s3", "DATABASE_PASSWORD": "x", "OMP_NUM_THREADS": "1"}

    environment = child_environment(environ, region="eu-west-1")

    assert "DATABASE_PASSWORD" not in environment
    assert environment["AWS_ENDPOINT_URL_S3"] == "http://s3"
    assert (environment["AWS_REGION"], environment["OMP_NUM_THREADS"]) == ("eu-west-1", "1")
    assert python_path("/a", {"PYTHONPATH": "/b"}) == {"PYTHONPATH": f"/a{os.pathsep}/b"}
    assert python_path("", {}) == {}


def _start(tmp_path: Path, code: str, grace_s: float = 5) -> Process:
    command = [sys.executable, "-I", "-S", "-c", code]
    return Process.start(command, folder=tmp_path, log=tmp_path / "log", environment=dict(os.environ), grace_s=grace_s)


def _exit_code(process: Process) -> int:
    deadline = time.monotonic() + 20
    while (code := process.exit_code()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        pytest.param("print('hi')", 0, id="well"),
        pytest.param("raise SystemExit(7)", 7, id="own code"),
        pytest.param("import os; os.kill(os.getpid(), 9)", 137, id="signal"),
    ],
)
def test_a_process_ends_with_its_commands_exit_code(tmp_path: Path, code: str, exit_code: int) -> None:
    assert _exit_code(_start(tmp_path, code)) == exit_code


def test_a_command_that_is_not_there_is_in_the_log(tmp_path: Path) -> None:
    process = Process.start(["/no/such"], folder=tmp_path, log=tmp_path / "log", environment={}, grace_s=1)

    assert _exit_code(process) == 127
    assert "cannot run /no/such" in (tmp_path / "log").read_text()


def test_ending_is_gentle_first(tmp_path: Path) -> None:
    process = _start(
        tmp_path,
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print(1, flush=True); time.sleep(60)",
    )
    _wait_for_output(tmp_path)

    process.end()

    assert process.exit_code() == 0


def test_ending_is_certain(tmp_path: Path) -> None:
    process = _start(
        tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)", 0.3
    )
    _wait_for_output(tmp_path)

    process.end()

    assert process.exit_code() == 128 + signal.SIGKILL


def test_a_command_ends_when_its_service_is_gone(tmp_path: Path) -> None:
    pipe, service = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        code = "print(1, flush=True); import time; time.sleep(60)"
        command = [sys.executable, guard.__file__, "1", sys.executable, "-c", code]
        guarded = subprocess.Popen(command, stdin=pipe, stdout=log, start_new_session=True)
    os.close(pipe)
    _wait_for_output(tmp_path)

    os.close(service)

    assert guarded.wait(10) == 128 + signal.SIGTERM


def _wait_for_output(tmp_path: Path) -> None:
    deadline = time.monotonic() + 20
    while not (tmp_path / "log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
