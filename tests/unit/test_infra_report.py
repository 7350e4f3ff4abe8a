"""The page on who may do what is what the templates say, and shows no fault."""

import re

from tests.infra import operator
from tests.infra.deployed import deployed
from tests.infra.forbidden import FORBIDDEN
from tests.infra.policy_report import PATH, text

PAGE = PATH.read_text(encoding="utf-8")


def test_the_page_is_what_the_command_writes():
    """`python -m tests.infra.policy_report` writes it."""
    assert text(deployed()) == PAGE


def test_nothing_is_refused_nothing_granted_for_nothing_and_every_forbidden_call_is_denied():
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \| (.+?) \| (\d*) \| (\d*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 7
    assert {(refused, idle) for _, _, refused, idle, _, _ in rows} == {("0", "none")}
    assert {tried == denied for *_, tried, denied in rows} == {True}


def test_thirty_calls_are_forbidden_to_the_backend():
    assert len(FORBIDDEN["backend"]) >= 30


def test_who_runs_the_commands_has_a_part_of_the_page_and_may_do_none_of_what_is_forbidden():
    part = PAGE.partition("## Who runs ")[2]
    verdicts = re.findall(r"^\| .+ \| `.+` on `.+` \| (.+) \|$", part, re.MULTILINE)
    assert verdicts == ["not allowed"] * len(operator.FORBIDDEN)
