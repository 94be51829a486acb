"""The program without a checkout: its configs by name, one to begin with, and what a wheel carries."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from program import ROOT, inside

from archrepair_jax import __version__
from archrepair_jax.cli.packaged import found, names
from archrepair_jax.line.settings import from_config
from archrepair_jax.main import main


def test_the_version_is_told(capsys):
    assert main(["", "--version"]) == 0
    assert capsys.readouterr().out == f"archrepair_jax {__version__}\n"


@pytest.mark.parametrize("arguments", [["--config", "digits:quick"], ["--config=digits:quick"]])
def test_a_config_that_comes_along_is_found_by_its_name(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, argument = found(["", *arguments])[-1].removeprefix("--config=").rsplit(":", 1)
    assert argument == "quick"
    assert open(file).read() == (ROOT / "configs/digits.py").read_text()


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("")
    assert found(["", "--config", "digits"]) == ["", "--config", "digits"]
    assert found(["", "--config", "gone.py", "--workdir", "x"]) == ["", "--config", "gone.py", "--workdir", "x"]


def test_a_name_that_none_has_is_refused_with_the_nearest(monkeypatch, capsys):
    assert inside(monkeypatch, "--config", "digts", "--workdir", "x") == 2
    said = capsys.readouterr().err
    assert "digts is no file" in said and "the nearest config that comes along is digits" in said
    assert said.count("\n") == 1 and all(name in said for name in names())


def test_one_begins_with_a_config_of_ones_own(tmp_path, capsys):
    assert main(["", "init", str(tmp_path / "mine")]) == 0
    file = tmp_path / "mine/my_data.py"
    assert str(file) in capsys.readouterr().out
    space = {}
    exec(file.read_text(), space)
    from_config(space["get_config"]())
    file.write_text("changed")
    assert main(["", "init", str(tmp_path / "mine")]) == 2
    assert "is there already" in capsys.readouterr().err and file.read_text() == "changed"


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["{file}/folder"]])
def test_where_one_cannot_begin(arguments, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["", "init", *(argument.format(file=tmp_path / "file") for argument in arguments)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_wheel_carries_configs_and_schema(tmp_path):
    for name in ("archrepair_jax", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"archrepair_jax/configs/{name}.py" for name in names()} <= held
    assert "archrepair_jax/reporting/report.schema.json" in held
