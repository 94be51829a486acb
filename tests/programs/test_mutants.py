"""Mutants: one operator, one place, and equal seeds alike."""

import numpy as np
import pytest
from tiny_subject import DATA, FAULTY

from archrepair_jax.errors import InputError
from archrepair_jax.programs.data_faults import data_faults
from archrepair_jax.programs.mutants import DATA_OPERATORS, OPERATORS, data_mutant, mutant
from archrepair_jax.programs.subjects import data, subject
from archrepair_jax.programs.subjects.synthetic import D1

FIELDS = {
    "ACH": "act", "ARM": "act", "WCI": "ki", "RAW": "kr", "RCD": "drop",
    "LCH": "loss", "OCH": "optimizer", "HLR": "lr", "HBS": "batch_size", "HNE": "epochs",
}  # fmt: skip


@pytest.mark.parametrize("code", OPERATORS)
def test_an_operator_changes_one_field_of_its_kind(code):
    healthy = D1.changed({"act3": "sigmoid", "epochs": 8})
    made = [mutant(healthy, code, seed) for seed in range(12)]
    for each in made:
        (edit,) = healthy.edits(each)
        assert edit.field.rstrip("0123456789") == FIELDS[code]
    assert made == [mutant(healthy, code, seed) for seed in range(12)]
    assert len(set(made)) > 1 or code == "HNE"


def test_an_operator_that_there_is_not_or_finds_nothing_is_refused():
    with pytest.raises(InputError, match="choose from ACH"):
        mutant(FAULTY, "XXX", 0)
    with pytest.raises(InputError, match="operator cannot hold 'RCD'"):
        mutant(FAULTY, "RCD", 0)  # there is no dropout


@pytest.mark.parametrize("code", ["TCL", "TUD"])
def test_spoilt_labels_are_found_by_looking(code):
    for seed in range(5):
        assert data_faults(FAULTY, data_mutant(DATA, code, seed))


@pytest.mark.parametrize("code", DATA_OPERATORS)
def test_data_mutants_spoil_what_is_learned_from_alone(code):
    spoilt = data_mutant(DATA, code, 0)
    assert spoilt.validation is DATA.validation and spoilt.holdout is DATA.holdout
    changed = [not np.array_equal(getattr(spoilt.train, part), getattr(DATA.train, part)) for part in ("x", "y")]
    assert sum(changed) == 1


def test_a_mutant_is_a_subject_by_its_name():
    own = subject("D7-OCH-1")
    assert own.fixed == subject("D7").fixed and [edit.field for edit in own.fixed.edits(own.faulty)] == ["optimizer"]
    spoilt = data("D6-TUD-2")
    assert len(np.unique(spoilt.train.y, axis=0)) == 1 and not subject("D6-TUD-2").fix


@pytest.mark.parametrize(
    ("name", "said"), [("D6-ACH", "SUBJECT-OPERATOR-SEED"), ("D6-ACK-1", "did you mean ACH"), ("D66-ACH-1", "D6")]
)
def test_a_mutant_that_cannot_be_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        subject(name)
