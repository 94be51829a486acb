"""Ranks, the vulnerable few, densities and how sure the worst one is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from archrepair_jax.localization.ranking import density, percentile_ranks, resample, vulnerable, worst_probability

tied = st.sampled_from([0.0, 0.25, 0.5, 1.0, np.inf])
values = st.lists(tied | st.floats(0, 9, width=32, allow_subnormal=False), min_size=20, max_size=20)


@settings(deadline=None)
@given(values)
def test_percentile_ranks_average_over_ties(row):
    expected = rankdata(np.float32(row)) / len(row)
    np.testing.assert_allclose(percentile_ranks(jnp.array([row, row]))[1], expected, rtol=1e-6)


@settings(deadline=None)
@given(values, st.floats(0.01, 1))
def test_vulnerable_are_as_many_as_asked_for(row, fraction):
    members = vulnerable(jnp.array(row), fraction)
    np.testing.assert_allclose(members.sum(), max(1, round(fraction * len(row))), rtol=1e-5)
    assert 0 <= members.min() and members.max() <= 1


def test_ties_at_the_edge_share_the_places_left():
    np.testing.assert_allclose(vulnerable(jnp.array([3.0, 1.0, 2.0, 2.0, 2.0]), 0.4), [1, 0, 1 / 3, 1 / 3, 1 / 3])


def test_density_is_a_mean_over_each_unit():
    members = jnp.array([[1.0, 0, 1, 0, 0], [0, 0, 1, 1, 0.5]])
    np.testing.assert_allclose(density(members, np.array([0, 0, 1, 1, 1]), 2), [[0.5, 1 / 3], [0, 2.5 / 3]])


@pytest.mark.slow
def test_size_alone_makes_no_unit_suspicious():
    """Neurons that are all alike: in the mean a wide unit scores what a narrow one does, and it wins no more often."""
    sizes = np.array([8, 16, 64, 128])
    unit = np.repeat(np.arange(4), sizes)
    scores = density(vulnerable(jax.random.uniform(jax.random.key(0), (4000, len(unit))), 0.1), unit, 4)
    np.testing.assert_allclose(scores.mean(0), 0.1, atol=0.01)
    wins = worst_probability(scores)
    assert wins[3] <= wins[2] <= wins[0]


def test_probability_splits_ties():
    scores = jnp.array([[0.5, 0.5, 0.1], [0.9, 0.1, 0.1], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(worst_probability(scores), [(0.5 + 1 + 1 / 3) / 3, (0.5 + 1 / 3) / 3, 1 / 9], rtol=1e-6)


@pytest.mark.slow
def test_resampling_draws_as_many_failures_as_there_are():
    weights = resample(jax.random.key(0), jnp.array([1.0, 0, 1, 1, 1]), 400)
    np.testing.assert_array_equal(weights.sum(1), 4)
    np.testing.assert_array_equal(weights[:, 1], 0)
    np.testing.assert_allclose(weights[:, [0, 2, 3, 4]].mean(0), 1, atol=0.15)
    assert resample(jax.random.key(0), jnp.ones(5), 0).shape == (0, 5)
