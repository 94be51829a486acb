"""Inputs from a property's regions: uniform ones, a search for those on the verge of being unsafe, and small boxes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from archrepair_jax.keys import named
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.properties import Property, margin
from archrepair_jax.training.batches import Samples

REACH = 0.2, 0.002  # of a box's width, the first steps of ``seek``: wide valleys want the large ones, narrow the small
SEEK_STEPS = 40
CHUNK = 5_000  # inputs that pass through a network together; few enough for a CPU's cache
WIDTHS = 0.03, 0.25  # shares of a region's width, about those of the boxes in which a proof ends
SHRINK = 0.85  # what each step is of the one before


def inward(lower: Float[np.ndarray, "..."], upper: Float[np.ndarray, "..."]) -> tuple[np.ndarray, np.ndarray]:
    """float32 ends of boxes that lie inside the given float64 ones; a width below float32's resolution becomes zero."""
    low, high = np.float32(lower), np.float32(upper)
    low = np.where(low < lower, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > upper, np.nextafter(high, np.float32(-np.inf)), high)
    return np.where(low > high, np.float32(lower), low), np.where(low > high, np.float32(lower), high)


class Regions(struct.PyTreeNode):
    """R boxes to draw from, each as often as its share of the volume says."""

    lower: Float[Array, "R D"]
    upper: Float[Array, "R D"]
    share: Float[Array, "R"]


class Cells(struct.PyTreeNode):
    """C small boxes inside regions; the tag is the region."""

    lower: Float[Array, "C D"]
    upper: Float[Array, "C D"]
    tags: Int[Array, "C"]


def make_regions(lower: Float[np.ndarray, "R D"], upper: Float[np.ndarray, "R D"]) -> Regions:
    """Of float64 corners. Boxes that all lack volume share alike."""
    volume = np.prod(np.asarray(upper) - lower, axis=-1)
    share = volume / volume.sum() if volume.any() else np.full(len(volume), 1 / len(volume))
    return Regions(*inward(np.asarray(lower), np.asarray(upper)), np.float32(share))


def draw_inputs(regions: Regions, key: PRNGKeyArray, count: int) -> Samples:
    """``count`` independent inputs, uniform over all regions; the tag is the region."""
    region = jnp.zeros(count, jnp.int32)
    if len(regions.share) > 1:
        region = jax.random.choice(named(key, "region"), len(regions.share), (count,), p=regions.share)
    lower, upper = regions.lower[region], regions.upper[region]
    x = lower + jax.random.uniform(named(key, "place"), lower.shape) * (upper - lower)
    return Samples(jnp.clip(x, lower, upper), region)


@functools.partial(jax.jit, static_argnames="count")
def draw_cells(regions: Regions, key: PRNGKeyArray, count: int) -> Cells:
    """``count`` cells around uniform inputs; of each width the logarithm is uniform in ``WIDTHS`` of the region's."""
    centre = draw_inputs(regions, named(key, "centre"), count)
    lower, upper = regions.lower[centre.tags], regions.upper[centre.tags]
    least, most = map(jnp.log, WIDTHS)
    reach = (
        jnp.exp(jax.random.uniform(named(key, "reach"), lower.shape, minval=least, maxval=most)) * (upper - lower) / 2
    )
    corners = jnp.maximum(centre.inputs - reach, lower), jnp.minimum(centre.inputs + reach, upper)
    return Cells(*corners, centre.tags)


@functools.partial(jax.jit, static_argnames="count")
def uniform(regions: Regions, key: PRNGKeyArray, count: int) -> Samples:
    """``draw_inputs`` as one compiled call."""
    return draw_inputs(regions, key, count)


@functools.partial(jax.jit, static_argnames=("network", "groups", "size"))
def scan(
    network: Network, variables: Variables, prop: Property, regions: Regions, key: PRNGKeyArray, groups: int, size: int
) -> Samples:
    """Of ``groups * size`` uniform inputs, the one with the smallest margin in each group; few are kept in memory."""

    def worst(number: Int[Array, ""]) -> Samples:
        drawn = draw_inputs(regions, jax.random.fold_in(key, number), size)
        at = margin(prop, drawn.tags, network.apply(variables, drawn.inputs)).argmin()
        return jax.tree.map(lambda array: array[at], drawn)

    return jax.lax.map(worst, jnp.arange(groups), batch_size=max(CHUNK // size, 1))


@functools.partial(jax.jit, static_argnames=("network", "steps"))
def seek(
    network: Network, variables: Variables, prop: Property, regions: Regions, starts: Samples, steps: int = SEEK_STEPS
) -> tuple[Samples, Float[Array, "N"]]:
    """From each start, the input with the smallest margin that a descent meets, and that margin; unsafe if ``<= 0``.

    All descents run at once: every step goes along the sign of the margin's gradient, by a part of the box's width that
    shrinks, and never leaves the box. The starts differ in the first step, whatever their order.
    """
    lower, upper = regions.lower[starts.tags], regions.upper[starts.tags]
    spread = (jnp.arange(len(starts.tags)) * 0.618034) % 1  # the golden ratio's multiples fill [0, 1] evenly
    reach = (upper - lower) * (REACH[0] ** (1 - spread) * REACH[1] ** spread)[:, None]

    def margins(x: Float[Array, "N D"]) -> Float[Array, "N"]:
        return margin(prop, starts.tags, network.apply(variables, x))

    slope = jax.grad(lambda x: margins(x).sum())

    def step(carry, number):
        x, best, least = carry
        x = jnp.clip(x - reach * SHRINK**number * jnp.sign(slope(x)), lower, upper)
        reached = margins(x)
        best = jnp.where((reached < least)[:, None], x, best)
        return (x, best, jnp.minimum(reached, least)), None

    start = starts.inputs, starts.inputs, margins(starts.inputs)
    (_, best, least), _ = jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.float32))
    return Samples(best, starts.tags), least
