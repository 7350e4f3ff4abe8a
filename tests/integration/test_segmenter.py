"""The two programs as SageMaker starts them: a job's folders in, a model out, the model behind HTTP."""

import io
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from segmenter import train
from segmenter.container import Container
from segmenter.errors import DataError
from segmenter.model_io import CARD, WEIGHTS
from tests.segmenter_job import SIZE_WH, Job, draw_image, draw_mask

TIMEOUT_S = 60

if TYPE_CHECKING:
    import subprocess


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and log."""
    log, _ = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, log


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, str]:
    """A job that has run, and its log."""
    job = Job.make(tmp_path_factory.mktemp("trained"), epochs="4", max_seconds="8", surprise="1")
    code, log = finish(job.start("train"))
    assert code == 0, log
    return job, log


def test_training_leaves_a_model_and_its_evaluation(trained: tuple[Job, str]):
    job, _ = trained
    assert {path.name for path in job.model.iterdir()} == {CARD, WEIGHTS, "evaluation.json"}
    evaluation = json.loads((job.model / "evaluation.json").read_text())
    assert set(evaluation["images"]) == {"other 0", "other 1"}
    assert evaluation["data"]["train"]["images"] == 4
    assert np.array(evaluation["confusion"]).sum() == 2 * SIZE_WH[0] * SIZE_WH[1]
    assert job.failure == ""


def test_a_few_seconds_are_enough_to_tell_red_squares_from_blue_ones(trained: tuple[Job, str]):
    assert json.loads((trained[0].model / "evaluation.json").read_text())["mean_iou"] > 0.6


def test_the_log_holds_the_metrics_that_sagemaker_reads(trained: tuple[Job, str]):
    job, log = trained
    metrics = dict(re.findall(r"(validation:\w+)=([0-9.]+)", log))
    card = json.loads((job.model / CARD).read_text())
    for name in ("validation:mIOU", "validation:pixel_accuracy"):
        assert float(metrics[name]) == pytest.approx(card["metrics"][name], abs=1e-4)


def test_the_log_tells_a_person_what_is_going_on(trained: tuple[Job, str]):
    _, log = trained
    for line in (
        "network=light",
        "hyperparameter surprise is unknown",
        "train: 4 images, 0 skipped",
        "training starts from: ImageNet",
        "done in",
    ):
        assert line in log
    assert "Traceback" not in log


def test_an_earlier_model_shortens_the_way(trained: tuple[Job, str], tmp_path: Path):
    job = Job.make(tmp_path, epochs="1")
    for name in (CARD, WEIGHTS):
        (job.channel("model") / name).write_bytes((trained[0].model / name).read_bytes())
    train.run(Container(job.base), {}, started=time.monotonic())
    evaluation = json.loads((job.model / "evaluation.json").read_text())
    assert (evaluation["start"], evaluation["steps"]["head"]) == ("earlier model", 0)
    assert evaluation["mean_iou"] > 0.6


def test_one_seed_gives_one_model(tmp_path: Path):
    models = []
    for name in ("first", "second"):
        job = Job.make(tmp_path / name, epochs="1", max_seconds="60")
        train.run(Container(job.base), {}, started=time.monotonic())
        models.append((job.model / WEIGHTS).read_bytes())
    assert models[0] == models[1]


def test_one_image_and_one_to_validate_are_enough(tmp_path: Path):
    job = Job.make(tmp_path, train=1, validation=1, epochs="1")
    train.run(Container(job.base), {}, started=time.monotonic())
    assert (job.model / WEIGHTS).exists()


def test_a_class_that_is_never_seen_is_said_and_not_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    job = Job.make(tmp_path, num_classes="5", epochs="1")
    with caplog.at_level("INFO"):
        train.run(Container(job.base), {}, started=time.monotonic())
    assert "no pixel of class 3, 4" in caplog.text
    assert json.loads((job.model / "evaluation.json").read_text())["true_class_pixels"][3:] == [0, 0]


def test_a_job_that_cannot_run_says_why_in_one_sentence(tmp_path: Path):
    job = Job.make(tmp_path, num_classes="1")
    code, log = finish(job.start("train"))
    assert code == 1
    assert job.failure == "hyperparameters refused: num_classes='1': wanted a whole number from 2 to 254"
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("train_images", "validation_images", "reason"),
    [
        pytest.param(0, 1, "channel train holds no usable pair", id="empty channel"),
        pytest.param(1, 0, "channel validation holds no usable pair", id="no validation image"),
    ],
)
def test_a_job_without_images_is_refused(tmp_path: Path, train_images: int, validation_images: int, reason: str):
    job = Job.make(tmp_path, train=train_images, validation=validation_images)
    with pytest.raises(DataError, match=reason):
        train.run(Container(job.base), {}, started=time.monotonic())


def test_without_a_job_the_program_says_what_is_missing(tmp_path: Path):
    code, _ = finish(Job(tmp_path).start("train"))
    assert code == 1
    assert "hyperparameters.json should hold the hyperparameters" in Job(tmp_path).failure


def test_sigterm_saves_what_was_learned(tmp_path: Path):
    job = Job.make(tmp_path, epochs="10000", max_seconds="100")
    process = job.start("train")
    assert process.stdout is not None
    for line in process.stdout:
        if "decoder trained" in line:
            process.send_signal(signal.SIGTERM)
            break
    code, log = finish(process)
    assert code == 0, log
    assert (job.model / WEIGHTS).exists()
    assert "validation:mIOU=" in log


@pytest.fixture(scope="module")
def endpoint(trained: tuple[Job, str]) -> Iterator[str]:
    """The address of the trained model's server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {"SAGEMAKER_BIND_TO_PORT": str(port), "SEGMENTER_BIND_HOST": "127.0.0.1"}
    process = trained[0].start("serve", **env)
    address = f"http://127.0.0.1:{port}"
    wait_for(address, process)
    yield address
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


def wait_for(address: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{address}/ping", timeout=1).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the server did not come up: {finish(process)[1]}")


def invoke(address: str, body: bytes, accept: str = "image/png") -> requests.Response:
    headers = {"Content-Type": "image/jpeg", "Accept": accept}
    return requests.post(f"{address}/invocations", data=body, headers=headers, timeout=TIMEOUT_S)


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    draw_image(draw_mask(seed), seed).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_the_server_finds_the_shapes_in_a_new_image(endpoint: str):
    answer = invoke(endpoint, jpeg(500))
    predicted = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert answer.headers["Content-Type"] == "image/png"
    assert float((predicted == draw_mask(500)).mean()) > 0.8


def test_requests_at_the_same_time_are_all_answered(endpoint: str):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: invoke(endpoint, jpeg(seed % 3), "application/x-protobuf"), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 3


def test_bad_bytes_are_refused_and_the_server_goes_on(endpoint: str):
    refused = invoke(endpoint, b"no picture")
    assert refused.status_code == 400
    assert "not an image that can be read" in refused.text
    assert invoke(endpoint, jpeg(1)).status_code == 200


def test_a_server_without_a_model_says_so_and_ends(tmp_path: Path):
    code, log = finish(Job(tmp_path).start("serve"))
    assert code == 1
    assert "should hold model.json and weights.safetensors" in log


def test_wrong_arguments_are_answered_with_the_usage(tmp_path: Path):
    code, log = finish(Job(tmp_path).start("dance"))
    assert (code, log) == (2, "usage: python -m segmenter train|serve\n")
