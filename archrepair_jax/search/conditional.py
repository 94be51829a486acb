"""Blocks that look at their input: fixed filters, each mixed in by a gate that reads the input's own statistics.

``y = x + sum_k g_k(s(x)) (c_k(x) - x)``. One static function cannot serve noise, blur, low contrast and clean images at
once, whatever its weights; one that measures what has come in can. That statistics of the input should steer a frozen
network is known from squeeze-and-excitation (Hu et al., CVPR 2018), feature-wise modulation (FiLM, Perez et al., AAAI
2018) and adapters for tasks of few labels (TSA, Li et al., CVPR 2022); that fixed filters suit corruptions, which
statistics are measured, and the form above are ours. A gate may be negative: a negative low pass is an unsharp mask.

All of it is equivariant to affine maps of the channels, up to floors of a hundredth of their spread, so it does not
matter whether it stands in front of an input's normalisation or behind.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.models.blocks import Block

Maps = Float[Array, "B H W C"]

FORM = "filters"  # how JSON tells this genotype from a graph of operations
MOST_HIDDEN = 1024  # units of a genotype in a file
FLOOR = 0.02  # of the reference spread: what is flatter than this counts as flat; in images, about a grey level
LEAST = 1e-3  # of any reference spread
FEW_CHANNELS = 4  # up to so many, each channel's statistics count for themselves
MEASURED = 5  # statistics of one channel


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
    padded = jnp.pad(x, [(int(a == axis),) * 2 for a in range(4)], mode="edge")
    before, behind = (jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in (0, 2))
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
RESIDUAL = "residual_conv"  # 12 channels of 3 by 3, without a gate: what capacity without condition can do
FILTERS = (*GATED, RESIDUAL)


def measured(x: Maps) -> Float[Array, "B 5 C"]:
    """Each channel's mean and spread, mean and spread of the high frequencies, and mean of the next band."""
    low = smoothed(x)
    high, band = jnp.abs(x - low), jnp.abs(low - smoothed(low))
    mean = x.mean((1, 2)), high.mean((1, 2)), band.mean((1, 2))
    return jnp.stack([mean[0], spread(x, LEAST), mean[1], spread(high, LEAST), mean[2]], 1)


def described(
    values: Float[Array, "B 5 C"], mean: Float[Array, "C"], deviation: Float[Array, "C"]
) -> Float[Array, "B S"]:
    """``measured`` in units of the reference spread, the mean as it is and the others' logarithms; S = 5C or 5.

    Of more than ``FEW_CHANNELS`` channels the mean is taken before the logarithm.
    """
    values = (values - jnp.zeros_like(values).at[:, 0].set(mean)) / deviation
    if values.shape[-1] > FEW_CHANNELS:
        values = values.mean(-1, keepdims=True)
    return jnp.concatenate([values[:, 0], jnp.log(values[:, 1:] + FLOOR).reshape(len(values), -1)], -1)


def reference(values: Float[Array, "N 5 C"]) -> dict[str, dict[str, Array]]:
    """What a block compares its inputs with, from ``measured`` passing examples: its ``batch_stats``."""
    mean, var = values[:, 0].mean(0), jnp.square(values[:, 1].mean(0))
    statistics = described(values, mean, deviation_of(var))
    return {
        "channels": {"mean": mean, "var": var},
        "statistics": {"mean": statistics.mean(0), "var": statistics.var(0)},
    }


def deviation_of(var: Float[Array, "C"]) -> Float[Array, "C"]:
    return jnp.sqrt(var + LEAST**2)


@jax.custom_jvp
def plus(x: Array, change: Array) -> Array:
    """``x + change``, and ``x`` bit for bit where the change is zero of either sign (-0.0 + 0.0 is 0.0)."""
    return jnp.where(change == 0, x, x + change)


@plus.defjvp
def plus_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return plus(*primals), tangents[0] + tangents[1]


@dataclasses.dataclass(frozen=True)
class Filters:
    """A genotype of a block that looks at its input: which filters, and how their gates read the statistics.

    Attributes:
        operations: of ``FILTERS``.
        hidden: tanh units of the gates' hidden layer; 0 makes the gates linear.
    """

    operations: tuple[str, ...] = tuple(GATED)
    hidden: int = 0

    def __post_init__(self):
        one_of("operations", self.operations, FILTERS)
        within("hidden", self.hidden, 0, MOST_HIDDEN)
        if not self.operations:
            raise InputError(f"operations is empty: choose from {', '.join(FILTERS)}")

    @property
    def gated(self) -> tuple[str, ...]:
        return tuple(name for name in self.operations if name != RESIDUAL)

    def inserted(self) -> Block:
        """The block that an edit inserts."""
        return ConditionalFilters(self)

    def as_json(self) -> dict[str, Any]:
        return {"form": FORM, "operations": list(self.operations), "hidden": self.hidden}


def filters_from_json(saved: dict[str, Any]) -> Filters:
    """The inverse of ``Filters.as_json``. Raises InputError for anything that it cannot have written."""
    try:
        if saved.keys() != {"form", "operations", "hidden"} or type(saved["hidden"]) is not int:
            raise ValueError
        if not isinstance(saved["operations"], list) or not all(isinstance(name, str) for name in saved["operations"]):
            raise ValueError
        return Filters(tuple(saved["operations"]), saved["hidden"])
    except ValueError as error:  # InputError is one
        raise InputError(f"no filters are written as {str(saved)[:80]}: take those that a run has written") from error


class ConditionalFilters(Block):
    """The block of a ``Filters``. It starts as the identity, bit for bit.

    Its collection ``batch_stats`` holds the ``reference``, which is measured once; no step changes it. It sows the
    gates' values [B, K], in the order of ``gated``, into the collection ``gates``.
    """

    genotype: Filters

    @nn.compact
    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        """What is to be added to ``x``. Raises InputError for vectors."""
        if x.ndim != 4:
            raise InputError(f"{self.genotype.operations[0]} is for images and feature maps, not for vectors")
        change, own = jnp.zeros_like(x), self.variable("batch_stats", "channels", standard, x.shape[-1]).value
        channels = own["mean"], deviation_of(own["var"])
        if self.genotype.gated:
            values, low = self.gates(described(measured(x), *channels)), smoothed(x)
            self.sow("gates", "values", values, init_fn=lambda: None, reduce_fn=lambda _, new: new)
            for k, name in enumerate(self.genotype.gated):
                change += values[:, k, None, None, None] * (GATED[name](x, low, *channels) - x)
        if RESIDUAL in self.genotype.operations:
            hidden = nn.relu(nn.Conv(12, (3, 3), name="residual_in")(x + change))
            change += nn.Conv(x.shape[-1], (3, 3), kernel_init=nn.initializers.zeros, name="residual_out")(hidden)
        return change

    def gates(self, values: Float[Array, "B S"]) -> Float[Array, "B K"]:
        """How much of each gated filter an input gets, 0 being nothing of it."""
        own = self.variable("batch_stats", "statistics", standard, values.shape[-1]).value
        s = (values - own["mean"]) / jnp.sqrt(own["var"] + FLOOR**2)
        if self.genotype.hidden:
            s = nn.tanh(nn.Dense(self.genotype.hidden, precision="highest", name="hidden")(s))
        count, zeros = len(self.genotype.gated), nn.initializers.zeros
        return nn.Dense(count, kernel_init=zeros, precision="highest", name="gate")(s)

    def join(self, x, branch, train):
        return plus(x, branch)


def standard(size: int) -> dict[str, Array]:
    return {"mean": jnp.zeros(size), "var": jnp.ones(size)}
