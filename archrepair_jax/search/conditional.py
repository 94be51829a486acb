"""Blocks that look at their input: candidates, each of which reads the input's own statistics or is steered by them.

``y = x + sum_k g_k(s(x)) (c_k(x) - x) + ...``: fixed filters ``c_k`` behind gates ``g_k``, and changes that learn. One
static function cannot serve noise, blur, low contrast and clean images at once, whatever its weights; one that measures
what has come in can. That fixed filters suit corruptions, which statistics are measured, and the form above are ours.
A gate may be negative: a negative low pass is an unsharp mask. Everything starts at zero.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.models.blocks import Block
from archrepair_jax.models.network import Variables
from archrepair_jax.search.filters import FEW_CHANNELS, FLOOR, GATED, described, deviation_of, measured, smoothed
from archrepair_jax.search.operations import SPATIAL, VECTOR

FORM = "filters"  # how JSON tells this genotype from a graph of operations
MOST_HIDDEN = 1024  # units of a genotype in a file
ROUTES = 4  # sets of statistics
OUT = "out"  # the parameters of a learned change that begin at zero, and scale it
Changes = Float[Array, "B ... C"]  # in units of the reference spread
zeros = nn.initializers.zeros


def in_shape_of(z: Changes, values: Float[Array, "B C"]) -> Changes:
    """One number a channel, for all pixels."""
    return values.reshape(values.shape[0], *(1,) * (z.ndim - 2), -1)


class Modulation(nn.Module):
    """Each channel's gain and bias from the statistics (FiLM, Perez et al., AAAI 2018)."""

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        gain, bias = jnp.split(nn.Dense(2 * z.shape[-1], kernel_init=zeros, precision="highest", name=OUT)(s), 2, -1)
        return z * in_shape_of(z, gain) + in_shape_of(z, bias)


class RoutedStatistics(nn.Module):
    """``ROUTES`` sets of a gain and a bias a channel, mixed by the statistics.

    After normalisation with auxiliary statistics (AugMax-DuBIN, Wang et al., NeurIPS 2021), with soft routing.
    """

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        route = nn.softmax(nn.Dense(ROUTES, precision="highest", name="route")(s))
        sets = nn.Dense(2 * z.shape[-1], use_bias=False, kernel_init=zeros, precision="highest", name=OUT)(route)
        gain, bias = jnp.split(sets, 2, -1)
        return z * in_shape_of(z, gain) + in_shape_of(z, bias)


class Excitation(nn.Module):
    """Each channel's gain from all channels' means (squeeze-and-excitation, Hu et al., CVPR 2018)."""

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        means = z.mean(tuple(range(1, z.ndim - 1)))
        squeezed = nn.relu(nn.Dense(max(4, z.shape[-1] // 4), name="squeeze")(means))
        return z * in_shape_of(z, nn.Dense(z.shape[-1], kernel_init=zeros, name=OUT)(squeezed))


class Gain(nn.Module):
    """Each channel's gain, whatever has come in."""

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        return z * self.param(OUT, zeros, z.shape[-1:])


class Bias(nn.Module):
    """Each channel's bias, whatever has come in."""

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        return jnp.broadcast_to(self.param(OUT, zeros, z.shape[-1:]), z.shape)


class Convolutions(nn.Module):
    """12 channels of 3 by 3 and back: what capacity without condition can do."""

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        return nn.Conv(z.shape[-1], (3, 3), kernel_init=zeros, name=OUT)(nn.relu(nn.Conv(12, (3, 3), name="in")(z)))


class Static(nn.Module):
    """An operation of the static search, without its normalisation."""

    operation: str

    @nn.compact
    def __call__(self, z: Changes, s: Float[Array, "B S"]) -> Changes:
        changed = (SPATIAL | VECTOR)[self.operation]()(z, 1)
        return nn.Dense(z.shape[-1], use_bias=False, kernel_init=zeros, name=OUT)(changed)


RESIDUAL = "residual_conv"
ANYWHERE: dict[str, Callable[[], nn.Module]] = {
    "film": Modulation,
    "routed_statistics": RoutedStatistics,
    "gain": Gain,
    "bias": Bias,
}
ON_MAPS: dict[str, Callable[[], nn.Module]] = {
    RESIDUAL: Convolutions,
    "squeeze_excitation": Excitation,
    **{name: functools.partial(Static, name) for name in SPATIAL},
}
ON_VECTORS: dict[str, Callable[[], nn.Module]] = {name: functools.partial(Static, name) for name in VECTOR}
LEARNED = ANYWHERE | ON_MAPS | ON_VECTORS
OF_MAPS, OF_VECTORS = (*GATED, *ANYWHERE, *ON_MAPS), (*ANYWHERE, *ON_VECTORS)
FILTERS = (*GATED, *LEARNED)


@jax.custom_jvp
def plus(x: Array, change: Array) -> Array:
    """``x + change``, and ``x`` bit for bit where the change is zero of either sign (-0.0 + 0.0 is 0.0)."""
    return jnp.where(change == 0, x, x + change)


@plus.defjvp
def plus_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return plus(*primals), tangents[0] + tangents[1]


@dataclasses.dataclass(frozen=True)
class Filters:
    """A genotype of a block that looks at its input: which candidates, and how their gates read the statistics.

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
        return tuple(name for name in self.operations if name in GATED)

    @property
    def learned(self) -> tuple[str, ...]:
        return tuple(name for name in self.operations if name in LEARNED)

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
    gates' values, [B, K, 1] or [B, K, C], in the order of ``gated``, into the collection ``gates``. The learned changes
    are of what the filters leave.
    """

    genotype: Filters

    def __call__(
        self, x: Float[Array, "B ..."], train: bool, mixture: Float[Array, "O"] | None = None
    ) -> Float[Array, "B ..."]:
        """With a ``mixture`` each candidate's change is weighed, in the order of ``operations``."""
        return self.join(x, self.branch(x, train, mixture), train)

    @nn.compact
    def branch(
        self, x: Float[Array, "B ..."], train: bool, mixture: Float[Array, "O"] | None = None
    ) -> Float[Array, "B ..."]:
        """What is to be added to ``x``. Raises InputError for an operation that ``x`` does not fit."""
        fitting, are = (OF_MAPS, "maps") if x.ndim == 4 else (OF_VECTORS, "vectors")
        if wrong := [name for name in self.genotype.operations if name not in fitting]:
            raise InputError(f"{wrong[0]} does not fit {are}: choose from {', '.join(fitting)}")
        own = self.variable("batch_stats", "channels", standard, x.shape[-1]).value
        mean, deviation = own["mean"], deviation_of(own["var"])
        s = self.standardised(described(measured(x), mean, deviation))
        weights = dict.fromkeys(self.genotype.operations, 1.0)
        if mixture is not None:
            weights = dict(zip(self.genotype.operations, mixture, strict=True))
        change = self.filtered(x, s, mean, deviation, weights)
        z = (x + change - mean) / deviation
        for name in self.genotype.learned:
            change += weights[name] * deviation * LEARNED[name](name=name)(z, s)
        return change

    def filtered(self, x: Array, s: Array, mean: Array, deviation: Array, weights: dict[str, Any]) -> Array:
        """What the gated filters change."""
        change, low = jnp.zeros_like(x), smoothed(x) if self.genotype.gated else x
        gates = self.gates(s, x.shape[-1])
        self.sow("gates", "values", gates, init_fn=lambda: None, reduce_fn=lambda _, new: new)
        for k, name in enumerate(self.genotype.gated):
            share = (weights[name] * gates[:, k])[:, None, None, :]
            change += share * (GATED[name](x, low, mean, deviation) - x)
        return change

    def standardised(self, values: Float[Array, "B S"]) -> Float[Array, "B S"]:
        """The statistics beside those of passing examples."""
        own = self.variable("batch_stats", "statistics", standard, values.shape[-1]).value
        return (values - own["mean"]) / jnp.sqrt(own["var"] + FLOOR**2)

    def gates(self, s: Float[Array, "B S"], channels: int) -> Float[Array, "B K c"]:
        """How much of each gated filter an input gets, 0 being nothing of it; in images all channels the same."""
        count, own = len(self.genotype.gated), channels if channels > FEW_CHANNELS else 1
        if not count:
            return jnp.zeros((s.shape[0], 0, own))
        if self.genotype.hidden:
            s = nn.tanh(nn.Dense(self.genotype.hidden, precision="highest", name="hidden")(s))
        return nn.Dense(count * own, kernel_init=zeros, precision="highest", name="gate")(s).reshape(-1, count, own)

    def join(self, x, branch, train):
        return plus(x, branch)


def standard(size: int) -> dict[str, Array]:
    return {"mean": jnp.zeros(size), "var": jnp.ones(size)}


def some_of(variables: Variables, whole: Filters, chosen: Filters) -> Variables:
    """The variables of a block of the ``chosen`` ones among the candidates of a ``whole`` one."""
    params = variables["params"]
    made = {name: params[name] for name in chosen.learned}
    if chosen.gated:
        rows = jnp.asarray([whole.gated.index(name) for name in chosen.gated])

        def share(leaf: Array) -> Array:
            return leaf.reshape(*leaf.shape[:-1], len(whole.gated), -1)[..., rows, :].reshape(*leaf.shape[:-1], -1)

        made |= {"gate": jax.tree.map(share, params["gate"])}
        made |= {"hidden": params["hidden"]} if whole.hidden else {}
    return variables | {"params": made}
