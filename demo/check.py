"""`make demo-check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from demo.display import Display


def check(data: Path, display: Display, environment: Mapping[str, str]) -> int:
    """Not there yet."""
    raise NotImplementedError
