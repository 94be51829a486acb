"""From two numbers per neuron to a ranking of units: percentile ranks, the vulnerable few, and their density.

All functions act on the last axis; leading axes are bootstrap replicates. The aggregation is ours: ranks, because
magnitudes differ with depth, and densities, because counts favour wide blocks.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray


@jax.jit
@functools.partial(jnp.vectorize, signature="(n)->(n)")
def percentile_ranks(x: Float[Array, "*R N"]) -> Float[Array, "*R N"]:
    """The share of values below or equal, in (0, 1); equal values share the average of their places."""
    ordered = jnp.sort(x)
    below, upto = (jnp.searchsorted(ordered, x, side=side) for side in ("left", "right"))
    return (below + upto + 1) / (2 * len(x))


COMBINE = {
    "product": lambda spectrum, gradient: spectrum * gradient,
    "mean": lambda spectrum, gradient: (spectrum + gradient) / 2,
    "spectrum": lambda spectrum, gradient: spectrum,
    "gradient": lambda spectrum, gradient: gradient,
}


def vulnerable(v: Float[Array, "*R N"], fraction: float) -> Float[Array, "*R N"]:
    """Membership in the top ``fraction`` of the neurons (at least one); ties at the edge share the places left."""
    places = max(1, round(fraction * v.shape[-1]))
    edge = jnp.sort(v, axis=-1)[..., -places, None]
    above, tied = v > edge, v == edge
    left = places - above.sum(-1, keepdims=True)
    return above + tied * left / tied.sum(-1, keepdims=True)


def density(members: Float[Array, "*R N"], unit: Int[ArrayLike, " N"], units: int) -> Float[Array, "*R U"]:
    """The mean membership of each unit's neurons; ``unit`` numbers, from 0, the unit of each neuron."""
    return jax.ops.segment_sum(members.T, unit, units).T / jnp.bincount(unit, length=units)


def resample(key: PRNGKeyArray, counts: Float[Array, " F"], replicates: int) -> Float[Array, "R F"]:
    """Bootstrap weights: how often each example is drawn, drawing with replacement as many as ``counts`` sum to."""
    drawn = jax.random.choice(key, len(counts), (replicates, int(counts.sum())), p=counts / counts.sum())
    return jax.vmap(lambda row: jnp.bincount(row, length=len(counts)))(drawn).astype(jnp.float32)


def worst_probability(scores: Float[Array, "R U"]) -> Float[Array, " U"]:
    """The share of replicates in which each unit has the highest score; ties are split evenly."""
    worst = scores == scores.max(-1, keepdims=True)
    return (worst / worst.sum(-1, keepdims=True)).mean(0)
