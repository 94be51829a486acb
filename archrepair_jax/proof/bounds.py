"""Linear bounds of a feed-forward network on boxes, sound with respect to rounding.

On the interval of its input, each activation lies between two lines, and through these a bound of some rows of outputs
goes backward to the inputs (CROWN, Zhang et al. 2018). Above an activation that bends there is one best line, its
chord; below it are many, and which one is best depends on the rows. For the neurons' own intervals it is the one that
is nearer to the chord, as in CROWN. For the rows of interest it is the one that is higher where the bound is worst:
there the gradient of the bound points up the slope. This is one step of alpha-CROWN (Xu et al. 2021), but a whole one,
from end to end, which is our choice: on ACAS Xu's boxes one step decides nearly all that a linear program over the same
lines does. Around sigmoid and tanh the two lines are parallel.

**Rounding.** Let all numbers be float64. However a sum of ``n`` products is ordered, it is off by at most
``gamma = n u / (1 - n u)`` times the sum of their absolute values, ``u = 2 ** -53`` (Higham, *Accuracy and Stability of
Numerical Algorithms*, section 3.1). Every error made at a layer is such a multiple of magnitudes that the bounds
themselves limit, so ``rounding`` enlarges the layer's radius by it, with four times the ``n`` that is needed; what the
radii add up to is enlarged in the end. So the bounds hold for the network of real numbers that has these weights.
Float32 evaluation of the same network differs from that by about 1e-6 of its scores.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.families.mlp import ACTIVATIONS, LEAK
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import exact
from archrepair_jax.regions.properties import Property
from archrepair_jax.regions.sampling import Cells

UNIT = 2.0**-53
TINY = 2.0**-126  # keeps a quotient of two zeros from being no number
FUNCTION_ERROR = 1e-12  # by which tanh and sigmoid, and their slopes, may be off (they are off by some 1e-16)


class Affine(NamedTuple):
    """One affine layer, ``weight @ h + bias``."""

    weight: Float[Array, "N M"]
    bias: Float[Array, "N"]


class Enclosure(NamedTuple):
    """``slope * z + centre ± radius`` holds the activation of ``z``, for all ``z`` of an interval.

    From below all lines ``s * z + centre - radius`` do, with ``s`` from ``gentle`` to ``steep``.
    """

    slope: Float[Array, "B N"]
    centre: Float[Array, "B N"]
    radius: Float[Array, "B N"]
    gentle: Float[Array, "B N"]
    steep: Float[Array, "B N"]


class Stage(NamedTuple):
    """The activations of one layer.

    Attributes:
        lines: around them.
        error: what rounding adds to the lines' distance.
        shares: of each activation's range, that which each input is the reason of.
    """

    lines: Enclosure
    error: Float[Array, "B N"]
    shares: Float[Array, "B N D"]


class Linear(NamedTuple):
    """``matrix @ x + offset - radius`` is at most the M values in question, for all ``x`` of a box.

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
        if not module.affine or len(network.image_shape) != 1:
            raise InputError(f"no proof for the block {name} ({type(module).__name__}): only plain mlps have bounds")
        if module.activation:
            activations.append(module.activation)
        own = variables["params"][name]["linear"]
        layers.append(Affine(own["kernel"].T, own["bias"]))
    for activation in activations:
        if activation not in ENCLOSURES:
            raise InputError(f"no proof for the activation {activation}: bounds exist for {', '.join(ENCLOSURES)}")
    return tuple(layers), (activations or ["relu"])[0]


def has_bounds(network: Network, variables: Variables) -> bool:
    """Whether ``chain`` knows what the network is made of."""
    try:
        chain(network, variables)
    except InputError:
        return False
    return True


def piecewise(low: Float[Array, "B N"], high: Float[Array, "B N"], leak: float) -> Enclosure:
    """Of ``max(z, leak z)``: its chord, and from below lines through 0, of slopes in [leak, 1]."""
    slope = jnp.where(low >= 0, 1.0, jnp.where(high <= 0, leak, (high - leak * low) / (high - low)))
    slope = jnp.clip(slope, leak, 1.0)
    crosses = (low < 0) & (high > 0)
    gap = jnp.where(crosses, jnp.maximum((1 - slope) * high, (leak - slope) * low), 0.0)
    return Enclosure(slope, gap / 2, gap / 2, jnp.where(crosses, leak, slope), jnp.where(crosses, 1.0, slope))


def sigmoidal(function: Callable, derivative: Callable) -> Callable[[Array, Array], Enclosure]:
    """Of a function whose slope falls away from 0: less the smaller of its slopes at the ends, it still rises."""

    def enclosure(low, high):
        slope = jnp.minimum(derivative(low), derivative(high)) - FUNCTION_ERROR
        slope = jnp.maximum(slope, 0.0)
        bottom, top = function(low) - slope * low, function(high) - slope * high
        return Enclosure(slope, (bottom + top) / 2, (top - bottom) / 2 + FUNCTION_ERROR, slope, slope)

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
    """Two bounds from below for each of ``rows @ y`` on boxes, one after the other; sound if all is float64.

    ``y`` are the network's outputs. A gradient takes the neurons' intervals for given, which is our choice: it costs a
    third of the whole one.
    """
    gamma, widths = rounding(layers), (upper - lower)[:, None]
    largest = jnp.maximum(jnp.abs(lower), jnp.abs(upper))  # of each layer's inputs
    stages: list[Stage] = []
    given = jax.lax.stop_gradient(layers[:-1])
    for depth, layer in enumerate(given, 1):
        products = largest @ jnp.abs(layer.weight).T + jnp.abs(layer.bias)  # what an error here is a multiple of
        size = len(layer.bias)
        both = jnp.broadcast_to(jnp.concatenate([jnp.eye(size), -jnp.eye(size)]), (len(lower), 2 * size, size))
        linear = backward(given[:depth], stages, [nearer(stage.lines) for stage in stages], lower, upper, both)
        ends = least(linear, lower, upper)
        low, high = ends[:, :size] - gamma * products, gamma * products - ends[:, size:]
        lines = ENCLOSURES[activation](low, high)
        largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
        error = gamma * (lines.steep * (products + largest) + jnp.abs(lines.centre) + lines.radius)
        moves = jnp.abs(linear.matrix) * widths / 2 + linear.blame
        moves = moves[:, :size] + moves[:, size:]
        stages.append(Stage(lines, error, moves / jnp.maximum(moves.sum(-1, keepdims=True), TINY)))
        if activation in ("tanh", "sigmoid"):
            largest = jnp.ones_like(largest)
    products = largest @ jnp.abs(layers[-1].weight).T + jnp.abs(layers[-1].bias)
    found = sharpened(layers, stages, lower, upper, rows)
    error = gamma * jnp.einsum("bmk,bk->bm", jnp.abs(rows), products)
    return found._replace(radius=found.radius + jnp.repeat(error, 2, axis=1))


def nearer(lines: Enclosure) -> Float[Array, "B 1 N"]:
    """Of the extreme slopes from below, that which is nearer to the chord's."""
    return jnp.where(2 * lines.slope > lines.gentle + lines.steep, lines.steep, lines.gentle)[:, None]


def sharpened(
    layers: tuple[Affine, ...],
    stages: list[Stage],
    lower: Float[Array, "B D"],
    upper: Float[Array, "B D"],
    rows: Float[Array, "B M K"],
) -> Linear:
    """Two bounds ``backward`` for each row: with the chords' slopes, and with those that these suggest."""

    def bounded(slopes):
        linear = backward(layers, stages, slopes, lower, upper, rows)
        return least(linear, lower, upper).sum(), linear

    chords = [jnp.repeat(lines.slope[:, None], rows.shape[1], axis=1) for lines, _, _ in stages]
    gradient, first = jax.grad(bounded, has_aux=True)(chords)
    extremes = [(lines.steep[:, None], lines.gentle[:, None]) for lines, _, _ in stages]
    _, second = bounded([jnp.where(g > 0, *pair) for g, pair in zip(gradient, extremes, strict=True)])
    both = jax.tree.map(lambda *pair: jnp.stack(pair, 2), first, second)
    return jax.tree.map(lambda array: array.reshape(len(lower), -1, *array.shape[3:]), both)


def rounding(layers: tuple[Affine, ...]) -> float:
    """The relative error of any sum that ``backward`` forms, four times over, so that a checker's bounds are closer."""
    terms = max(max(layer.weight.shape) for layer in layers) + 4 * len(layers) + 8
    return 4 * terms * UNIT / (1 - terms * UNIT)


def backward(
    layers: tuple[Affine, ...],
    stages: list[Stage],
    slopes: list[Float[Array, "B #M _N"]],
    lower: Float[Array, "B D"],
    upper: Float[Array, "B D"],
    rows: Float[Array, "B M N"],
) -> Linear:
    """Bounds from below of ``rows @ z``, where ``z`` is what comes out of the last of ``layers``.

    ``slopes``, each from ``gentle`` to ``steep``, are those of the lines from below.
    """
    gamma = rounding(layers)
    matrix = rows @ layers[-1].weight
    offset, radius = rows @ layers[-1].bias, jnp.zeros(rows.shape[:2], rows.dtype)
    blame = jnp.zeros((*rows.shape[:2], lower.shape[1]), rows.dtype)
    for layer, (lines, error, shares), slope in zip(layers[-2::-1], stages[::-1], slopes[::-1], strict=True):
        offset = offset + jnp.einsum("bmn,bn->bm", matrix, lines.centre)
        errors = jnp.abs(matrix) * (lines.radius + error)[:, None]
        radius = radius + errors.sum(-1)
        blame = blame + errors @ shares
        matrix = matrix * jnp.where(matrix > 0, slope, lines.slope[:, None])
        offset = offset + matrix @ layer.bias
        matrix = matrix @ layer.weight
    largest = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    inputs = jnp.einsum("bmd,bd->bm", jnp.abs(matrix), largest)
    return Linear(matrix, offset, (1 + 2 * gamma) * radius + 2 * gamma * (inputs + jnp.abs(offset)), blame)


def least(linear: Linear, lower: Float[Array, "B D"], upper: Float[Array, "B D"]) -> Float[Array, "B M"]:
    """What the values are at least on the box."""
    middle = (lower + upper) / 2
    reach = jnp.maximum(upper - middle, middle - lower) * (1 + 4 * UNIT)
    centre = jnp.einsum("bmd,bd->bm", linear.matrix, middle) + linear.offset
    return centre - jnp.einsum("bmd,bd->bm", jnp.abs(linear.matrix), reach) - linear.radius


def outputs(layers: tuple[Affine, ...], activation: str, x: Float[Array, "... D"]) -> Float[Array, "... K"]:
    """The network's outputs, in the precision of ``x``."""
    for layer in layers[:-1]:
        x = ACTIVATIONS[activation](x @ layer.weight.T + layer.bias)
    return x @ layers[-1].weight.T + layers[-1].bias


@exact
def certain_slack(network: Network, variables: Variables, prop: Property, cells: Cells) -> Float[Array, "C"]:
    """What ``properties.margin`` is at least on whole cells; sound if all is float64.

    Differentiable in the variables, so that a network can learn to be easy to prove. Raises InputError as ``chain``.
    """
    layers, activation = chain(network, variables)
    rows, bound = (jnp.asarray(part, cells.lower.dtype)[cells.tags] for part in (prop.matrix, prop.bound))
    rows = rows.reshape(len(rows), -1, rows.shape[-1])
    ends = least(linear_bounds(layers, activation, cells.lower, cells.upper, rows), cells.lower, cells.upper)
    return (ends.reshape(*bound.shape, 2).max(-1) - bound).max(-1).min(-1)
