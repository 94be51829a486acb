"""Whole runs: what they leave in the work folder and say on the terminal, stage by stage."""

import json
import re
import shutil

import numpy as np
import pytest
from program import again, arms, read, results, steps_kept
from tiny_config import get_config
from toy_method import TOY

import archrepair_jax
from archrepair_jax.data.sources import load as load_data
from archrepair_jax.line import images
from archrepair_jax.line.settings import from_config
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.method import Method
from archrepair_jax.repair.problem import pool
from archrepair_jax.reporting import report as reports
from archrepair_jax.training.descent import start_state, tuning_step


def test_the_report_has_what_it_promises(program):
    folder, _ = program.finished()
    report, found = read(folder), arms(folder)
    reports.validate(report)
    assert {name: arm["role"] for name, arm in found.items()} == {
        "original": "original",
        "reconstruction": "repair",
        "fine_tune_block": "control",
    }
    for arm in found.values():
        measures = arm["measures"]
        assert 0 < measures["clean"]["accuracy"] <= 1
        by_kind = measures["corrupted"]["by_kind"]
        assert by_kind.keys() == {"contrast", "gaussian_noise"}
        assert measures["corrupted"]["mean"] == pytest.approx(sum(by_kind.values()) / 2)
        outcome = measures["outcome"]
        assert outcome["failing"] + outcome["passing"] == 3 * report["data"]["test"]
        for rate in ("repair_rate", "break_rate"):
            low, high = outcome[f"{rate}_interval"]
            assert 0 <= low <= outcome[rate] <= high <= 1
        for size in ("parameters", "multiply_adds"):
            assert arm["size"][size] > 0
    assert found["original"]["size"].items() <= report["model"].items()
    localization, repair = report["localization"], found["reconstruction"]
    assert [block["name"] for block in localization["blocks"]] == ["layer2"]
    assert repair["where"] == localization["suspect"] == "layer2"
    assert report["status"] == repair["verdict"]["decision"] == "repaired"
    (edit,) = repair["edits"]
    assert edit["genotype"]["edges"].keys() == repair["trace"]["operations"].keys() == {"0->1", "0->2", "1->2"}
    assert report["config"]["repair"]["budget"] == 3200 and report["model"]["weights"] is None


def test_the_examples_are_images_of_which_the_arm_says_so(program):
    folder, _ = program.finished()
    report, labels = read(folder), load_data(from_config(get_config()).data, 0).test.labels
    shown, outcome = report["gallery"], arms(folder)[report["gallery"]["arm"]]["measures"]["outcome"]
    for group, rate, of in (("repaired", "repair_rate", "failing"), ("broken", "break_rate", "passing")):
        assert shown[group]["count"] == round(outcome[rate] * outcome[of])
        assert len(shown[group]["shown"]) == min(12, shown[group]["count"])
        for example in shown[group]["shown"]:
            right = [example[when]["prediction"] == example["label"] for when in ("before", "after")]
            assert right == [group == "broken", group == "repaired"]
            assert example["label"] == labels[example["image"]]
    (kept,) = (folder / "arms" / shown["arm"]).glob("shown-*.npz")
    logits = np.asarray(archrepair_jax.load(folder, shown["arm"])(np.load(kept)["images"]))
    said = [example["after"] for group in ("repaired", "broken") for example in shown[group]["shown"]]
    assert logits.argmax(-1).tolist() == [each["prediction"] for each in said]
    sure = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).max(-1)
    np.testing.assert_allclose(sure, [each["confidence"] for each in said], atol=1e-3)
    assert len(list(folder.glob("figures/repaired-*.png"))) == len(shown["repaired"]["shown"])


def test_classes_and_calibration_are_of_the_whole_test_split(program):
    folder, _ = program.finished()
    data = read(folder)["data"]
    assert sum(data["test_by_class"]) == data["test"] and data["class_names"] == list("0123456789")
    for arm in arms(folder).values():
        measures, weights = arm["measures"], np.array(data["test_by_class"]) / data["test"]
        assert measures["by_class"]["clean"] @ weights == pytest.approx(measures["clean"]["accuracy"])
        assert measures["by_class"]["corrupted"] @ weights == pytest.approx(measures["corrupted"]["mean"])
        assert all(0 < error < 0.5 for error in measures["calibration"].values())


def test_the_budget_is_kept_and_the_cost_is_told(program):
    report, found = read(program.finished()[0]), arms(program.finished()[0])
    for name in ("reconstruction", "fine_tune_block"):
        spent = found[name]["spent"]
        assert 3200 - 32 < spent["sample_gradients"] <= 3200 and spent["multiply_adds"] > 3200 * 32 * 32
    assert found["original"]["spent"] is None
    stages, cost = report["cost"]["stages"], report["cost"]
    assert {"train", "diagnose", "localize", "original: evaluate", "fine_tune_block: repair-0"} <= stages.keys()
    for unit in ("seconds", "compile_seconds"):
        assert cost[unit] == pytest.approx(sum(stage[unit] for stage in stages.values()))
        own = [stages[f"fine_tune_block: {stage}-0"][unit] for stage in ("repair", "accept")]
        assert found["fine_tune_block"]["spent"][unit] == pytest.approx(sum(own))
    assert {"python", "jax", "flax", "optax", "devices"} <= report["environment"].keys()
    made = report["environment"]["command"]
    assert made.startswith("python -m archrepair_jax --config tests/tiny_config.py --workdir")
    assert f"```\n{made}\n```" in (program.finished()[0] / "report.md").read_text()


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
        "reconstruction: search",
        "fine tune block: tuning",
        "evaluate",
    ):
        assert any(line.startswith(f"{task}  ") for line in errors.splitlines()), task
    report, lines = read(folder), output.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "arm",
        "original",
        "reconstruction (repair)",
        "fine tune block",
    ]
    assert report["outcome_line"] in lines
    assert lines[-1] == f"The whole report: {folder}/report.html (in plain text: report.md)"


@pytest.mark.slow
def test_stages_one_by_one_end_in_the_same_report(program, tmp_path):
    status, output, errors = program.repair("--config.stages=('evaluate',)", "--workdir", str(tmp_path))
    assert status == 0, errors
    report = read(tmp_path)
    assert report["status"] == "evaluated" and "Evaluated only" in output
    assert report["localization"] is None and arms(tmp_path).keys() == {"original"}

    status, output, errors = program.repair("--config.stages=('localize',)", "--workdir", str(tmp_path))
    assert status == 0, errors
    assert read(tmp_path)["status"] == "localized" and "the suspect is layer2" in output
    assert "training" not in errors

    status, output, errors = program.repair("--workdir", str(tmp_path))
    assert status == 0, errors
    assert "localize  " not in errors
    assert results(tmp_path) == results(program.finished()[0])


@pytest.mark.slow
def test_a_finished_run_is_not_computed_again(program, tmp_path, monkeypatch, capsys):
    finished, (_, output, _) = program.finished()
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    assert again(monkeypatch, tmp_path) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:-1] == output.splitlines()[:-1] and said.err == ""
    assert read(tmp_path) | {"environment": None} == read(finished) | {"environment": None}


@pytest.mark.slow
def test_a_network_without_failures_has_nothing_to_repair(tmp_path, monkeypatch, capsys):
    arguments = ["--config.failures.kinds=()", "--config.data.train_size=30", "--config.training.steps=150"]
    assert again(monkeypatch, tmp_path, *arguments) == 0
    assert "Nothing to repair" in capsys.readouterr().out
    report = read(tmp_path)
    assert report["status"] == "nothing_to_repair" and arms(tmp_path)["original"]["measures"]["clean"]["accuracy"] < 1
    assert arms(tmp_path).keys() == {"original"} and not list(tmp_path.rglob("repaired.json"))


@pytest.mark.slow
def test_a_kind_may_bring_its_severity_and_labels_divide_the_images(tmp_path, monkeypatch):
    kinds = ["--config.failures.kinds=('contrast-5','gaussian_noise-2')", "--config.data.labels=30"]
    sizes = ["--config.data.train_size=100", "--config.data.validation_size=0", "--config.data.clean_images=7"]
    method = ["--config.repair.method=fine_tune_block", "--config.controls=()"]  # any will do
    assert again(monkeypatch, tmp_path, *kinds, *sizes, *method, "--config.evaluation.kinds=('contrast-4','fog')") == 0
    report = read(tmp_path)
    views = [(view["kind"], view["severity"], view["train_examples"]) for view in report["failures"]["views"]]
    assert views == [("clean", 0, 18), ("contrast", 5, 18), ("gaussian_noise", 2, 18)]
    assert arms(tmp_path)["original"]["measures"]["corrupted"]["by_kind"].keys() == {"contrast", "fog"}
    with np.load(tmp_path / "train-examples.npz") as kept:
        assert len(kept["logits"]) == 3 * 18 + 7


@pytest.mark.slow
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
    assert (tmp_path / "diagnose.json").exists() and not (tmp_path / "report.json").exists()
    assert steps_kept(tmp_path / "arms/fine_tune_block/checkpoints/repair-0/tuning") > 0


@pytest.mark.slow
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
    reports.validate(read(tmp_path))
    found = arms(tmp_path)
    kinds = {name: arm["measures"]["corrupted"]["by_kind"] for name, arm in found.items()}
    before, retrained, tuned = (kinds[name] for name in ("original", "imitation_retraining", "fine_tune_network"))
    assert before["pgd"] <= before["fgsm"] < found["original"]["measures"]["clean"]["accuracy"]
    assert before["adaptive_pgd"] == before["pgd"]  # on the original it is the same attack
    assert found["imitation_retraining"]["verdict"]["decision"] != "unchanged"
    assert before["pgd"] < retrained["adaptive_pgd"] < retrained["pgd"]
    assert tuned["adaptive_pgd"] < tuned["pgd"]

    repair = found["imitation_tuning"]
    assert repair["where"] is None and len(repair["trace"]["neurons"]) == 20
    assert max(arm["spent"]["sample_gradients"] for arm in found.values() if arm["spent"]) <= 3200
    text = (tmp_path / "report.md").read_text()
    assert "The scaled neurons, the most different first: " in text
    assert "adaptive ones are made anew against each arm" in text
    said = np.load(tmp_path / "arms/imitation_tuning/answers/clean.npz")["predictions"]
    settings = from_config(get_config())
    test = load_data(settings.data, settings.seed).test
    predicted = np.asarray(archrepair_jax.load(tmp_path, "imitation_tuning")(test.images).argmax(-1))
    np.testing.assert_array_equal(predicted, said)

    first = results(tmp_path)
    assert again(monkeypatch, tmp_path, *arguments) == 0
    assert results(tmp_path) == first


@pytest.mark.slow
def test_one_control_more_computes_that_arm_alone(program, tmp_path, monkeypatch, capsys):
    finished, _ = program.finished()
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    rendered, judged = [], []
    render, logits = images.render, images.logits

    def rendering(part, view, key, rows):
        rendered.extend([str(view)] * (rows is None))  # and not the few examples that are shown
        return render(part, view, key, rows)

    monkeypatch.setattr(images, "render", rendering)
    monkeypatch.setattr(images, "logits", lambda *arguments: judged.append(arguments[0]) or logits(*arguments))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "arms").rglob("*.npz")}
    assert again(monkeypatch, tmp_path, "--config.controls=('fine_tune_block','fine_tune_network')") == 0
    said = capsys.readouterr().err
    assert "fine tune network: tuning" in said and "fine tune block" not in said and "search" not in said
    assert len(judged) == 3 and rendered.count("gaussian_noise-3") == 1  # that one's test views
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert arms(tmp_path).keys() == {*arms(finished), "fine_tune_network"}
    ours, theirs = (json.loads(results(folder)) for folder in (tmp_path, finished))
    assert [arm for arm in ours["arms"] if arm["name"] != "fine_tune_network"] == theirs["arms"]


@pytest.mark.slow
def test_rates_by_suspiciousness_take_what_was_localized(program, tmp_path, monkeypatch):
    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    assert again(monkeypatch, tmp_path, "--config.controls=('auto_rgn','spectrum_rgn','weight_average')") == 0
    traces = {name: arm["trace"] for name, arm in arms(tmp_path).items()}
    ranked, measured = traces["spectrum_rgn"]["factors"], traces["auto_rgn"]["factors"]
    assert ranked == {"layer1": 0, "layer2": measured["layer2"], "head": 0}  # layer1 is excluded, the head not ranked
    text = (tmp_path / "report.md").read_text()
    for words in ("learning rates, the largest first: ", "of the way to the tuned weights was taken: "):
        assert words in text


def test_the_most_suspicious_unit_speaks_for_its_block():
    units = [{"block": block, "score": score} for block, score in (("a", 0.3), ("b", 0.2), ("a", 0.1), ("b", 0.4))]
    assert images.by_block(units) == {"a": 0.3, "b": 0.4}


@pytest.mark.slow
def test_clean_failures_alone_are_a_use(tmp_path, monkeypatch, capsys):
    kinds = ["--config.failures.kinds=()", "--config.evaluation.kinds=()", "--config.training.steps=20"]
    assert again(monkeypatch, tmp_path, *kinds, "--config.repair.method=fine_tune_network") == 0
    report, found = read(tmp_path), arms(tmp_path)
    assert report["status"] != "nothing_to_repair" and found["fine_tune_network"]["measures"]["corrupted"] is None
    assert found["fine_tune_block"]["measures"]["difference_to_repair"]["low"] is not None
    assert report["outcome_line"] in capsys.readouterr().out


@pytest.mark.slow
def test_a_method_that_spends_one_step_too_many_is_stopped_by_the_ledger(program, tmp_path, monkeypatch, capsys):
    """And the run goes on: its row says so."""

    def greedy(problem, settings, own, key, loop):
        rates = {problem.block: 1.0}
        step = tuning_step(problem.network, rates, settings.tuning, train=False)
        examples = pool(problem, "train", problem.block, loop)
        state, data = start_state(problem.variables, rates, settings.tuning, 1), (problem.variables, examples)
        loop.run("greed", step, state, data, steps=loop.affords(step, state, data) + 1)
        raise AssertionError("it ran")

    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setitem(METHODS, "greedy", Method("greedy", "block", greedy))
    assert again(monkeypatch, tmp_path, "--config.controls=('greedy',)") == 0
    arm = arms(tmp_path)["greedy"]
    assert arm["verdict"]["decision"] == "over budget" and "\n" not in arm["verdict"]["reason"]
    assert arm["verdict"]["reason"].startswith("greed asks for ") and arm["edits"] == []
    assert arm["spent"]["sample_gradients"] < 3200
    assert arm["measures"]["outcome"] == arms(tmp_path)["original"]["measures"]["outcome"]
    assert arm["verdict"]["reason"] in (tmp_path / "report.md").read_text()
    capsys.readouterr()
    assert again(monkeypatch, tmp_path, "--config.controls=('greedy',)") == 0
    assert arms(tmp_path)["greedy"] == arm and "greed" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_method_is_one_file_and_one_line(program, tmp_path, monkeypatch, capsys):
    shutil.copytree(program.finished()[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setitem(METHODS, "toy", TOY)
    figures, accuracy = [], reports.figures.accuracy
    monkeypatch.setattr(reports.figures, "accuracy", lambda report: figures.append(accuracy(report)) or figures[-1])
    assert again(monkeypatch, tmp_path / "no", "--config.repair.method=toyy") == 2
    assert "did you mean toy?" in capsys.readouterr().err
    assert again(monkeypatch, tmp_path / "no", "--config.repair.method=toy", "--config.methods.toy.factor=-1.0") == 2
    assert "methods.toy.factor=-1.0 is out of range" in capsys.readouterr().err
    assert again(monkeypatch, tmp_path / "no", "--config.repair.method=toy", "--config.methods.toy.factor=10.0") == 2
    assert "toy cannot grow weights that much" in capsys.readouterr().err

    assert again(monkeypatch, tmp_path, "--config.repair.method=toy", "--config.methods.toy.factor=2.0") == 0
    reports.validate(read(tmp_path))
    arm = arms(tmp_path)["toy"]
    assert (arm["role"], arm["scope"], arm["trace"]) == ("repair", "network", {"grown": 2.0})
    assert arm["spent"]["sample_gradients"] > 0  # the guard looked at it
    assert "The last layer has grown by 2." in (tmp_path / "report.md").read_text()
    words = " ".join(text.get_text() for legend in figures[-1].legends for text in legend.get_texts())
    assert "toy" in words


@pytest.mark.slow
def test_a_group_is_repaired_like_a_block(tmp_path, monkeypatch):
    arguments = ["--config.model.widths=(16,16,16)", "--config.model.groups=('layer2+layer3',)"]
    assert again(monkeypatch, tmp_path, *arguments) == 0
    found = arms(tmp_path)
    assert found["reconstruction"]["where"] == read(tmp_path)["localization"]["suspect"] == "layer2+layer3"
    assert archrepair_jax.load(tmp_path).network.names == ("input", "layer1", "layer2+layer3", "head")
