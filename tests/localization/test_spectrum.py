"""The counts and the three formulas: closed forms, guards and the properties that make them comparable."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archrepair_jax.localization.spectrum import FORMULAS, Spectrum, count


def spectrum(ef, ep, nf, np):
    return Spectrum(*(jnp.asarray([value], jnp.float32) for value in (ef, ep, nf, np)))


def test_counts_are_those_of_the_table():
    failing = jnp.array([[True, True, False], [True, False, False]])
    passing = jnp.array([[True, False, False], [True, True, False], [True, False, False]])
    counts = count(failing, passing, jnp.ones(2))
    np.testing.assert_array_equal(counts.ef, [2, 1, 0])
    np.testing.assert_array_equal(counts.ep, [3, 1, 0])
    np.testing.assert_array_equal(counts.nf, [0, 1, 2])
    np.testing.assert_array_equal(counts.np, [0, 2, 3])


def test_an_example_of_weight_two_counts_twice():
    failing, passing = jnp.array([[True, False], [False, True]]), jnp.array([[True, False]])
    weighted = count(failing, passing, jnp.array([[2.0, 1.0], [0.0, 3.0]]))
    twice, thrice = (count(failing[jnp.array(rows)], passing, jnp.ones(3)) for rows in ([0, 0, 1], [1, 1, 1]))
    for row, expected in enumerate((twice, thrice)):
        np.testing.assert_array_equal(weighted.ef[row], expected.ef)
        np.testing.assert_array_equal(weighted.nf[row], expected.nf)


@pytest.mark.parametrize(
    ("formula", "counts", "expected"),
    [
        ("tarantula", (80, 300, 20, 600), 0.8 / (0.8 + 1 / 3)),  # 0.706
        ("tarantula", (100, 900, 0, 0), 0.5),  # always active
        ("tarantula", (0, 0, 100, 900), 0),  # never active
        ("tarantula", (5, 0, 5, 10), 1),  # active on failing examples only
        ("ochiai", (80, 300, 20, 600), 80 / np.sqrt(100 * 380)),
        ("ochiai", (0, 0, 100, 900), 0),
        ("ochiai", (10, 0, 0, 10), 1),
        ("dstar", (80, 300, 20, 600), 80**3 / 320),
        ("dstar", (0, 0, 100, 900), 0),
        ("dstar", (10, 0, 0, 10), np.inf),
        ("dstar", (0, 0, 0, 10), 0),
    ],
)
def test_values_and_guards(formula, counts, expected):
    assert float(FORMULAS[formula](spectrum(*counts))[0]) == pytest.approx(expected, rel=1e-6)


numbers = st.integers(0, 200)


@given(numbers, numbers, numbers, numbers)
def test_values_stay_in_their_range(ef, ep, nf, passing_inactive):
    for formula in ("tarantula", "ochiai"):
        assert 0 <= FORMULAS[formula](spectrum(ef, ep, nf, passing_inactive))[0] <= 1 + 1e-6
    assert FORMULAS["dstar"](spectrum(ef, ep, nf, passing_inactive))[0] >= 0


@given(numbers, numbers, numbers, numbers, st.integers(2, 5))
def test_seeing_every_example_again_changes_nothing(ef, ep, nf, passing_inactive, times):
    counts = np.array((ef, ep, nf, passing_inactive))
    for formula in ("tarantula", "ochiai"):
        once, again = (FORMULAS[formula](spectrum(*c)) for c in (counts, times * counts))
        np.testing.assert_allclose(once, again, rtol=1e-5)


@given(numbers, numbers, numbers, numbers)
def test_one_more_failure_while_active_never_lowers_suspicion(ef, ep, nf, passing_inactive):
    assume(nf > 0)
    for formula in FORMULAS.values():
        before, after = (formula(spectrum(ef + d, ep, nf - d, passing_inactive)) for d in (0, 1))
        assert after[0] >= before[0] * (1 - 1e-6)
