"""docs/aws-transcript.md as a script: its commands are run again, and what they say now is compared, or put there."""

import re
from collections.abc import Callable
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "aws-transcript.md"
_BLOCK = re.compile(r"```console\n\$ python -m (backend .*)\n((?:.*\n)*?)```")
# What is another one each time: how CloudFormation and Secrets Manager end names, and the API's id.
_CHANCE = (
    (re.compile(r"\b(birds-core-(?:bucket|Secret|[A-Za-z]+Policy|[A-Za-z]+Role)-)[A-Za-z0-9-]+"), r"\1..."),
    (re.compile(r"https://[a-z0-9]+(\.execute-api\.)"), r"https://...\1"),
)
Run = Callable[[list[str]], str]


def performed(text: str, run: Run) -> str:
    """*text* with what each of its commands says when it is run now, in their order, but for what chance has in it."""

    def again(found: re.Match[str]) -> str:
        said = "\n".join(line.rstrip() for line in run(found[1].split()[1:]).strip().splitlines())
        for pattern, instead in _CHANCE:
            said = pattern.sub(instead, said)
        return f"```console\n$ python -m {found[1]}\n{said}\n```"

    return _BLOCK.sub(again, text)
