"""The particle swarm on costs whose optimum is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.training.swarm import Swarm, SwarmSettings, minimize, move

DEFAULT = SwarmSettings()
BIRDNN = SwarmSettings(inertia=0.8, cognitive=0.41, social=0.41, velocity=1.0)


def minimum(cost, dimensions, swarm_settings=DEFAULT, seed=0):
    run = jax.jit(lambda key: minimize(cost, dimensions, swarm_settings, key))
    return run(jax.random.key(seed))


@pytest.mark.slow
@pytest.mark.parametrize("swarm_settings", [DEFAULT, BIRDNN])
@pytest.mark.parametrize("optimum", [[0.3, -0.6, 0.1], [0.0, 0.0, 0.0], [1.0, -1.0, 0.9]])
def test_a_bowl(swarm_settings, optimum):
    swarm = minimum(lambda w: ((w - jnp.array(optimum)) ** 2).sum(-1), 3, swarm_settings)
    np.testing.assert_allclose(swarm.best, optimum, atol=0.05)


def test_an_optimum_beyond_the_bound_is_sought_at_the_wall():
    swarm = minimum(lambda w: jnp.abs(w - jnp.array([3.0, -3.0])).sum(-1), 2, SwarmSettings(bound=0.5))
    np.testing.assert_allclose(swarm.best, [0.5, -0.5], atol=0.02)
    assert np.abs(swarm.position).max() <= 0.5


def test_counts_without_a_slope():
    """A plateau of ones with a corner of zeros, as counted violations make it."""
    swarm = minimum(lambda w: jnp.where((w > 0.2).all(-1), 0.0, 1.0), 2, BIRDNN)
    assert swarm.own_cost.min() == 0 and (swarm.best > 0.2).all()


def test_the_seed_decides():
    def cost(w):
        return jnp.sin(9 * w).sum(-1) + (w**2).sum(-1)

    first, again, other = (minimum(cost, 4, seed=seed) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (first.best != other.best).any()


def test_zero_is_kept_if_nothing_is_better():
    swarm = minimum(lambda w: (jnp.abs(w) > 0).any(-1).astype(jnp.float32), 3)
    np.testing.assert_array_equal(swarm.best, 0)
    np.testing.assert_array_equal(swarm.history, 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_never_worse_than_zero_and_never_rising(seed):
    coefficients = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    swarm = found(seed, coefficients)
    at_zero = np.sin(np.zeros(3)).sum()
    assert swarm.own_cost.min() <= at_zero
    assert (np.diff(swarm.history) <= 0).all()
    assert swarm.history[-1] == swarm.own_cost.min()


@jax.jit
def found(seed, coefficients):
    few = SwarmSettings(particles=5, iterations=12)
    return minimize(lambda w: jnp.sin(w @ coefficients).sum(-1), 4, few, jax.random.key(seed))


def test_nan_is_never_the_best():
    swarm = minimum(lambda w: jnp.where(w[:, 0] < 0, jnp.nan, -w[:, 0]), 1)
    assert swarm.own_cost.min() < -0.9 and swarm.best[0] > 0.9


@pytest.mark.slow
def test_it_stops_after_as_many_idle_iterations_as_the_patience():
    still = SwarmSettings(iterations=50, patience=7)
    assert minimum(lambda w: jnp.ones(len(w)), 2, still).iteration == 1 + 7  # the first one gains on no cost at all
    assert minimum(lambda w: jnp.ones(len(w)), 2, dataclasses.replace(still, patience=60)).iteration == 50


@pytest.mark.slow
def test_gains_within_the_tolerance_are_idle():
    """Gains end, for this tolerance, while the swarm still creeps closer."""
    patient, coarse = (SwarmSettings(tolerance=tolerance, patience=10) for tolerance in (0.0, 0.01))
    patient, coarse = (minimum(lambda w: ((w - 0.5) ** 2).sum(-1), 2, each) for each in (patient, coarse))
    assert coarse.iteration < patient.iteration
    assert coarse.own_cost.min() > patient.own_cost.min()


def test_a_step_by_hand():
    """Inertia alone: a particle inside moves on, one at a wall is thrown back and turns round."""
    position, velocity = jnp.array([[0.2], [0.9]]), jnp.array([[0.1], [0.4]])
    unknown = jnp.zeros(2)
    swarm = Swarm(position, velocity, position, unknown, unknown, jnp.int32(0), jnp.int32(0))
    alone = SwarmSettings(inertia=0.5, cognitive=0.0, social=0.0)
    swarm = move(swarm, alone, jax.random.key(0))
    np.testing.assert_allclose(swarm.position, [[0.25], [0.9]], rtol=1e-6)
    np.testing.assert_allclose(swarm.velocity, [[0.05], [-0.2]], rtol=1e-6)
