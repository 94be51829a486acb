"""What a table of searches says, on made-up rows."""

import numpy as np
import pytest

from archrepair_jax.programs.runner import COLUMNS
from archrepair_jax.programs.summary import differing, holm, stronger, summary


def row(subject, technique, repeat, rate, faulty=0.5, fixed=1.0):
    cells = dict.fromkeys(COLUMNS, "")
    patched = faulty + rate * (fixed - faulty)
    return cells | {
        "subject": subject, "technique": technique, "repeat": str(repeat), "ir": str(rate), "edits_minimal": "1",
        "metric_faulty": str(faulty), "metric_fixed": str(fixed), "metric_patched": str(patched),
    }  # fmt: skip


def test_rates_levels_and_significance_stand_beside_each_other():
    rows = [row("D6", "guided", repeat, 0.95 + 0.001 * repeat) for repeat in range(10)]
    rows += [row("D6", "random", repeat, 0.0 if repeat else 0.6) for repeat in range(10)]
    rows += [row("D7", "guided", repeat, 1.0, faulty=6.7, fixed=0.1) for repeat in range(10)]
    head, ours, random, errors, _, over, baseline = summary(rows)
    assert ours.split() == "D6 guided 10 0.50 1.00 0.98 0.95 0.95 1.00 1.00 0.00 1 1.00 0.004".split()
    assert random.split()[6:11] == ["0.06", "0.00", "0.10", "0.00", "0.00"]
    assert errors.split()[12] == "1.00"  # of errors less is better
    assert over.startswith("guided: improvement rate 0.98 (median 0.98) over 2 subjects, +0.89 beside random")
    assert baseline == "random: improvement rate 0.06 (median 0.06) over 1 subjects"
    assert len(head.split()) == len("subject and technique".split()) + 13


def test_rows_without_a_rate_are_left_out():
    assert summary([dict.fromkeys(COLUMNS, "") | {"subject": "D9", "technique": "guided"}]) == []


def test_p_values_are_corrected_after_holm():
    found = holm({("a", ""): 0.01, ("b", ""): 0.04, ("c", ""): 0.03})
    assert found == pytest.approx({("a", ""): 0.03, ("c", ""): 0.06, ("b", ""): 0.06})


def test_a12_counts_ties_half_and_nothing_different_is_not_significant():
    assert stronger(np.array([1.0, 0.5]), np.array([0.5, 0.0])) == pytest.approx(3.5 / 4)
    assert differing(np.zeros(10)) == 1.0 and differing(np.arange(1.0, 11.0)) < 0.01
