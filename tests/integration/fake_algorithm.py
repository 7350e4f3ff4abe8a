"""A container's two programs, small: they do what the hyperparameters or the request body tell them.

Training: `sleep`, `mIOU`, `fail` (text for output/failure), `die_once` (a marker file: killed unless it is there),
`ignore_term`. Serving: the body `status 503`, `sleep 2`, `die`, else an echo of what the model is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def train() -> int:
    parameters = json.loads((BASE / "input/config/hyperparameters.json").read_text())
    if "ignore_term" in parameters:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"started with {json.dumps(parameters, sort_keys=True)}", flush=True)
    marker = Path(parameters.get("die_once", BASE))
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(parameters.get("sleep", "0")))
    if "fail" in parameters:
        (BASE / "output/failure").write_text(parameters["fail"])
        return 1
    print("validation:mIOU=0.1\nvalidation:mIOU=" + parameters.get("mIOU", "0.75"), flush=True)
    seen = sorted(path.relative_to(BASE).as_posix() for path in (BASE / "input/data").rglob("*") if path.is_file())
    model = {"name": parameters.get("name", "model"), "parameters": parameters, "inputs": seen}
    (BASE / "model/model.json").write_text(json.dumps(model))
    return 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        word, _, value = body[:64].decode(errors="replace").partition(" ")
        if word == "die":
            os._exit(3)
        if word == "sleep":
            time.sleep(float(value))
        status = int(value) if word == "status" else 200
        model = json.loads((BASE / "model/model.json").read_text())
        said = {"model": model["name"], "bytes": len(body), "type": self.headers["Content-Type"]}
        said |= {"accept": self.headers["Accept"], "env": os.environ.get("GREETING"), "pid": os.getpid()}
        self._answer(status, json.dumps(said).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> int:
    if json.loads((BASE / "model/model.json").read_text())["parameters"].get("broken"):
        print("this model does not serve", flush=True)
        return 1
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(train() if sys.argv[1] == "train" else serve())
