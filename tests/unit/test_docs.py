"""The documentation says what is so."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from backend.config import Settings
from backend.errors import SettingsError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUNICORN = {"BIND_ADDRESS"}


class Recorder(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def settings_table() -> dict[str, str]:
    """Variable -> default, as the README has them."""
    section = README.split("## Settings")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`(?: \(.*?\))?) \|(.*?)\|", section, re.MULTILINE)
    return {name: default.strip(" `") for names, default in rows for name in re.findall(r"`([A-Z0-9_]+)`", names)}


def test_the_table_has_every_setting_and_no_other():
    env = Recorder()
    with pytest.raises(SettingsError):
        Settings.from_env(env)
    assert settings_table().keys() == env.asked | GUNICORN


def test_the_table_has_the_defaults_that_the_code_has():
    required = {
        "LABEL_STUDIO_URL": "http://localhost:8080",
        "LABEL_STUDIO_API_KEY": "k",
        "S3_BUCKET": "bucket",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
    }
    settings = Settings.from_env(required)
    documented = settings_table()
    differing = {
        name: (default, getattr(settings, name.lower()))
        for name, default in documented.items()
        if name not in required
        and hasattr(settings, name.lower())
        and not same(default, getattr(settings, name.lower()))
    }
    assert differing == {}


def same(documented: str, actual: object) -> bool:
    if isinstance(actual, int | float):
        return float(documented) == float(actual)
    return documented == str(actual)


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ([a-z][a-z-]+)", README)) - {"up"} <= targets


def test_every_file_that_the_readme_links_to_exists():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link and not link.startswith("#")]
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_every_section_that_the_readme_links_to_exists():
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= sections


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[\[<>=]", each)[0] for each in declared}
    reasons = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    assert {name for name in names if not name.startswith("types-") and not re.search(rf"\b{name}\b", reasons)} == set()
