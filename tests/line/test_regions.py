"""Repair over regions as a user meets it: one command from a network and a property to a table and a certificate."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
from program import end, inside, results, wait_for
from tiny_networks import planar_network

import archrepair_jax
from archrepair_jax.errors import InputError
from archrepair_jax.line import regions
from archrepair_jax.models.formats.nnet import Normalization, read_nnet, write_nnet
from archrepair_jax.models.formats.onnx import read_onnx, write_onnx
from archrepair_jax.proof import checker
from archrepair_jax.proof.branch_and_bound import OPEN, Boxes, Proof
from archrepair_jax.repair import METHODS
from archrepair_jax.reporting.regions import COLUMNS

CONFIG = "tests/tiny_region_config.py"
HEADER = Normalization((-2.0, -2.0), (2.0, 2.0), (0.0, 0.0), (2.0, 2.0))
BOX = np.random.default_rng(0).uniform([0, -1], [1, 1], (4_000, 2)).astype(np.float32)
PROPERTY = """
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 -1)) (assert (<= X_1 1))
(assert (<= Y_0 {level}))
"""


class Files:
    """A network that misses a level on 5 % of a box, as files, and the program on them."""

    def __init__(self, folder: pathlib.Path, monkeypatch, capsys, activation: str = "relu"):
        self.folder, self.out, self.monkeypatch, self.capsys = folder, folder / "out", monkeypatch, capsys
        self.network, self.variables = planar_network(activation=activation, stretch=2.0)
        self.scores = np.asarray(self.network.apply(self.variables, BOX))[:, 0]
        self.path = folder / ("tiny.nnet" if activation == "relu" else "tiny.onnx")
        if activation == "relu":
            write_nnet(self.path, self.network, self.variables, HEADER)
        else:
            write_onnx(self.path, self.network, self.variables)
        self.property = folder / "level.vnnlib"
        self.ask(np.quantile(self.scores, 0.05))

    def ask(self, level: float) -> None:
        self.property.write_text(PROPERTY.format(level=float(level)))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        flags = [f"--config.network={self.path}", f"--config.property={self.property}", "--workdir", str(self.out)]
        status = inside(self.monkeypatch, "--config", CONFIG, *flags, *arguments)
        return status, *self.capsys.readouterr()

    @property
    def arm(self) -> dict:
        return json.loads((self.out / "report.json").read_text())["arms"][1]


@pytest.fixture
def files(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    return lambda activation="relu": Files(tmp_path, monkeypatch, capsys, activation)


@pytest.mark.slow
def test_from_a_network_and_a_property_to_a_proof(files, monkeypatch):
    tiny = files()
    status, output, errors = tiny.run()
    assert status == 0 and "repaired" in output and "proof: proved" in output, errors
    (row,) = csv.DictReader((tiny.out / "table.csv").open())
    assert tuple(row) == COLUMNS
    assert (row["network"], row["property"], row["seed"], row["proof"]) == ("tiny", "level", "0", "proved")
    assert int(row["violations_before"]) > 500 and row["violations_fresh"] == "0" and row["samples_fresh"] == "20000"
    assert float(row["fidelity_region"]) > 0.9 and float(row["fidelity_global"]) > 0.9 and int(row["boxes"]) > 0
    arm, measures = tiny.arm, tiny.arm["measures"]
    assert arm["case"] == {"network": "tiny", "property": "level", "seed": 0}
    assert measures["repair_success"]["share"] == 1 and measures["drawdown"]["share"] == 0
    assert arm["spent"]["sample_gradients"] > 200 * 256 and arm["spent"]["multiply_adds"] > 200 * 256 * 320
    assert measures["fresh"]["rate_bound"] == pytest.approx(1 - 1e-3 ** (1 / 20_000))

    plane = measures["plane"]
    assert plane["inputs"] == [0, 1] and np.allclose([plane["lower"], plane["upper"]], [[0, -1], [1, 1]], atol=1e-6)
    across, up = (np.linspace(*ends, len(plane["before"])) for ends in zip(plane["lower"], plane["upper"], strict=True))
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2).astype(np.float32)
    scores = np.asarray(tiny.network.apply(tiny.variables, grid))[:, 0]
    level, drawn = np.quantile(tiny.scores, 0.05), np.array([each == "#" for each in "".join(plane["before"])])
    assert 0 < drawn.sum() < drawn.size / 4 and ((scores <= level) == drawn).mean() > 0.999
    assert "#" not in "".join(plane["after"]) and plane["boxes_crossed"] == len(plane["boxes"]) > 0
    low, high = np.array(plane["boxes"]).swapaxes(0, 1)
    assert (low < high).all() and (low >= [0, -1]).all() and (high <= [1, 1]).all()
    assert 1 < np.prod(high - low, -1).sum() <= 2 + 1e-6  # they do not overlap; bounds cut off the rest of the region

    stem = tiny.out / "tiny-level-retraining-0"
    network, variables, header = read_nnet(stem.with_suffix(".nnet"))
    assert network == tiny.network and header.range == HEADER.range
    other, other_variables = read_onnx(stem.with_suffix(".onnx"))
    repaired = np.asarray(network.apply(variables, BOX))
    np.testing.assert_allclose(repaired, other.apply(other_variables, BOX), atol=1e-5)
    assert not np.allclose(repaired[:, 0], tiny.scores)
    arguments = [str(stem.with_suffix(end)) for end in (".npz", ".nnet")]
    assert checker.main([*arguments, str(tiny.property)]) == 0
    assert checker.main([arguments[0], str(tiny.path), str(tiny.property)]) == 1, "the original has no such proof"

    loaded = archrepair_jax.load(tiny.out)
    np.testing.assert_array_equal(loaded(BOX), network.apply(variables, BOX))

    def never(*_):
        raise AssertionError("what is finished is not done again")

    for work in ("examples", "prove", "survey"):
        monkeypatch.setattr(regions, work, never)
    before = (tiny.out / "report.json").read_bytes()
    assert tiny.run()[0] == 0 and (tiny.out / "report.json").read_bytes() == before


def test_what_holds_already_is_left_alone(files):
    tiny = files()
    tiny.ask(tiny.scores.min() - 1)
    status, output, _ = tiny.run()
    assert status == 0 and "nothing to repair" in output and "proof: proved" in output
    assert not list(tiny.out.glob("*.nnet")) and tiny.arm["measures"]["fresh"]["violations_after"] == 0


@pytest.mark.slow
def test_without_bounds_it_is_repaired_and_the_proof_says_why_not(files):
    tiny = files("gelu")
    status, output, _ = tiny.run()
    assert status == 0 and "repaired" in output
    assert "proof: no bounds" in output and "no proof for the activation gelu" in output
    assert list(tiny.out.glob("*.onnx")) and tiny.arm["measures"]["fidelity"]["domain"] is None


@pytest.mark.slow
def test_a_domain_can_be_named_where_the_file_names_none(files):
    tiny = files("gelu")
    assert tiny.run("--config.domain=((-2.0, 2.0), (-2.0, 2.0))")[0] == 0
    assert (
        tiny.arm["measures"]["fidelity"]["domain"] > 0.9
        and tiny.arm["measures"]["fidelity"]["domain_samples"] == 10_000
    )


@pytest.mark.slow
def test_what_takes_too_long_to_prove_is_made_easier(files, monkeypatch):
    """With the boxes that the proof did not decide."""
    tiny, cells = files(), []
    honest = METHODS["retraining"]

    def spy(problem, *rest):
        cells.append(problem.cells)
        return honest.run(problem, *rest)

    monkeypatch.setitem(METHODS, "retraining", dataclasses.replace(honest, run=spy))
    assert tiny.run("--config.patience=2", "--config.repair.retraining.certainty=1.0")[0] == 0
    rounds, verdict = tiny.arm["trace"]["rounds"], tiny.arm["verdict"]
    assert rounds[-1]["certain"] and not rounds[0]["certain"]
    assert verdict["decision"] == "repaired" and verdict["proof"]["status"] == "proved"
    first, second = cells[:2]
    assert first is None and len(second.tags) and not second.tags.any()
    assert (second.lower >= [0, -1]).all() and (second.upper <= [1, 1]).all() and (second.lower < second.upper).all()


def test_boxes_are_undecided_that_were_split_or_waiting():
    ends = np.arange(5.0)[:, None]
    boxes = Boxes(ends, ends + 1, np.zeros(5, int), np.zeros(5, int))
    verdict = Proof(OPEN, boxes, child=np.array([1, -1, 3, -1, -1]), looked_at=4)
    found = regions.undecided(verdict)  # box 1 and box 3 were found safe, box 4 waits
    np.testing.assert_array_equal(found.lower, [[0], [2], [4]])
    np.testing.assert_array_equal(found.upper, [[1], [3], [5]])


@pytest.mark.slow
def test_what_would_cost_too_many_decisions_is_not_made_easier(files, monkeypatch):
    """The network that was only slow to prove is kept, and proved after all."""
    tiny = files()
    assert tiny.run()[0] == 0
    plain = next(tiny.out.glob("*.nnet")).read_bytes()
    honest = METHODS["retraining"]

    def unfaithful(problem, *rest):
        repair = honest.run(problem, *rest)
        return dataclasses.replace(repair, faithful=repair.faithful and not problem.certain)

    monkeypatch.setitem(METHODS, "retraining", dataclasses.replace(honest, run=unfaithful))
    tiny.out = tiny.folder / "other"
    assert tiny.run("--config.patience=2")[0] == 0
    assert tiny.arm["trace"]["rounds"][-1]["certain"] and tiny.arm["verdict"]["proof"]["status"] == "proved"
    assert next(tiny.out.glob("*.nnet")).read_bytes() == plain


@pytest.mark.slow
def test_a_proof_that_takes_too_long_says_so(files):
    tiny = files()
    status, output, _ = tiny.run("--config.proof.max_boxes=2")
    assert status == 0 and "proof: out of time" in output
    verdict = tiny.arm["verdict"]
    assert verdict["decision"] == "repaired" and verdict["proof"]["status"] == "out of time"
    assert not list(tiny.out.glob("*.npz")), "there is no certificate of what is not proved"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.network=N9_1", "--config.path=nowhere"], "ACASXU_run2a_9_1_batch_2000.nnet"),
        (["--config.network=net.pt"], "neither an ACAS Xu network, as N2_9, nor a .nnet or .onnx file"),
        (["--config.property=77", "--config.path=nowhere"], "prop_77.vnnlib"),
        (["--config.property="], "property is empty"),
        (["--config.repair.method=both"], "choose from retraining, tuning, combined"),
        (["--config.decision=smalest"], "did you mean smallest?"),
        (["--config.survey.doubt=0.0"], "survey.doubt=0.0 is out of range"),
        (["--config.repair.sampling.starts=50000"], "repair.sampling.starts=50000 is out of range"),
        (["--config.repair.retraining.margin=0.0"], "repair.retraining.margin=0.0 is out of range"),
        (["--config.domain=((0.0, 1.0),)"], "domain has 1 pairs, but tiny takes 2 inputs"),
        (["--config.domain=((0.0, 1.0), (1.0, 0.0))"], "domain cannot hold (1.0, 0.0)"),
        (["--config.repair.retrainin.steps=3"], "no key 'retrainin': did you mean 'retraining'?"),
    ],
)
def test_bad_input_gets_one_line(files, arguments, words):
    tiny = files()
    status, output, errors = tiny.run(*arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1) and words in errors
    assert not tiny.out.exists()


def test_a_property_that_nothing_satisfies_says_so(files):
    tiny = files()
    tiny.ask(tiny.scores.max() + 1)
    status, _, errors = tiny.run()
    assert status == 2 and "no positive example satisfies the property" in errors


def test_dimensions_that_do_not_match(files):
    tiny = files()
    tiny.property.write_text(tiny.property.read_text() + "(declare-const X_2 Real)")
    status, _, errors = tiny.run()
    assert status == 2 and "level.vnnlib" in errors


@pytest.mark.slow
def test_files_that_changed_under_the_same_name_are_computed_again(files):
    tiny = files()
    assert tiny.run()[0] == 0
    before = tiny.arm["measures"]["fresh"]
    tiny.ask(np.quantile(tiny.scores, 0.1))
    status, _, errors = tiny.run()
    assert status == 0 and "level.vnnlib changed since: everything in" in errors
    assert tiny.arm["measures"]["fresh"]["violations_before"] > 1.5 * before["violations_before"]


@pytest.mark.slow
def test_killed_in_any_stage(files, program, tmp_path):
    """In the repair, in the proof and in the judgement: the same command goes on, and says the same."""
    tiny = files()
    command = ["-m", "archrepair_jax.main", "--config", CONFIG, f"--config.network={tiny.path}"]
    command += [f"--config.property={tiny.property}", "--config.patience=2", "--config.survey.region=5_000_000"]
    assert end(program.start(*command, "--workdir", str(tiny.out))).status == 0
    command += ["--workdir", f"{tmp_path}/killed"]
    arm = tmp_path / "killed/cases/tiny-level-0/arms/retraining"
    for marker in ("checkpoints/repair-0/round 1/[0-9]*", "repair-0.json", "accept-0.json", "accept-1.json"):
        process = program.start(*command)
        wait_for(lambda marker=marker: any(arm.glob(marker)), process)
        process.kill()
        assert not (tmp_path / "killed/report.json").exists(), end(process)
        end(process)
    status, _, errors = end(program.start(*command))
    assert status == 0, errors
    assert results(tmp_path / "killed") == results(tiny.out)


@pytest.mark.slow
def test_the_repaired_networks_of_several_cases_are_told_apart(files):
    tiny = files()
    assert tiny.run("--config.seeds=2")[0] == 0
    with pytest.raises(InputError, match="several cases: name one, tiny-level-0, tiny-level-1"):
        archrepair_jax.load(tiny.out)
    first, second = (archrepair_jax.load(tiny.out, case=f"tiny-level-{seed}")(BOX) for seed in (0, 1))
    assert not np.array_equal(first, second)
