"""Work folders that something happened to: damaged, deleted, a full disk, other contents under the same name."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import safetensors.numpy
from program import again, arms, read, results
from tiny_config import get_config

from archrepair_jax.data.sources import load as load_data
from archrepair_jax.line.settings import from_config


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged",
    [
        "config.json",
        "model.json",
        "diagnose.json",
        "arms/reconstruction/config.json",
        "arms/reconstruction/repair-0.json",
        "arms/reconstruction/repair-0-variables.safetensors",
        "arms/fine_tune_block/accept-0.json",
        "arms/original/answers/clean.npz",
    ],
)
def test_damaged_files_are_named(program, tmp_path, monkeypatch, capsys, damaged):
    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / damaged
    path.write_bytes(path.read_bytes()[:-40])
    assert again(monkeypatch, tmp_path) == 2
    assert capsys.readouterr().err == f"archrepair-jax: {path} is damaged: delete it, and it is computed again\n"


@pytest.mark.slow
@pytest.mark.parametrize("deleted", ["model.safetensors", "arms/original/answers/clean.npz", "guard-examples.npz"])
def test_deleted_files_are_computed_again(program, tmp_path, monkeypatch, deleted):
    finished, _ = program.finished()
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / deleted).unlink()
    assert again(monkeypatch, tmp_path) == 0
    assert results(tmp_path) == results(finished)
    if deleted.startswith("model"):
        assert (tmp_path / deleted).read_bytes() == (finished / deleted).read_bytes()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(program, tmp_path, monkeypatch, capsys):
    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.json").unlink()
    folder = tmp_path / "checkpoints/training"
    for file in folder.glob("*/*/state.msgpack"):
        file.write_bytes(file.read_bytes()[:10])
    assert again(monkeypatch, tmp_path) == 2
    said = f"archrepair-jax: {folder} is damaged: delete it, and its stage starts again from the beginning\n"
    assert capsys.readouterr().err == said
    shutil.rmtree(folder)
    assert again(monkeypatch, tmp_path, "--config.stages=('evaluate',)") == 0


def test_a_full_disk_is_said_in_one_line(program, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "model.safetensors")

    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("archrepair_jax.reporting.report.write", full)
    assert again(monkeypatch, tmp_path) == 1
    assert capsys.readouterr().err == "archrepair-jax: [Errno 28] No space left on device: 'model.safetensors'\n"


@pytest.fixture
def own_data(tmp_path) -> pathlib.Path:
    """The digits as a file of one's own."""
    settings = from_config(get_config())
    data = load_data(settings.data, settings.seed)
    arrays = {f"{x}_{part}": getattr(getattr(data, part), name) for part in ("train", "validation", "test")
              for x, name in (("x", "images"), ("y", "labels"))}  # fmt: skip
    np.savez(tmp_path / "own.npz", **arrays)
    return tmp_path / "own.npz"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["labels", "images", "fewer"])
def test_data_that_changed_under_the_same_name_are_computed_again(own_data, tmp_path, monkeypatch, capsys, change):
    sizes = [f"--config.data.{part}_size=0" for part in ("train", "validation", "test")]
    arguments = ["--config.data.name=npz", f"--config.data.path={own_data}", "--config.stages=('localize','evaluate')"]
    folder = tmp_path / "run"
    assert again(monkeypatch, folder, *sizes, *arguments) == 0
    first, _ = read(folder), capsys.readouterr()
    with np.load(own_data) as archive:
        arrays = dict(archive)
    if change == "labels":
        arrays["y_test"] = (arrays["y_test"] + 1) % 10
    elif change == "images":
        arrays["x_train"] = 255 - arrays["x_train"]
    else:
        arrays["x_test"], arrays["y_test"] = arrays["x_test"][:-5], arrays["y_test"][:-5]
    np.savez(own_data, **arrays)
    (folder / "mine.txt").write_text("of the user's")
    assert again(monkeypatch, folder, *sizes, *arguments) == 0
    said, second = capsys.readouterr().err, read(folder)
    assert f"the data changed since: everything in {folder} is computed again" in said
    assert first["arms"][0]["measures"] != second["arms"][0]["measures"]
    assert (folder / "mine.txt").exists()
    assert again(monkeypatch, folder, *sizes, *arguments) == 0
    assert "changed since" not in capsys.readouterr().err and results(folder) == json.dumps(
        json.loads(results(folder)), indent=1
    )


@pytest.mark.slow
def test_weights_that_changed_under_the_same_name_are_computed_again(program, tmp_path, monkeypatch, capsys):
    weights, stages = tmp_path / "own.safetensors", "--config.stages=('evaluate',)"
    shutil.copy(program.finished()[0] / "model.safetensors", weights)
    arguments = [f"--config.model.weights={weights}", stages]
    assert again(monkeypatch, tmp_path / "run", *arguments) == 0
    first = arms(tmp_path / "run")["original"]["measures"]["clean"]["accuracy"]
    arrays = safetensors.numpy.load_file(weights)
    safetensors.numpy.save_file({name: array[::-1].copy() for name, array in arrays.items()}, weights)
    assert again(monkeypatch, tmp_path / "run", *arguments) == 0
    assert "model.weights changed since" in capsys.readouterr().err
    assert arms(tmp_path / "run")["original"]["measures"]["clean"]["accuracy"] < first
