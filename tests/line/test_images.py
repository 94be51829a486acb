"""Whole runs: what they leave in the work folder and say on the terminal, stage by stage."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from program import CONFIG, inside, results, steps_kept
from tiny_config import get_config

import archrepair_jax
from archrepair_jax.data.sources import load as load_data
from archrepair_jax.line.settings import from_config
from archrepair_jax.reporting import report as reports


def read(folder: pathlib.Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def again(monkeypatch, folder: pathlib.Path, *arguments: str) -> int:
    return inside(monkeypatch, "--config", CONFIG, *arguments, "--workdir", str(folder))


def test_the_report_has_what_it_promises(program):
    folder, _ = program.finished()
    report = read(folder)
    reports.validate(report)
    for moment in ("before", "after"):
        assert 0 < report[moment]["clean"]["accuracy"] <= 1
        assert report[moment]["corrupted"]["by_kind"].keys() == {"contrast", "gaussian_noise"}
        by_kind = report[moment]["corrupted"]["by_kind"].values()
        assert report[moment]["corrupted"]["mean"] == pytest.approx(sum(by_kind) / 2)
    outcome = report["outcome"]
    assert outcome["failing"] + outcome["passing"] == 3 * report["data"]["test"]
    for rate in ("repair_rate", "break_rate"):
        low, high = outcome[f"{rate}_interval"]
        assert 0 <= low <= outcome[rate] <= high <= 1
    localization, repair = report["localization"], report["repair"]
    assert [block["name"] for block in localization["blocks"]] == ["layer2"]
    assert repair["block"] == localization["suspect"] == "layer2"
    assert report["status"] == repair["guard"]["decision"] == "repaired"
    assert repair["genotype"]["edges"].keys() == repair["operations"].keys() == {"0->1", "0->2", "1->2"}
    for size in ("parameters", "multiply_adds"):
        assert repair[size]["before"] == report["model"][size]
        assert repair[size]["after"] > 0
    assert [arm["name"] for arm in report["controls"]] == ["do_nothing", "fine_tune_block"]
    assert report["config"]["repair"]["budget"] == 3200 and report["model"]["weights"] is None


def test_the_budget_is_kept_and_the_cost_is_told(program):
    report = read(program.finished()[0])
    spent = {name: cost["sample_gradients"] for name, cost in report["cost"]["stages"].items()}
    assert spent["train"] == 60 * 32
    assert 3200 - 32 < spent["architecture_search"] <= 3200
    assert spent["fine_tune_block"] == report["controls"][1]["sample_gradients"] == 3200
    for cost in report["cost"]["stages"].values():
        assert 0 <= cost["compile_seconds"] <= cost["seconds"] <= report["cost"]["total_seconds"]
    assert {"python", "jax", "flax", "optax", "devices"} <= report["environment"].keys()


def test_the_folder_holds_the_report_and_nothing_half_written(program):
    folder, _ = program.finished()
    text = (folder / "report.md").read_text()
    assert read(folder)["outcome_line"] in text
    for figure in ("suspiciousness", "alphas", "accuracy", "block"):
        assert (folder / f"figures/{figure}.png").stat().st_size > 1000
    assert not [path for path in folder.rglob("*") if "partial" in path.name or "tmp" in path.name]


def test_the_terminal_shows_progress_and_the_table_and_no_noise(program):
    folder, (_, output, errors) = program.finished()
    for line in errors.splitlines():
        assert re.fullmatch(r"[a-z_:0-9 ]+  \d+/\d+(  \S.*)?", line), line
    for task in (
        "training",
        "diagnose",
        "localize",
        "architecture search: search",
        "fine tune block: tuning",
        "evaluate",
    ):
        assert any(line.startswith(f"{task}  ") for line in errors.splitlines()), task
    report, lines = read(folder), output.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == ["arm", "the repair", "do nothing", "fine tune block"]
    assert report["outcome_line"] in lines and lines[-1] == f"The whole report: {folder}/report.md"


def test_stages_one_by_one_end_in_the_same_report(program, tmp_path):
    status, output, errors = program.repair("--config.stages=('evaluate',)", "--workdir", str(tmp_path))
    assert status == 0, errors
    report = read(tmp_path)
    assert report["status"] == "evaluated" and "Evaluated only" in output
    assert report["before"] and [report[part] for part in ("localization", "repair", "after", "outcome")] == [None] * 4

    status, output, errors = program.repair("--config.stages=('localize',)", "--workdir", str(tmp_path))
    assert status == 0, errors
    assert read(tmp_path)["status"] == "localized" and "the suspect is layer2" in output
    assert "training" not in errors

    status, output, errors = program.repair("--workdir", str(tmp_path))
    assert status == 0, errors
    assert "localize  " not in errors
    assert results(tmp_path) == results(program.finished()[0])


def test_a_finished_run_is_not_computed_again(program, tmp_path, monkeypatch, capsys):
    finished, (_, output, _) = program.finished()
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    assert again(monkeypatch, tmp_path) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:-1] == output.splitlines()[:-1] and said.err == ""
    assert read(tmp_path) | {"environment": None} == read(finished) | {"environment": None}


@pytest.mark.parametrize(
    "damaged",
    [
        "config.json",
        "stages/train.json",
        "model.safetensors",
        "diagnosis/train.npz",
        "stages/architecture_search.json",
        "stages/architecture_search.safetensors",
        "evaluation/before-architecture_search-fine_tune_block/clean.npz",
    ],
)
def test_damaged_files_are_named(program, tmp_path, monkeypatch, capsys, damaged):
    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / damaged
    path.write_bytes(path.read_bytes()[:-40])
    assert again(monkeypatch, tmp_path) == 2
    assert capsys.readouterr().err == f"archrepair-jax: {path} is damaged: delete it, and it is computed again\n"


@pytest.mark.parametrize(
    "deleted", ["model.safetensors", "evaluation/before-architecture_search-fine_tune_block/clean.npz"]
)
def test_deleted_files_are_computed_again(program, tmp_path, monkeypatch, deleted):
    finished, _ = program.finished()
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / deleted).unlink()
    assert again(monkeypatch, tmp_path) == 0
    assert results(tmp_path) == results(finished)
    if deleted.startswith("model"):
        assert (tmp_path / deleted).read_bytes() == (finished / deleted).read_bytes()


def test_a_damaged_checkpoint_is_named(program, tmp_path, monkeypatch, capsys):
    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "stages/train.json").unlink()
    folder = tmp_path / "checkpoints/training"
    for file in folder.glob("*/*/state.msgpack"):
        file.write_bytes(file.read_bytes()[:10])
    assert again(monkeypatch, tmp_path) == 2
    said = f"archrepair-jax: {folder} is damaged: delete it, and its stage starts again from the beginning\n"
    assert capsys.readouterr().err == said
    shutil.rmtree(folder)
    assert again(monkeypatch, tmp_path, "--config.stages=('evaluate',)") == 0


def test_a_network_without_failures_has_nothing_to_repair(tmp_path, monkeypatch, capsys):
    arguments = ["--config.failures.kinds=()", "--config.data.train_size=30", "--config.training.steps=150"]
    assert again(monkeypatch, tmp_path, *arguments) == 0
    assert "Nothing to repair" in capsys.readouterr().out
    report = read(tmp_path)
    assert report["status"] == "nothing_to_repair" and report["before"]["clean"]["accuracy"] < 1
    assert report["repair"] is None and not (tmp_path / "repaired.json").exists()


def test_a_loss_that_is_not_finite_stops_the_stage(tmp_path, monkeypatch, capsys):
    arguments = [
        "--config.stages=('repair',)",
        "--config.repair.block=layer2",
        "--config.repair.method=fine_tune_block",
    ]
    assert again(monkeypatch, tmp_path, *arguments, "--config.repair.tuning.learning_rate=1e38") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(
        r"archrepair-jax: fine_tune_block, tuning: the (loss|weights) became .* at step \d+; the last", line
    )
    assert "lower the learning rate" in line
    assert (tmp_path / "stages/diagnose.json").exists() and not (tmp_path / "report.json").exists()
    assert steps_kept(tmp_path / "checkpoints/fine_tune_block/tuning") > 0


def test_a_full_disk_is_said_in_one_line(program, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "model.safetensors")

    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("archrepair_jax.reporting.report.write", full)
    assert again(monkeypatch, tmp_path) == 1
    assert capsys.readouterr().err == "archrepair-jax: [Errno 28] No space left on device: 'model.safetensors'\n"


def test_imitation_and_attacks_pass_through_all_stages(tmp_path, monkeypatch):
    """Both styles, as the repair and as a control, on images that an attack on the original found."""
    arguments = [
        "--config.repair.method=imitation_tuning",
        "--config.controls=('imitation_retraining','fine_tune_network')",
        "--config.failures.kinds=('pgd',)",
        "--config.failures.severities=(4,)",
        "--config.evaluation.kinds=('fgsm','pgd','adaptive_pgd')",
        "--config.evaluation.severities=(4,)",
    ]
    assert again(monkeypatch, tmp_path, *arguments) == 0
    report = read(tmp_path)
    reports.validate(report)
    before, (nothing, retrained, tuned) = report["before"]["corrupted"]["by_kind"], report["controls"]
    assert before["pgd"] <= before["fgsm"] < report["before"]["clean"]["accuracy"]
    assert before["adaptive_pgd"] == before["pgd"] == nothing["by_kind"]["pgd"]  # on the original it is the same attack
    assert retrained["name"] == "imitation_retraining" and retrained["decision"] != "unchanged"
    assert before["pgd"] < retrained["by_kind"]["adaptive_pgd"] < retrained["by_kind"]["pgd"]
    assert tuned["by_kind"]["adaptive_pgd"] < tuned["by_kind"]["pgd"]

    repair = report["repair"]
    assert repair["block"] is None and len(repair["neurons"]) == 20
    assert max(arm["sample_gradients"] for arm in (repair, retrained, tuned)) <= 3200
    text = (tmp_path / "report.md").read_text()
    assert "The outputs of 20 neurons were scaled: " in text
    assert "adaptive ones are made anew against each arm" in text
    right = np.load(tmp_path / "evaluation/before-imitation_tuning-imitation_retraining-fine_tune_network/clean.npz")
    settings = from_config(get_config())
    test = load_data(settings.data, settings.seed).test
    predicted = np.asarray(archrepair_jax.load(tmp_path)(test.images).argmax(-1))
    np.testing.assert_array_equal(predicted == test.labels, right["imitation_tuning"])

    first = results(tmp_path)
    assert again(monkeypatch, tmp_path, *arguments) == 0
    assert results(tmp_path) == first
