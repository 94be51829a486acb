"""The order of examples, a function of a key and a step alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.data.order import batch_indices

SIZES = st.sampled_from([(1, 1), (1, 5), (2, 5), (3, 5), (5, 5), (4, 12), (7, 12)])  # few shapes, few compilations
SEEDS = st.integers(0, 2**31 - 1)


def visited(seed: int, batch: int, size: int, first: int, steps: int) -> np.ndarray:
    """The examples of ``steps`` steps in a row."""
    batches = [batch_indices(jax.random.key(seed), jnp.int32(first + i), batch, size) for i in range(steps)]
    return np.concatenate(batches)


@pytest.mark.slow
@given(SEEDS, SIZES, st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_an_epoch_visits_every_example_once_wherever_batches_end(seed, sizes, epoch):
    batch, size = sizes
    first = epoch * size // batch  # the step in which the epoch begins
    steps = -(-2 * size // batch) + 1
    row = visited(seed, batch, size, first, steps)
    start = epoch * size - first * batch
    for begin in (start, start + size):
        np.testing.assert_array_equal(np.sort(row[begin : begin + size]), np.arange(size))


@given(SEEDS, SIZES, st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_step_is_a_function_of_key_and_step(seed, sizes, step):
    once, again = (visited(seed, *sizes, step, 1) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert once.shape == (sizes[0],)


def test_epochs_and_keys_have_orders_of_their_own():
    epochs = visited(0, 12, 12, 0, 3).reshape(3, 12)
    assert len({tuple(order) for order in epochs}) == 3
    assert visited(1, 12, 12, 0, 1).tolist() != epochs[0].tolist()


def test_a_set_smaller_than_the_batch_is_drawn_with_replacement():
    row = visited(0, 16, 5, 0, 4)
    assert set(row.tolist()) == set(range(5))
    assert row[:16].tolist() != row[16:32].tolist()
    np.testing.assert_array_equal(visited(0, 16, 5, 2, 1), row[32:48])


def test_the_step_may_be_traced():
    key = jax.random.key(0)
    compiled = jax.jit(lambda step: batch_indices(key, step, 3, 5))
    np.testing.assert_array_equal(compiled(4), batch_indices(key, jnp.int32(4), 3, 5))
