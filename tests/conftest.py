"""Which tests run one after the other in one process; ``-n 2 --no-loadscope-reorder`` runs the rest beside them."""

import signal
from pathlib import PurePosixPath

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# Each of the two starts a Label Studio and what belongs to it once; the last file of the other one looks at all calls.
DEPLOYMENT = {"test_provision.py", "test_aws_transcript.py"}

settings.register_profile("soak", max_examples=200_000, deadline=None)  # --hypothesis-profile=soak


class ByServices(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Tests share a process if they share what their fixtures start."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        folder = path.parts[1]
        if folder == "e2e":
            return "deployment" if path.name in DEPLOYMENT else "loop"
        return folder if folder in {"infra", "integration"} else path.name


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByServices:
    """The order of the files stays: the long ones come first."""
    return ByServices(config, log)


def pytest_configure() -> None:
    """A shell without job control starts background jobs with SIGINT ignored, which the programs under test inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
