"""`python -m segmenter serve`: the model behind SageMaker's `/ping` and `/invocations`."""

import logging
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from cheroot import wsgi

from segmenter import memory, model_io
from segmenter.application import Application
from segmenter.container import Container
from segmenter.errors import ConfigError
from segmenter.network import best_device
from segmenter.predictor import Predictor

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024
# Threads that read, decode and encode; the network itself runs in one.
THREADS = 4


def run(container: Container, env: Mapping[str, str]) -> None:
    """Load the model, then answer requests until SIGTERM or SIGINT.

    Raises:
        ModelError: there is no usable model; nothing listens then.
        ConfigError: the port is not a number.
    """
    memory.keep_large_buffers()
    address = env.get("SEGMENTER_BIND_HOST") or "0.0.0.0", _port(env)  # noqa: S104  # SageMaker calls from outside the container
    saved = model_io.load(container.model)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="network") as executor:
        application = Application(Predictor(saved.network().to(best_device()), saved.card.side), executor)
        application.warm_up()
        _serve(_server(application, address), address)


def _server(application: Application, address: tuple[str, int]) -> wsgi.Server:
    server = wsgi.Server(address, application, numthreads=THREADS, server_name="segmenter", request_queue_size=64)
    server.max_request_body_size = MAX_BODY_BYTES
    server.nodelay = True  # Nagle's algorithm would add up to 40 ms to an answer
    return server


def _serve(server: wsgi.Server, address: tuple[str, int]) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    server.prepare()
    logger.info("serving on %s:%s", *address)
    try:
        server.serve()
    except KeyboardInterrupt:
        logger.info("stopping")
    finally:
        server.stop()


def _port(env: Mapping[str, str]) -> int:
    text = env.get("SAGEMAKER_BIND_TO_PORT") or "8080"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigError(f"SAGEMAKER_BIND_TO_PORT should be a port from 1 to 65535, not {text!r}")
    return int(text)
