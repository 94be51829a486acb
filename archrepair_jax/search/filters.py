"""Fixed filters of images and feature maps, and the statistics by which a block tells what has come in.

All of it is equivariant to affine maps of the channels, up to floors of a hundredth of their spread, so it does not
matter whether it stands in front of an input's normalisation or behind.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, "B H W C"]

FLOOR = 0.02  # of the reference spread: what is flatter than this counts as flat; in images, about a grey level
LEAST = 1e-3  # of any reference spread
FEW_CHANNELS = 4  # up to so many, each channel's statistics count for themselves


def smoothed(x: Maps) -> Maps:
    """The binomial low pass of 3 by 3 taps (1-2-1), edge pixels repeated."""
    for axis in (1, 2):
        before, _, behind = shifted(x, axis)
        x = 0.25 * before + 0.5 * x + 0.25 * behind
    return x


def median(x: Maps) -> Maps:
    """The median of 3 by 3 pixels, edge pixels repeated; at ties its derivative is shared out.

    Of three sorted columns it is the median of the largest minimum, the median median and the smallest maximum (Smith,
    Implementing Median Filters in XC4000E FPGAs, 1996). Columns serve three pixels each, so 18 minima and maxima are
    enough; a sort, and with it ``jnp.median``, takes far longer.
    """
    low, middle, high = ordered(*shifted(x, 1))
    lows, middles, highs = shifted(low, 2), shifted(middle, 2), shifted(high, 2)
    lowest, highest = jnp.maximum(jnp.maximum(*lows[:2]), lows[2]), jnp.minimum(jnp.minimum(*highs[:2]), highs[2])
    return ordered(lowest, ordered(*middles)[1], highest)[1]


def ordered(a: Maps, b: Maps, c: Maps) -> tuple[Maps, Maps, Maps]:
    """The least, the middle and the greatest of three."""
    a, b = jnp.minimum(a, b), jnp.maximum(a, b)
    b, c = jnp.minimum(b, c), jnp.maximum(b, c)
    return jnp.minimum(a, b), jnp.maximum(a, b), c


def shifted(x: Maps, axis: int) -> tuple[Maps, Maps, Maps]:
    """The pixel before, each pixel, and the one behind, along an axis; edge pixels repeated."""
    size, part = x.shape[axis], functools.partial(jax.lax.slice_in_dim, x, axis=axis)
    before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
    behind = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
    return before, x, behind


def spread(x: Maps, floor: Float[Array, "#C"] | float) -> Float[Array, "B C"]:
    """Each channel's standard deviation over an image, with a floor under it that is smooth, also for flat ones."""
    return jnp.sqrt(x.var((1, 2)) + jnp.square(floor))


def normalised(x: Maps, mean: Float[Array, "C"], deviation: Float[Array, "C"]) -> Maps:
    """Every channel of every image with this mean and this spread (what is flat stays flat)."""
    gain = deviation / spread(x, FLOOR * deviation)
    return (x - x.mean((1, 2), keepdims=True)) * gain[:, None, None, :] + mean


Filter = Callable[[Maps, Maps, Float[Array, "C"], Float[Array, "C"]], Maps]  # x, its low pass, reference mean, spread
GATED: dict[str, Filter] = {
    "low_pass": lambda x, low, mean, deviation: low,
    "median": lambda x, low, mean, deviation: median(x),
    "contrast": lambda x, low, mean, deviation: normalised(x, mean, deviation),
    "low_pass_contrast": lambda x, low, mean, deviation: normalised(low, mean, deviation),
    "median_contrast": lambda x, low, mean, deviation: normalised(median(x), mean, deviation),
}


def measured(x: Float[Array, "B ..."]) -> Float[Array, "B M C"]:
    """Of maps each channel's mean and spread, those of its high frequencies, and the mean of the next band, M = 5.

    Of vectors themselves, M = 1.
    """
    if x.ndim == 2:
        return x[:, None]
    low = smoothed(x)
    high, band = jnp.abs(x - low), jnp.abs(low - smoothed(low))
    mean = x.mean((1, 2)), high.mean((1, 2)), band.mean((1, 2))
    return jnp.stack([mean[0], spread(x, LEAST), mean[1], spread(high, LEAST), mean[2]], 1)


def described(
    values: Float[Array, "B M C"], mean: Float[Array, "C"], deviation: Float[Array, "C"]
) -> Float[Array, "B S"]:
    """``measured`` in units of the reference spread, the mean as it is and the others' logarithms; S = 5C or 5.

    Of more than ``FEW_CHANNELS`` channels the mean is taken before the logarithm. Of a vector it is the mean and the
    logarithm of the spread of its standardised elements, S = 2.
    """
    values = (values - jnp.zeros(values.shape[1:]).at[0].set(mean)) / deviation
    if values.shape[1] == 1:
        elements = values[:, 0]
        return jnp.stack([elements.mean(-1), jnp.log(jnp.sqrt(elements.var(-1) + LEAST**2) + FLOOR)], -1)
    if values.shape[-1] > FEW_CHANNELS:
        values = values.mean(-1, keepdims=True)
    return jnp.concatenate([values[:, 0], jnp.log(values[:, 1:] + FLOOR).reshape(values.shape[0], -1)], -1)


def reference(values: Float[Array, "N M C"]) -> dict[str, dict[str, Array]]:
    """What a block compares its inputs with, from ``measured`` passing examples: its ``batch_stats``."""
    mean = values[:, 0].mean(0)
    var = jnp.square(values[:, 1].mean(0)) if values.shape[1] > 1 else values[:, 0].var(0)
    statistics = described(values, mean, deviation_of(var))
    return {
        "channels": {"mean": mean, "var": var},
        "statistics": {"mean": statistics.mean(0), "var": statistics.var(0)},
    }


def deviation_of(var: Float[Array, "C"]) -> Float[Array, "C"]:
    return jnp.sqrt(var + LEAST**2)
