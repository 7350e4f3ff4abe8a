"""docs/aws.md: its commands are those that there are, its templates' parameters too, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from backend import cli
from tests.infra import templates

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "aws.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^python -m backend (.+)$", CODE, re.MULTILINE)


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_the_options_that_the_page_gives_it(line: str, capsys: pytest.CaptureFixture[str]):
    command, *given = shlex.split(line)
    known = set(re.findall(r"--[a-z-]+", help_of(command, capsys)))
    assert {each for each in given if each.startswith("--")} <= known


def test_every_option_that_the_text_names_is_one_of_a_command(capsys: pytest.CaptureFixture[str]):
    known = set()
    for command in ("provision", "destroy", "doctor", "connect", "status"):
        known |= set(re.findall(r"--[a-z-]+", help_of(command, capsys)))
    text = PAGE.replace(CODE, "")
    named = {option for span in re.findall(r"`([^`\n]+)`", text) for option in re.findall(r"(?<!\S)--[a-z-]+", span)}
    of_the_aws_program = {"--endpoint-name", "--cluster", "--service", "--force-new-deployment"}
    assert named - known == of_the_aws_program


def test_the_container_is_given_all_parameters_that_have_no_default_and_no_others_than_it_has():
    (block,) = re.findall(r"--template-file infra/container\.yaml(.*?)\nURL=", CODE, re.DOTALL)
    slots = templates.load("container")["Parameters"]
    given = set(re.findall(r"\b([A-Z][A-Za-z0-9]+)=", block))
    assert {name for name, slot in slots.items() if "Default" not in slot} <= given <= set(slots)


def test_what_the_container_is_given_of_the_core_stack_are_its_outputs():
    asked = set(re.findall(r"\$\(core (\w+)\)", CODE))
    assert asked
    assert asked <= set(templates.load("core")["Outputs"])


@pytest.mark.parametrize("page", sorted(each.name for each in DOCS.glob("*.md")))
def test_every_link_leads_to_a_file_or_a_heading(page: str):
    text = (DOCS / page).read_text(encoding="utf-8")
    links = [each for each in re.findall(r"\]\(([^)]+)\)", text) if "://" not in each]
    assert [each for each in links if not leads_somewhere(page, each)] == []


def leads_somewhere(page: str, link: str) -> bool:
    name, _, heading = link.partition("#")
    path = DOCS / (name or page)
    if not path.exists():
        return False
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if heading else [""]
    # As GitHub makes links of headings: without punctuation.
    return heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
