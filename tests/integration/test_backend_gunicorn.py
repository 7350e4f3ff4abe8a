"""The service as it is run: under gunicorn, with several workers."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from PIL import Image

from backend.state import StateFile
from tests.integration.services import answers, end, free_ports, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "gunicorn", "backend.app:create_app()"]


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Everything that must be set; nothing that it leads to is there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PROMETHEUS_"))}
    return {
        **kept,
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "0" * 40,
        "S3_BUCKET": "birds",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/demo",
        "MODEL_DIR": str(folder),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        **{f"AWS_ENDPOINT_URL_{name}": "http://127.0.0.1:9" for name in ("S3", "SAGEMAKER", "SAGEMAKER_RUNTIME")},
        **settings,
    }


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running service and its address."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (folder / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=environment(folder, {"PORT": str(port), **settings}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_up(url)
        yield process, url
    finally:
        end(process)


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[str]:
    """The address of a running service."""
    with started(folder, **settings) as (_process, url):
        yield url


def wait_until_up(url: str) -> None:
    for _ in range(200):
        try:
            requests.get(f"{url}/livez", timeout=2).raise_for_status()
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the service did not start")


def test_the_metrics_are_those_of_all_workers(tmp_path: Path):
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 3, "total_annotations_number": 2}}
    with running(tmp_path, WORKERS="2") as url:
        for _ in range(20):
            assert requests.post(f"{url}/webhook", json=body, timeout=5).status_code == 201
        answers = [requests.get(f"{url}/metrics", timeout=5).text for _ in range(6)]

    assert all('label_studio_events_total{action="ANNOTATION_CREATED"} 20.0' in each for each in answers)


def test_everything_that_is_wrong_is_told_at_once_and_without_a_traceback(tmp_path: Path):
    wrong = {"WORKERS": "two", "THREADS": "many", "S3_BUCKET": "s3://birds", "LABEL_STUDIO_URL": "localhost"}
    process = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment(tmp_path, {**wrong, "PORT": str(free_ports(1)[0])}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert process.returncode != 0
    assert all(name in process.stderr for name in wrong)
    assert "Traceback" not in process.stderr


PROJECT, VERSION, SIDE = 3, "segmentation v1", 64
INTERFACE = """<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">
<Label value="Beak"/></PolygonLabels></View>"""


def picture(mode: str, colour: int, form: str) -> bytes:
    made = io.BytesIO()
    Image.new(mode, (SIDE, SIDE), colour).save(made, form)
    return made.getvalue()


@contextmanager
def slow_endpoint(asked: threading.Event, answer: threading.Event) -> Iterator[str]:
    """A SageMaker Runtime that sees a beak everywhere, and says so when it is told to."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.set()
            answer.wait(20)
            mask = picture("L", 1, "PNG")
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(mask)))
            self.end_headers()
            self.wfile.write(mask)

        def log_message(self, *_: object) -> None:
            """Nothing to tell."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_prediction_in_flight_is_answered_though_the_service_is_told_to_stop(tmp_path: Path):
    StateFile(tmp_path / "projects.json").update(PROJECT, live=VERSION)
    image = "data:image/jpeg;base64," + base64.b64encode(picture("L", 200, "JPEG")).decode()
    body = {"tasks": [{"id": 1, "data": {"image": image}}], "project": f"{PROJECT}.1", "label_config": INTERFACE}
    asked, answer = threading.Event(), threading.Event()

    with (
        slow_endpoint(asked, answer) as endpoint,
        started(tmp_path, WORKERS="2", AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=endpoint) as (process, url),
        ThreadPoolExecutor(1) as annotator,
    ):
        waiting = annotator.submit(requests.post, f"{url}/predict", json=body, timeout=30)
        assert asked.wait(20)
        process.terminate()
        refused = wait_for(lambda: not answers(f"{url}/livez"))
        answer.set()
        given = waiting.result(30)
        status = process.wait(30)

    assert refused, "no new request is taken meanwhile"
    assert given.status_code == 200
    assert [region["value"]["polygonlabels"] for region in given.json()["results"][0]["result"]] == [["Beak"]]
    assert status == 0
