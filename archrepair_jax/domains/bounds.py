"""Linear bounds of a feed-forward network on boxes, sound with respect to rounding.

Each activation is enclosed between two parallel lines on the interval of its input, ``slope * z + centre ± radius``, so
that every output is an affine function of the input plus an error that is known to be small: the zonotope of DeepZ
(Singh et al. 2018), evaluated backward from the rows of interest as in CROWN (Zhang et al. 2018) and Fast-Lin (Weng et
al. 2018). Parallel lines need one backward pass for both sides where CROWN's need two; on ACAS Xu's boxes they prove
about as much per box.

**Rounding.** Let all numbers be float64. However a sum of ``n`` products is ordered, it is off by at most
``gamma = n u / (1 - n u)`` times the sum of their absolute values, ``u = 2 ** -53`` (Higham, *Accuracy and Stability of
Numerical Algorithms*, section 3.1). Every error made at a layer is such a multiple of magnitudes that the bounds
themselves limit, so ``rounding`` enlarges the layer's radius by it, with twice the ``n`` that is needed; what the radii
add up to is enlarged in the end. So the bounds hold for the network of real numbers that has these weights. Float32
evaluation of the same network differs from that by about 1e-6 of its scores: proofs ask for a larger margin.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.domains.properties import Property
from archrepair_jax.domains.sampling import Cells
from archrepair_jax.errors import InputError
from archrepair_jax.models.layers import Head
from archrepair_jax.models.mlp import ACTIVATIONS, Layer
from archrepair_jax.models.network import Network, Variables

UNIT = 2.0**-53
TINY = 2.0**-126  # keeps a quotient of two zeros from being no number
LEAK = 0.01  # the slope of jax.nn.leaky_relu
FUNCTION_ERROR = 1e-12  # by which tanh and sigmoid, and their slopes, may be off (they are off by some 1e-16)


class Affine(NamedTuple):
    """One affine layer, ``weight @ h + bias``."""

    weight: Float[Array, "N M"]
    bias: Float[Array, "N"]


class Enclosure(NamedTuple):
    """``slope * z + centre ± radius`` holds the activation of ``z``, for all ``z`` of an interval."""

    slope: Float[Array, "B N"]
    centre: Float[Array, "B N"]
    radius: Float[Array, "B N"]


class Linear(NamedTuple):
    """``matrix @ x + offset ± radius`` holds M values for all ``x`` of a box.

    ``blame`` is no bound: it says how much of the radius would go if the box were narrow in a dimension. The radius is
    made of the activations' radii, and each of these is there because inputs move that neuron: it is blamed on them as
    they do.
    """

    matrix: Float[Array, "B M D"]
    offset: Float[Array, "B M"]
    radius: Float[Array, "B M"]
    blame: Float[Array, "B M D"]


def chain(network: Network, variables: Variables) -> tuple[tuple[Affine, ...], str]:
    """A network's affine layers, in its variables' precision, and the name of the activation between them.

    For sound bounds they have to become float64. Raises InputError, naming the block or the activation, for a network
    that is no chain of them.
    """
    layers, activations = [], []
    for name, module in network.blocks:
        if not isinstance(module, Layer | Head) or len(network.image_shape) != 1:
            raise InputError(f"no proof for the block {name} ({type(module).__name__}): only plain mlps have bounds")
        if isinstance(module, Layer):
            activations.append(module.activation)
        own = variables["params"][name]["linear"]
        layers.append(Affine(own["kernel"].T, own["bias"]))
    for activation in activations:
        if activation not in ENCLOSURES:
            raise InputError(f"no proof for the activation {activation}: bounds exist for {', '.join(ENCLOSURES)}")
    return tuple(layers), (activations or ["relu"])[0]


def piecewise(low: Float[Array, "B N"], high: Float[Array, "B N"], leak: float) -> Enclosure:
    """Of ``max(z, leak z)``; the gap to a line of slope in [leak, 1] is largest at an end, and smallest, 0, at 0."""
    slope = jnp.where(low >= 0, 1.0, jnp.where(high <= 0, leak, (high - leak * low) / (high - low)))
    slope = jnp.clip(slope, leak, 1.0)
    crosses = (low < 0) & (high > 0)
    gap = jnp.where(crosses, jnp.maximum((1 - slope) * high, (leak - slope) * low), 0.0)
    return Enclosure(slope, gap / 2, gap / 2)


def sigmoidal(function: Callable, derivative: Callable) -> Callable[[Array, Array], Enclosure]:
    """Of a function whose slope falls away from 0: less the smaller of its slopes at the ends, it still rises."""

    def enclosure(low, high):
        slope = jnp.minimum(derivative(low), derivative(high)) - FUNCTION_ERROR
        slope = jnp.maximum(slope, 0.0)
        bottom, top = function(low) - slope * low, function(high) - slope * high
        return Enclosure(slope, (bottom + top) / 2, (top - bottom) / 2 + FUNCTION_ERROR)

    return enclosure


ENCLOSURES: dict[str, Callable[[Array, Array], Enclosure]] = {
    "relu": lambda low, high: piecewise(low, high, 0.0),
    "leaky_relu": lambda low, high: piecewise(low, high, LEAK),
    "tanh": sigmoidal(jnp.tanh, lambda z: 1 - jnp.tanh(z) ** 2),
    "sigmoid": sigmoidal(jax.nn.sigmoid, lambda z: jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)),
}


def linear_bounds(
    layers: tuple[Affine, ...],
    activation: str,
    lower: Float[Array, "B D"],
    upper: Float[Array, "B D"],
    rows: Float[Array, "B M K"],
) -> Linear:
    """Linear bounds of ``rows @ y`` on boxes, where ``y`` are the network's outputs; sound if all is float64."""
    gamma = rounding(layers)
    largest = jnp.maximum(jnp.abs(lower), jnp.abs(upper))  # of each layer's inputs
    enclosures: list[Enclosure] = []
    movers: list[Float[Array, "B N D"]] = []  # of each activation's input, the shares that the inputs have in its range
    for depth, layer in enumerate(layers):
        products = largest @ jnp.abs(layer.weight).T + jnp.abs(layer.bias)  # what an error here is a multiple of
        if depth == len(layers) - 1:
            found = backward(layers, enclosures, movers, lower, upper, rows)
            return found._replace(radius=found.radius + gamma * jnp.einsum("bmk,bk->bm", jnp.abs(rows), products))
        identity = jnp.broadcast_to(jnp.eye(len(layer.bias)), (len(lower), len(layer.bias), len(layer.bias)))
        linear = backward(layers[: depth + 1], enclosures, movers, lower, upper, identity)
        moves = jnp.abs(linear.matrix) * (upper - lower)[:, None]
        movers.append(moves / jnp.maximum(moves.sum(-1, keepdims=True), TINY))
        low, high = interval(linear, lower, upper)
        low, high = low - gamma * products, high + gamma * products
        exact = ENCLOSURES[activation](low, high)
        largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
        errors = exact.slope * products + exact.slope * largest + jnp.abs(exact.centre) + exact.radius
        enclosures.append(exact._replace(radius=exact.radius + gamma * errors))
        if activation in ("tanh", "sigmoid"):
            largest = jnp.ones_like(largest)
    raise AssertionError("a network has at least one layer")


def rounding(layers: tuple[Affine, ...]) -> float:
    """The relative error of any sum that ``backward`` forms, twice over."""
    terms = max(max(layer.weight.shape) for layer in layers) + 4 * len(layers) + 8
    return 2 * terms * UNIT / (1 - terms * UNIT)


def backward(
    layers: tuple[Affine, ...],
    enclosures: list[Enclosure],
    movers: list[Float[Array, "B N D"]],
    lower: Float[Array, "B D"],
    upper: Float[Array, "B D"],
    rows: Float[Array, "B M N"],
) -> Linear:
    """Linear bounds of ``rows @ z``, where ``z`` is what comes out of the last of ``layers``."""
    gamma = rounding(layers)
    matrix = rows @ layers[-1].weight
    offset, radius = rows @ layers[-1].bias, jnp.zeros(rows.shape[:2], rows.dtype)
    blame = jnp.zeros((*rows.shape[:2], lower.shape[1]), rows.dtype)
    for layer, enclosure, moved in zip(layers[-2::-1], enclosures[::-1], movers[::-1], strict=True):
        offset = offset + jnp.einsum("bmn,bn->bm", matrix, enclosure.centre)
        errors = jnp.abs(matrix) * enclosure.radius[:, None]
        radius = radius + errors.sum(-1)
        blame = blame + errors @ moved
        matrix = matrix * enclosure.slope[:, None]
        offset = offset + matrix @ layer.bias
        matrix = matrix @ layer.weight
    largest = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    inputs = jnp.einsum("bmd,bd->bm", jnp.abs(matrix), largest)
    return Linear(matrix, offset, (1 + 2 * gamma) * radius + 2 * gamma * (inputs + jnp.abs(offset)), blame)


def interval(
    linear: Linear, lower: Float[Array, "B D"], upper: Float[Array, "B D"]
) -> tuple[Float[Array, "B M"], Float[Array, "B M"]]:
    """The least and the greatest value on the box."""
    middle = (lower + upper) / 2
    reach = jnp.maximum(upper - middle, middle - lower) * (1 + 4 * UNIT)
    centre = jnp.einsum("bmd,bd->bm", linear.matrix, middle) + linear.offset
    spread = jnp.einsum("bmd,bd->bm", jnp.abs(linear.matrix), reach) + linear.radius
    return centre - spread, centre + spread


def outputs(layers: tuple[Affine, ...], activation: str, x: Float[Array, "... D"]) -> Float[Array, "... K"]:
    """The network's outputs, in the precision of ``x``."""
    for layer in layers[:-1]:
        x = ACTIVATIONS[activation](x @ layer.weight.T + layer.bias)
    return x @ layers[-1].weight.T + layers[-1].bias


def certain_slack(network: Network, variables: Variables, prop: Property, cells: Cells) -> Float[Array, "C"]:
    """What ``properties.margin`` is at least on whole cells; sound if all is float64.

    Differentiable in the variables, so that a network can learn to be easy to prove. Raises InputError as ``chain``.
    """
    layers, activation = chain(network, variables)
    rows, bound = (jnp.asarray(part, cells.lower.dtype)[cells.tags] for part in (prop.matrix, prop.bound))
    rows = rows.reshape(len(rows), -1, rows.shape[-1])
    least, _ = interval(linear_bounds(layers, activation, cells.lower, cells.upper, rows), cells.lower, cells.upper)
    return (least.reshape(bound.shape) - bound).max(-1).min(-1)
