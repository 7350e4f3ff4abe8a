"""The Lambda function's zip file: all that the handler needs, and the same bytes wherever it is made."""

import importlib.metadata
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from backend import lambda_package as module
from backend.errors import BackendError
from backend.lambda_package import HANDLER, build_package

ROOT = Path(__file__).parents[2]
HEAVY = {"numpy", "PIL", "shapely", "contourpy", "flask", "httpx", "label_studio_sdk", "prometheus_client"}


@pytest.fixture(scope="module")
def package() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(build_package()))


def test_another_process_in_another_folder_makes_the_same_bytes(tmp_path: Path):
    code = "import sys; from backend.lambda_package import build_package; sys.stdout.buffer.write(build_package())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, umask=0o077
    )

    assert made.stdout == build_package()


def test_nothing_of_the_machine_is_in_it(package: zipfile.ZipFile):
    entries = package.infolist()

    assert [each.filename for each in entries] == sorted(each.filename for each in entries)
    assert {each.date_time for each in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {(each.create_system, each.external_attr >> 16, each.compress_type) for each in entries} == {
        (3, 0o100644, zipfile.ZIP_STORED)
    }


def test_it_has_the_packages_source_and_nothing_built(package: zipfile.ZipFile):
    names = package.namelist()

    assert {name.partition("/")[0] for name in names if name.endswith(".py")} == {"backend", "defusedxml"}
    for name in names:
        if name.startswith("backend/"):
            assert package.read(name) == (ROOT / name).read_bytes()
        else:
            assert name.endswith(".py") or "LICENSE" in name


def test_what_serves_predictions_or_speaks_to_label_studio_stays_out(package: zipfile.ZipFile):
    names = set(package.namelist())

    assert "backend/trigger.py" in names
    assert not names & {f"backend/{each}.py" for each in ("app", "model", "predictor", "label_studio", "images", "cli")}


def test_the_handler_can_be_loaded_from_it_and_loads_nothing_heavy_nor_boto3(package: zipfile.ZipFile, tmp_path: Path):
    package.extractall(tmp_path)
    code = (
        f"import json, sys; import {HANDLER.rpartition('.')[0]} as handler; light = 'boto3' not in sys.modules;"
        "import backend.trigger; print(json.dumps([handler.__file__, light, sorted(sys.modules)]))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)

    file, light, modules = json.loads(loaded.stdout)
    assert Path(file).is_relative_to(tmp_path)
    assert light
    assert not HEAVY & set(modules)


def test_a_package_that_became_large_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)

    with pytest.raises(BackendError, match="wanted a Lambda package of at most 1000 bytes, got"):
        build_package()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("numpy", "wanted numpy as pure Python, to run on arm64", id="with compiled modules"),
        pytest.param("no-such-package", "needs no-such-package, which is not installed", id="not installed"),
    ],
)
def test_a_package_that_cannot_be_packed_is_told(name: str, message: str):
    with pytest.raises(BackendError, match=message):
        module._package(name)


def test_the_packed_versions_are_those_that_are_locked():
    locked = (ROOT / "requirements.txt").read_text(encoding="utf-8")

    assert f"defusedxml=={importlib.metadata.version('defusedxml')}" in locked
