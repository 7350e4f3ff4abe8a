"""Which tests must run one after the other; everything else may run at the same time (``-n 2 --dist loadgroup``)."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# A Label Studio and what belongs to it are started once for each of these, and the first ends with a look at all calls.
DEPLOYMENT = {"test_provision.py", "test_aws_transcript.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one group share a process, and so what their fixtures start."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item.path)))


def _group(path: Path) -> str:
    folder = path.relative_to(ROOT).parts[0]
    if folder == "e2e":
        return "deployment" if path.name in DEPLOYMENT else "loop"
    return folder if folder in {"infra", "integration"} else path.stem
