"""An environment from which something was deleted is not taken for complete."""

import subprocess
import venv
from pathlib import Path

import pytest

from demo.installed import faults, forget_damaged, main, packages
from demo.state import ROOT


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Path:
    """Two packages: *bird* with a module, a program beside the folder and a compiled file that is gone; and *nest*."""
    site = tmp_path / "lib"
    for package in ("bird-1.0", "nest-2.1"):
        folder, module = site / f"{package}.dist-info", site / package.partition("-")[0]
        folder.mkdir(parents=True)
        module.mkdir()
        (module / "__init__.py").touch()
        record = f"{module.name}/__init__.py,sha256=x,0\n{module.name}/__pycache__/x.pyc,,\n{folder.name}/RECORD,,\n"
        (folder / "RECORD").write_text(record)
    (tmp_path / "bird").touch()
    with (site / "bird-1.0.dist-info" / "RECORD").open("a") as record_file:
        record_file.write('../bird,,\n"bird/a, b.txt",,\n')
    (site / "bird" / "a, b.txt").touch()
    return site


def test_a_complete_environment_has_no_faults(site: Path):
    assert faults(site, ["bird", "nest"]) == []


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param("bird/__init__.py", id="module"),
        pytest.param("../bird", id="program"),
        pytest.param("bird-1.0.dist-info/RECORD", id="list of files"),
    ],
)
def test_a_package_of_which_a_file_is_gone_is_a_fault_until_pip_is_to_install_it_again(site: Path, gone: str):
    (site / gone).unlink()

    assert faults(site, []) == ["bird"]
    forget_damaged(site)
    assert [package.name for package in packages(site)] == ["nest-2.1.dist-info"]


def test_a_package_that_the_stamp_names_and_is_not_there_is_a_fault(site: Path, capsys: pytest.CaptureFixture[str]):
    stamp = site / "stamp"
    assert main(["list"], site=site) == 0
    stamp.write_text(capsys.readouterr().out + "egg\n")

    assert main(["check", str(stamp), str(site / "no stamp")], site=site) == 1
    assert capsys.readouterr().err.endswith(": egg\n")


def test_the_python_of_another_environment_looks_at_its_own_packages(tmp_path: Path):
    venv.create(tmp_path / "env")
    stamp = tmp_path / "stamp"
    stamp.write_text("flask\n")

    command = [str(tmp_path / "env" / "bin" / "python"), "-m", "demo.installed", "check", str(stamp)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr.rpartition(":")[2].strip()) == (1, "flask")
