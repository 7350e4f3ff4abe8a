"""Which actions the programs needed in the end-to-end tests, as they were last recorded: a file that is committed."""

import json
from collections.abc import Mapping
from pathlib import Path

PATH = Path(__file__).parents[1] / "data" / "aws" / "seen_actions.json"


def read_seen() -> dict[str, list[str]]:
    """Actions by policy."""
    found: dict[str, list[str]] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def add_seen(actions: Mapping[str, list[str]]) -> None:
    """Keep what was recorded too: not each run comes to each call."""
    kept = read_seen()
    together = {policy: sorted({*kept.get(policy, []), *found}) for policy, found in actions.items()}
    PATH.write_text(json.dumps({**kept, **together}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
