"""The command as a user gives it: rows, sentences, going on, and what is refused in one line."""

import csv
import dataclasses

import numpy as np
import pytest
from tiny_subject import DATA, FAULTY

from archrepair_jax.errors import InputError
from archrepair_jax.programs import runner
from archrepair_jax.programs.data import Split
from archrepair_jax.programs.rows import COLUMNS, written
from archrepair_jax.programs.runner import run
from archrepair_jax.programs.settings import ProgramSettings, default_config, from_config
from archrepair_jax.programs.subjects import SUBJECTS
from archrepair_jax.programs.subjects.contract import Subject

ISSUE = (
    "subject, space, budget, technique, repeat, metric_faulty, metric_fixed, metric_patched, ir, edits_raw, "
    "edits_minimal, evaluations, sample_gradients, seconds, status"
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A subject that takes milliseconds."""
    own = Subject(FAULTY, {"ki1": "he_uniform"}, lambda random, folder: DATA, ("unit1",))
    monkeypatch.setitem(SUBJECTS, "tiny", own)
    monkeypatch.setattr(runner, "compile_once", lambda folder: None)
    monkeypatch.setattr(runner.jax, "clear_caches", lambda: None)


def settings(**changes):
    return ProgramSettings(**{"subject": "tiny", "budget": 8, **changes})


def rows(report):
    with open(report["table"]) as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def test_one_search_gives_a_sentence_and_a_row(tmp_path):
    report = run(settings(), tmp_path)
    (line,), (row,) = report["lines"], rows(report)
    assert line.startswith("tiny, guided, seed 0: change ki1 from zeros to ") and "5 of 5 seeds" in line
    assert tuple(row) == COLUMNS and set(ISSUE.split(", ")) <= set(COLUMNS)
    assert row["status"] == "patched" and float(row["ir"]) > 0.8 and row["edits_minimal"] == "1"
    assert float(row["metric_minimal"]) > float(row["metric_faulty"]) + 0.2
    assert row["jaccard_minimal"] == row["precision_minimal"] == "1.0" and int(row["multiply_adds"]) > 0
    assert row["anytime"].startswith("0.") and float(row["anytime"].rsplit(":")[-1]) > 0.9
    page = (tmp_path / "report.html").read_text()
    assert "<h1>What to change in tiny</h1>\n<p>change ki1 from zeros to he_uniform: accuracy 0." in page
    assert 0 < int(row["sample_gradients"]) <= 8 * (64 * 8 + 10)


def test_a_row_that_is_there_is_not_computed_again(tmp_path, monkeypatch):
    first = run(settings(budget=2, techniques=("local",)), tmp_path)
    searched = []
    real = runner.searched
    monkeypatch.setattr(runner, "searched", lambda search, *others: searched.append(search) or real(search, *others))
    both = run(settings(budget=2, techniques=("local", "guided")), tmp_path)
    assert len(searched) == 1 and rows(both)[0] == rows(first)[0]
    assert [row["technique"] for row in rows(both)] == ["local", "guided"]


def test_a_program_that_never_gets_finite_says_so(tmp_path, monkeypatch):
    wild = FAULTY.changed(
        {"act2": "linear", "loss": "mean_squared_error", "optimizer": "sgd", "lr": 1e30, "ki1": "ones"}
    )
    monkeypatch.setitem(SUBJECTS, "tiny", Subject(wild, {"lr": 0.1}, lambda random, folder: DATA))
    report = run(settings(technique="autotrainer", budget=2), tmp_path)
    (row,) = rows(report)
    assert row["status"] == "no patch" and row["metric_faulty"] == "0.0"
    assert report["lines"][0].endswith("and its training does not get finite: the program stays as it is")


@pytest.mark.parametrize(
    ("fix", "rate", "said"),
    [
        ({}, "", "guided: on wrong data 1 of 1 abstained, 0 claimed a repair"),
        ({"ki1": "he_uniform"}, "0.0", "guided: abstained from 1 of 1 programs that can be repaired"),
    ],
)
def test_ours_leaves_a_program_alone_whose_data_are_wrong(fix, rate, said, tmp_path, monkeypatch):
    wrong = dataclasses.replace(DATA, train=Split(DATA.train.x, DATA.train.y.argmax(1) / 255.0))
    monkeypatch.setitem(SUBJECTS, "tiny", Subject(FAULTY, fix, lambda random, folder: wrong))
    report = run(settings(), tmp_path)
    (row,) = rows(report)
    assert (row["status"], row["ir"], row["metric_patched"]) == ("abstained", rate, "")
    assert "the data are wrong, not the program: " in report["lines"][0] and report["summary"][-1] == said


def test_what_is_better_with_few_seeds_is_not_called_patched(tmp_path, monkeypatch):
    worse = FAULTY.changed({"lr": 0.5})
    monkeypatch.setattr(runner, "chosen", lambda search: (worse, "found"))
    report = run(settings(budget=2, technique="random"), tmp_path)
    (row,) = rows(report)
    assert row["patch"].startswith("no repair: change lr from 0.02 to 0.5") and row["status"] == "no repair"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subject": "D66"}, "did you mean D6"),
        ({"technique": "gided"}, "did you mean guided.*choose from random"),
        ({"space": "S9"}, "choose from S0, S1"),
        ({"budget": 0}, "budget=0 pays for no training"),
        ({"subjects": ("D6", "D6")}, "twice"),
        ({"subject": "R1"}, "Reuters"),
    ],
)
def test_what_there_is_not_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        settings(**changes)


def test_a_config_of_another_type_is_refused():
    config = default_config()
    config.subjects = (6,)
    with pytest.raises(InputError, match="subjects cannot hold 6: it takes a text"):
        from_config(config)


def test_a_metric_that_is_not_finite_has_an_empty_cell():
    assert written(float("inf")) == written(None) == "" and written(0.123456789) == "0.12346"
    assert np.isfinite(float(written(1.0)))
