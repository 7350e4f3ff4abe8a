"""docs/aws-transcript.md shows what the commands say.

    WRITE_TRANSCRIPT=1 python -m pytest tests/e2e/test_aws_transcript.py

writes what they say now.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from demo.state import ROOT
from tests.e2e.test_provision import api, birds, person, stack  # noqa: F401  # fixtures
from tests.infra.calls import read_calls
from tests.infra.operator import of_commands, refused
from tests.infra.transcript import PATH, performed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.person import Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
STUDIO, ACCOUNT = "http://127.0.0.1:8080", "http://127.0.0.1:5566"  # as the page has them


def test_the_transcript_is_what_the_commands_say(person: Person, birds: Path, tmp_path: Path):  # noqa: F811
    (tmp_path / "birds").symlink_to(birds)
    environment = {**person.environment, "PYTHONPATH": os.pathsep.join((str(ROOT), person.environment["PYTHONPATH"]))}

    def run(arguments: list[str]) -> str:
        if arguments[0] == "doctor":  # the template asks for it, but the emulation leaves it out
            block_public_access(person)
        given = [each.replace(ACCOUNT, person.account) for each in arguments]
        said = subprocess.run(
            [sys.executable, "-m", "backend", *given],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        ).stdout
        return said.replace(person.account, ACCOUNT).replace(person.studio, STUDIO)

    now = performed(PATH.read_text(encoding="utf-8"), run)
    if "WRITE_TRANSCRIPT" in os.environ:
        PATH.write_text(now, encoding="utf-8")

    assert now == PATH.read_text(encoding="utf-8")
    assert person.token not in now
    assert "a-secret-key" not in now
    assert refused(of_commands(read_calls(person.calls))) == []


def block_public_access(person: Person) -> None:  # noqa: F811
    block = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    (bucket,) = person.client("s3").list_buckets()["Buckets"]
    person.client("s3").put_public_access_block(Bucket=bucket["Name"], PublicAccessBlockConfiguration=block)
