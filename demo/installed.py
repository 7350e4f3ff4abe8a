"""Whether an environment still has what was installed into it; run by the environment's own Python, from the Makefile.

Pip takes a package for installed as long as its `*.dist-info` folder is there, whatever became of its files. So the
files are looked up here by the lists (RECORD) that pip keeps of them. Only the standard library is used.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHOWN = 5


def packages(site: Path) -> Iterator[Path]:
    """The `*.dist-info` folder of each package in a `site-packages` folder."""
    return site.glob("*.dist-info")


def name(package: Path) -> str:
    """The name of a package by its folder, such as `label_studio` for `label_studio-1.23.2.dist-info`."""
    return package.name.partition("-")[0]


def is_damaged(package: Path) -> bool:
    """Whether a file of the package is missing; compiled files do not count, Python makes them anew."""
    try:
        record = (package / "RECORD").read_text(encoding="utf-8")
    except OSError:
        return True
    site = str(package.parent)
    return any(
        not os.path.exists(os.path.join(site, path))  # noqa: PTH110, PTH118 - tens of thousands, pathlib takes seconds
        for path, *_ in csv.reader(record.splitlines())
        if not path.endswith(".pyc")
    )


def faults(site: Path, wanted: Iterable[str]) -> list[str]:
    """The packages that are damaged, and those of *wanted* that are not there at all; their names in order."""
    found = list(packages(site))
    damaged = {name(package) for package in found if is_damaged(package)}
    return sorted(damaged | (set(wanted) - {name(package) for package in found}))


def forget_damaged(site: Path) -> None:
    """Let pip take the damaged packages for missing, so that it installs them again."""
    for package in list(packages(site)):
        if is_damaged(package):
            shutil.rmtree(package)


def _names_in(stamps: Sequence[str]) -> set[str]:
    """The packages that were there when an install ended; a stamp that is not there names none."""
    return {line for stamp in map(Path, stamps) if stamp.exists() for line in stamp.read_text().split()}


def main(arguments: Sequence[str], *, site: Path | None = None) -> int:
    """`list` prints the packages, `check STAMP...` has status 1 if some are damaged or gone, `forget` the damaged."""
    where = site or Path(sysconfig.get_path("purelib"))
    command, *stamps = arguments
    if command == "list":
        print("\n".join(sorted(name(package) for package in packages(where))))
    elif command == "forget":
        forget_damaged(where)
    elif found := faults(where, _names_in(stamps)):
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        print(f"install: incomplete in {where}: {', '.join(found[:SHOWN])}{more}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
