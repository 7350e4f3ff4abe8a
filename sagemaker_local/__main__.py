"""python -m sagemaker_local --data DIR [--port 9091] [--host 127.0.0.1]."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StartError
from sagemaker_local.first_process import run_below
from sagemaker_local.images import ImageTable, default_images
from sagemaker_local.processes import child_environment
from sagemaker_local.server import Application, make_http_server
from sagemaker_local.service import Service
from sagemaker_local.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3 import S3Client

logger = logging.getLogger("sagemaker_local")


def parse_settings(argv: Sequence[str] | None, environ: Mapping[str, str]) -> Settings:
    """The settings from the command line and the environment."""
    parser = argparse.ArgumentParser(prog="python -m sagemaker_local", description="SageMaker on one machine.")
    parser.add_argument("--data", type=Path, required=True, help="folder for everything it remembers")
    parser.add_argument("--port", type=int, default=9091, help="port to listen on (default 9091)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--jobs", type=int, default=2, help="jobs that run at the same time (default 2)")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds between SIGTERM and SIGKILL (default 10)")
    parser.add_argument(
        "--startup", type=float, default=120.0, help="seconds a model server may take to start (default 120)"
    )
    arguments = parser.parse_args(argv)
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return Settings(
        data=arguments.data.resolve(),
        region=region,
        host=arguments.host,
        port=arguments.port,
        jobs_at_once=max(1, arguments.jobs),
        grace_s=arguments.grace,
        startup_s=arguments.startup,
        child_environment=child_environment(environ, region=region),
    )


def s3_client(region: str) -> S3Client:
    """An S3 client as boto3's own environment variables say."""
    import boto3  # noqa: PLC0415 - half of the start-up time, and only needed when data move
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        max_pool_connections=32,
        retries={"max_attempts": 3, "mode": "standard"},
        connect_timeout=5,
        read_timeout=60,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", region_name=region, config=config)


def main(argv: Sequence[str] | None = None, *, images: ImageTable | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. `images` replaces the table of local algorithms."""
    work = partial(_main, argv, default_images() if images is None else images)
    return run_below(work) if os.getpid() == 1 else work()


def _main(argv: Sequence[str] | None, images: ImageTable) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    settings = parse_settings(argv, os.environ)
    try:
        serve(settings, images=images)
    except StartError as error:
        print(f"sagemaker_local: {error}", file=sys.stderr)
        return 1
    return 0


def serve(settings: Settings, *, images: ImageTable) -> None:
    """Run the service in the foreground; StartError if it cannot start."""
    service = Service(settings, images=images, make_s3_client=lambda: s3_client(settings.region))
    server = make_http_server(Application(service), host=settings.host, port=settings.port)
    try:
        _prepare(server, settings)
        service.start()
        _until_signal(server)
        logger.info("stopping: ending jobs and model servers")
    finally:
        server.stop()
        service.close()


def _prepare(server: Any, settings: Settings) -> None:  # noqa: ANN401 - cheroot has no types
    try:
        server.prepare()
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise StartError(f"cannot listen on {where}: the port is taken or the address is not ours ({error})") from error
    logger.info("listening on http://%s:%s, data in %s", *server.bind_addr[:2], settings.data)


def _until_signal(server: Any) -> None:  # noqa: ANN401 - cheroot has no types
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve, name="http", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.wait(0.5):
        pass


if __name__ == "__main__":
    sys.exit(main())
