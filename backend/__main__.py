"""``python -m backend``: what backend/cli.py offers."""

import sys

try:
    from backend.cli import main

    sys.exit(main())
except KeyboardInterrupt:  # while the modules were loaded
    sys.exit(130)
