"""The check: its report is written however it ends."""

import io
import json
from pathlib import Path

import pytest

from demo.check import check
from demo.display import Display


class Interrupting(io.StringIO):
    """A person presses Ctrl-C as soon as something is written."""

    def write(self, _text: str) -> int:
        raise KeyboardInterrupt


def test_a_check_that_is_cut_off_leaves_a_report(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, Display(stream=Interrupting()), {})

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] is False
    assert report["seconds_total"] >= 0
