"""The order of examples as a function of a key and a step number alone, so that a run resumes without an iterator."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Int, PRNGKeyArray


def batch_indices(key: PRNGKeyArray, step: Int[ArrayLike, ""], batch_size: int, size: int) -> Int[Array, "B"]:
    """Which of ``size`` examples step ``step`` visits: the next ``batch_size`` of an endless row of permutations.

    Every example is visited once an epoch, and a batch may reach into the next one. A set smaller than the batch is
    drawn from with replacement instead.
    """
    if size < batch_size:
        return jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, size)
    position = step * batch_size + jnp.arange(batch_size)
    first = position[0] // size
    orders = [jax.random.permutation(jax.random.fold_in(key, first + i), size) for i in range(2)]
    return jnp.where(position // size == first, orders[0][position % size], orders[1][position % size])
