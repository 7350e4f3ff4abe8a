"""`python -m segmenter train | serve`: the two programs that SageMaker starts in the container."""

import logging
import os
import sys
import time

from segmenter.container import Container
from segmenter.errors import SegmenterError

logger = logging.getLogger("segmenter")

USAGE = "usage: python -m segmenter train|serve"


def main(arguments: list[str]) -> int:
    """Run one of the two programs; the exit code is 0, or 1 after a failure that was said in a sentence."""
    started = time.monotonic()
    if arguments not in (["train"], ["serve"]):
        print(USAGE, file=sys.stderr)
        return 2
    _prepare_process()
    container = Container.from_env(os.environ)
    try:
        _run(arguments[0], container, started=started)
    except (SegmenterError, OSError) as error:
        return _fail(container, str(error))
    except Exception as error:
        logger.exception("the program failed in a way it does not know")
        return _fail(container, f"{type(error).__name__}: {error}")
    return 0


def _run(program: str, container: Container, *, started: float) -> None:
    # Imported here because torch takes two seconds and must find OpenMP's settings in the environment.
    if program == "train":
        from segmenter import train  # noqa: PLC0415

        train.run(container, dict(os.environ), started=started)
    else:
        from segmenter import serve  # noqa: PLC0415

        serve.run(container, os.environ)


def _prepare_process() -> None:
    """Set up the log, and let idle OpenMP threads sleep: spinning costs threefold CPU on a busy machine."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s", force=True)


def _fail(container: Container, reason: str) -> int:
    logger.error("failed: %s", reason)
    container.write_failure(reason)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
