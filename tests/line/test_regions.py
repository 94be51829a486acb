"""Repair over regions as a user meets it: one command from a network and a property to a table and a certificate."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
from program import inside
from tiny_networks import compile_quickly, planar_network  # noqa: F401

from archrepair_jax.line import regions
from archrepair_jax.models.formats.nnet import Normalization, read_nnet, write_nnet
from archrepair_jax.models.formats.onnx import read_onnx, write_onnx
from archrepair_jax.proof import checker
from archrepair_jax.proof.branch_and_bound import OPEN, Boxes, Verdict
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
        flags = [f"--config.network={self.path}", f"--config.property={self.property}", f"--config.out={self.out}"]
        status = inside(self.monkeypatch, "--config", CONFIG, *flags, *arguments)
        return status, *self.capsys.readouterr()

    @property
    def case(self) -> dict:
        return json.loads((self.out / "report.json").read_text())["cases"][0]


@pytest.fixture
def files(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    return lambda activation="relu": Files(tmp_path, monkeypatch, capsys, activation)


def test_from_a_network_and_a_property_to_a_proof(files, monkeypatch):
    tiny = files()
    status, output, errors = tiny.run()
    assert status == 0 and "repaired" in output and "proof: proved" in output, errors
    (row,) = csv.DictReader((tiny.out / "table.csv").open())
    assert tuple(row) == COLUMNS
    assert (row["network"], row["property"], row["seed"], row["proof"]) == ("tiny", "level", "0", "proved")
    assert int(row["violations_before"]) > 500 and row["violations_fresh"] == "0" and row["samples_fresh"] == "20000"
    assert float(row["fidelity_region"]) > 0.9 and float(row["fidelity_global"]) > 0.9 and int(row["boxes"]) > 0
    case = tiny.case
    assert case["repair_success"]["share"] == 1 and case["drawdown"]["share"] == 0
    assert case["fresh"]["rate_bound"] == pytest.approx(1 - 1e-3 ** (1 / 20_000))

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

    def solve(*_):
        raise AssertionError("what is finished is not done again")

    monkeypatch.setattr(regions, "solve", solve)
    before = (tiny.out / "report.json").read_bytes()
    assert tiny.run()[0] == 0 and (tiny.out / "report.json").read_bytes() == before


def test_what_holds_already_is_left_alone(files):
    tiny = files()
    tiny.ask(tiny.scores.min() - 1)
    status, output, _ = tiny.run()
    assert status == 0 and "nothing to repair" in output and "proof: proved" in output
    assert not list(tiny.out.glob("*.nnet")) and tiny.case["fresh"]["violations_after"] == 0


def test_without_bounds_it_is_repaired_and_the_proof_says_why_not(files):
    tiny = files("gelu")
    status, output, _ = tiny.run()
    assert status == 0 and "repaired" in output
    assert "proof: no bounds" in output and "no proof for the activation gelu" in output
    assert list(tiny.out.glob("*.onnx")) and tiny.case["fidelity"]["domain"] is None


def test_a_domain_can_be_named_where_the_file_names_none(files):
    tiny = files("gelu")
    assert tiny.run("--config.domain=((-2.0, 2.0), (-2.0, 2.0))")[0] == 0
    assert tiny.case["fidelity"]["domain"] > 0.9 and tiny.case["fidelity"]["domain_samples"] == 10_000


def test_what_takes_too_long_to_prove_is_made_easier(files, monkeypatch):
    """With the boxes that the proof did not decide."""
    tiny, cells = files(), []
    honest = regions.repair_regions

    def spy(*arguments):
        cells.append(arguments[-1])
        return honest(*arguments)

    monkeypatch.setattr(regions, "repair_regions", spy)
    assert tiny.run("--config.patience=2", "--config.repair.retraining.certainty=1.0")[0] == 0
    assert tiny.case["rounds"][-1]["certain"] and not tiny.case["rounds"][0]["certain"]
    assert tiny.case["status"] == "repaired" and tiny.case["proof"]["status"] == "proved"
    first, second = cells[:2]
    assert first is None and len(second.tags) and not second.tags.any()
    assert (second.lower >= [0, -1]).all() and (second.upper <= [1, 1]).all() and (second.lower < second.upper).all()


def test_boxes_are_undecided_that_were_split_or_waiting():
    ends = np.arange(5.0)[:, None]
    boxes = Boxes(ends, ends + 1, np.zeros(5, int), np.zeros(5, int))
    verdict = Verdict(OPEN, boxes, child=np.array([1, -1, 3, -1, -1]), looked_at=4)
    found = regions.undecided(verdict)  # box 1 and box 3 were found safe, box 4 waits
    np.testing.assert_array_equal(found.lower, [[0], [2], [4]])
    np.testing.assert_array_equal(found.upper, [[1], [3], [5]])


def test_what_would_cost_too_many_decisions_is_not_made_easier(files, monkeypatch):
    """The network that was only slow to prove is kept, and proved after all."""
    tiny = files()
    assert tiny.run()[0] == 0
    plain = next(tiny.out.glob("*.nnet")).read_bytes()
    honest = regions.repair_regions

    def unfaithful(*arguments):
        repair = honest(*arguments)
        return dataclasses.replace(repair, faithful=repair.faithful and not arguments[-2])

    monkeypatch.setattr(regions, "repair_regions", unfaithful)
    tiny.out = tiny.folder / "other"
    assert tiny.run("--config.patience=2")[0] == 0
    assert tiny.case["rounds"][-1]["certain"] and tiny.case["proof"]["status"] == "proved"
    assert next(tiny.out.glob("*.nnet")).read_bytes() == plain


def test_a_proof_that_takes_too_long_says_so(files):
    tiny = files()
    status, output, _ = tiny.run("--config.proof.max_boxes=2")
    assert status == 0 and "proof: out of time" in output
    assert tiny.case["status"] == "repaired" and tiny.case["proof"]["status"] == "out of time"
    assert not list(tiny.out.glob("*.npz")), "there is no certificate of what is not proved"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.network=N9_1", "--config.path=nowhere"], "ACASXU_run2a_9_1_batch_2000.nnet"),
        (["--config.network=net.pt"], "neither an ACAS Xu network, as N2_9, nor a .nnet or .onnx file"),
        (["--config.property=77", "--config.path=nowhere"], "prop_77.vnnlib"),
        (["--config.property="], "property is empty"),
        (["--config.repair.style=both"], "choose from retraining, tuning, combined"),
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
