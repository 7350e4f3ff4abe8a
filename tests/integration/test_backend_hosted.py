"""The model class in the server of the package label-studio-ml 1.0.9, instead of the service's own."""

import base64
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from backend.state import ProjectState
from tests.fakes import BIRDS, recorded

# What a person writes for that package. Its server runs fit() in a process of its own, which loads this file again.
PROGRAM = """
import sys

from label_studio_ml.api import init_app

from backend.app import hosted_model
from backend.config import Settings


class Birds(hosted_model(Settings.from_env())):
    '''Bird parts.'''


if __name__ == "__main__":
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, init_app(Birds, model_dir=sys.argv[1]), threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


class Endpoint(BaseHTTPRequestHandler):
    """A SageMaker endpoint that sees a head in the upper half of every image."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        mask = np.zeros((40, 40), np.uint8)
        mask[:20] = 2
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, "PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(buffer.tell()))
        self.end_headers()
        self.wfile.write(buffer.getvalue())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
        """Silent."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hosted(tmp_path: Path, endpoint: str) -> Iterator[httpx.Client]:
    """A client of that server; S3, SageMaker's control plane and Label Studio are away."""
    program = tmp_path / "birds.py"
    program.write_text(PROGRAM, encoding="utf-8")
    live = ProjectState(1, live="birds v1")  # with a model that the service deployed
    content = {"format": 1, "projects": [asdict(live)]}
    (tmp_path / "projects.json").write_text(json.dumps(content), encoding="utf-8")
    away = "http://127.0.0.1:9"
    env = {
        "PATH": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MODEL_DIR": str(tmp_path),
        "LABEL_STUDIO_URL": away,
        "LABEL_STUDIO_API_KEY": "a-secret-token",
        "S3_BUCKET": "birds",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": away,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": endpoint,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(program), str(tmp_path / "jobs")]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield client
        process.terminate()


def eventually(path: Path, field: str) -> Any:
    """The project's *field* in the state file, as soon as it is set."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        states = {state["project"]: state for state in json.loads(path.read_text(encoding="utf-8"))["projects"]}
        if value := states.get(1, {}).get(field):
            return value
        time.sleep(0.1)
    pytest.fail(f"{field} was not set")


def test_setup_predict_and_webhook_work_in_the_packages_own_server(hosted: httpx.Client, tmp_path: Path):
    setup = hosted.post("/setup", json={**recorded("setup_extra_params_null"), "project": "1.179", "schema": BIRDS})
    assert setup.status_code == 200
    assert isinstance(setup.json()["model_version"], str)

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "JPEG")
    photo = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    tasks = [{"id": 1, "project": 1, "data": {"image": photo}}, {"id": 2, "project": 1, "data": {"image": "none"}}]
    answer = hosted.post("/predict", json={**recorded("predict_single_http"), "tasks": tasks, "project": "1.179"})
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert [region["value"]["polygonlabels"] for region in first["result"]] == [["Head"]]
    assert second == {}

    heard = hosted.post("/webhook", json=recorded("webhook_START_TRAINING"))
    assert heard.status_code == 201
    assert "cannot be reached" in eventually(tmp_path / "projects.json", "problem")
