"""What a search is said to have come to."""

import jax
import numpy as np
import pytest
from tiny_subject import DATA, FAULTY

from archrepair_jax.programs.outcome import SEEDS, Outcome, improvement, judged, minimal
from archrepair_jax.programs.wording import sentence

PATCH = {"ki1": "he_uniform", "lr": 0.05, "batch_size": 32, "act1": "tanh", "bi2": "random_normal"}


@pytest.mark.parametrize(
    ("faulty", "fixed", "patched", "rate"),
    [
        (0.5, 1.0, 0.75, 0.5),
        (0.5, 1.0, 0.4, 0.0),
        (0.22, 0.33, 0.57, 1.0),  # better than the fix counts as the fix
        (-6.71, -0.13, -0.13, 1.0),
        (-np.inf, -0.1, -0.05, 1.0),
        (0.5, 1.0, np.nan, 0.0),
        (0.5, 0.5, 0.9, 0.0),
    ],
)
def test_the_improvement_rate_is_clipped_and_never_rewards_what_is_not_finite(faulty, fixed, patched, rate):
    assert improvement(faulty, fixed, patched) == pytest.approx(rate)


def test_a_patch_loses_the_edits_that_it_does_not_need():
    asked = []

    def enough(program):
        asked.append(program)
        return program.fields["ki1"] == "he_uniform" and program.fields["bi2"] == "random_normal"

    smallest = minimal(FAULTY, FAULTY.changed(PATCH), enough)
    assert {edit.field for edit in FAULTY.edits(smallest)} == {"ki1", "bi2"}
    assert FAULTY not in asked and len(asked) < 2 ** len(PATCH)


def test_a_patch_that_is_needed_whole_stays_whole():
    patched = FAULTY.changed(PATCH)
    assert minimal(FAULTY, patched, lambda program: program == patched) == patched
    assert minimal(FAULTY, FAULTY, lambda program: True) == FAULTY


def test_the_winner_is_judged_on_fresh_seeds_and_said_in_a_sentence():
    fixed = FAULTY.changed({"ki1": "he_uniform"})
    outcome = judged(FAULTY, fixed, fixed.changed({"bi2": "random_normal"}), DATA, jax.random.key(0))
    assert all(len(each) == SEEDS for each in (outcome.faulty, outcome.fixed, outcome.patched, outcome.reduced))
    assert outcome.rate > 0.9 and len(FAULTY.edits(outcome.smallest)) == 1
    said = sentence(FAULTY, outcome, "accuracy")
    assert said.startswith("change ki1 from zeros to he_uniform: accuracy 0.")
    assert said.endswith("on data nothing was chosen on, 5 of 5 seeds")


def test_a_patch_that_is_better_with_few_seeds_is_called_none():
    patched = FAULTY.changed({"lr": 0.1})
    own = Outcome(patched, patched, (0.5,) * 5, (1.0,) * 5, (0.5, 0.5, 0.5, 0.9, 0.5), (0.5, 0.5, 0.5, 0.9, 0.5))
    assert sentence(FAULTY, own, "accuracy").startswith("no repair: change lr")


def test_errors_are_said_as_one_reads_them():
    patched = FAULTY.changed({"lr": 0.1234567})
    own = Outcome(patched, patched, (-6.0,) * 5, (-0.1,) * 5, (-0.5,) * 5, (-0.5, -0.5, -0.5, -0.5, -7.0))
    assert sentence(FAULTY, own, "mae") == (
        "change lr from 0.02 to 0.1235: mean absolute error 6.00 → 1.80 on data nothing was chosen on, 4 of 5 seeds"
    )
