"""`python -m demo run`, `check` and `play`: what `make demo`, `make demo-check` and docker-compose's `demo` start."""

from __future__ import annotations

import importlib
import sys


def main() -> int:
    """Run the command; a half-installed environment is told as a sentence instead of a traceback."""
    try:
        command = importlib.import_module("demo.command")
    except ImportError as error:
        advice = "run `make install` again (`make reinstall` if that does not help)"
        print(f"The installation is not complete ({error}): {advice}.", file=sys.stderr)
        return 1
    return int(command.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
