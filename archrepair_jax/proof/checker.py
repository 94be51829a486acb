"""Goes through the certificate of a proof once more, with bounds of its own; nothing of the prover is used here.

    python -m archrepair_jax.proof.checker CERTIFICATE NETWORK PROPERTY

**The argument.** By induction from the leaves, no input of a box is unsafe in the way that this box is about. Of a leaf
its own bounds say so. Of an inner box bounds leave a part, outside which no input is unsafe; its two children together
cover that part, and they come later in the list, so that nothing is its own reason. The first boxes are the property's.

**The bounds.** Each activation lies between two lines, and through them a form ``c @ y`` of the outputs is pulled back
to the inputs (CROWN, Zhang et al. 2018): where ``c`` is negative through the upper line, else through the lower one. To
be no looser than the prover, whose cuts it has to find again, this takes lower lines by the same rules: of extreme
slopes the one nearer to the chord's for the neurons' own intervals, and for the outputs both the chords' slopes and the
extreme ones that are higher at the point where these are worst. The prover counts rounding several times over, and
keeps back 1e-9 of the outputs' unit and 1e-6 of a box's width besides.

**Rounding.** In float64, ``n`` products and their sum in any order are off by at most ``gamma(n) = n u / (1 - n u)``
times the sum of the absolute values, ``u = 2 ** -53`` (Higham, *Accuracy and Stability of Numerical Algorithms*,
section 3.1), and by next to nothing where a product underflows. A rounded form is as good as any other: what counts is
by how much it differs from the exact one at the values that the layer can have. These are at most
``size @ |kernel| + |bias|``, where ``size`` limits what goes in, and ``gamma`` times that becomes part of each
activation's ``error``, and so does what the sums of shifts and biases are off by. All that is said here holds for the
network of real numbers that has these weights. ``enlarged`` covers how such errors are rounded themselves. An overflow
leads to infinite errors, or to values that are no numbers, and these fail every comparison by which a box is accepted.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from archrepair_jax.errors import InputError
from archrepair_jax.models.formats.dense import Dense, to_layers
from archrepair_jax.models.formats.nnet import read_nnet
from archrepair_jax.models.formats.onnx import read_onnx
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.proof.certificate import Certificate, fingerprint, read_certificate
from archrepair_jax.regions.properties import Property
from archrepair_jax.regions.vnnlib import read_vnnlib

UNIT = 2.0**-53
BATCH = 64  # boxes bounded at once
ROUNDS = 3  # of cutting, over all half-spaces
REST = 1e-9  # of half a box's width, by which a cut leaves more than it has to: far more than rounding can take
LEAK = 0.01  # the slope of jax.nn.leaky_relu, written once more: the networks' own is the prover's, too
FUNCTION_ERROR = 1e-13  # by which tanh, and a line beside it, may be off (they are off by some 1e-16)


class Rejected(Exception):
    """The certificate does not prove the property; the message is one line that says where it fails."""


class Tree(NamedTuple):
    """All boxes of a certificate.

    Attributes:
        lower, upper: the boxes' corners.
        region, unsafe: which of the property's intersections each is about.
        kept_lower, kept_upper: the box that its children cover together; from inf to -inf where it has none.
    """

    lower: Float[np.ndarray, "N D"]
    upper: Float[np.ndarray, "N D"]
    region: Int[np.ndarray, "N"]
    unsafe: Int[np.ndarray, "N"]
    kept_lower: Float[np.ndarray, "N D"]
    kept_upper: Float[np.ndarray, "N D"]


class Lines(NamedTuple):
    """An activation is at most ``slope * z + top``, and at least ``s * z + bottom`` for ``gentle <= s <= steep``."""

    slope: Float[np.ndarray, "B N"]
    top: Float[np.ndarray, "B N"]
    bottom: Float[np.ndarray, "B N"]
    gentle: Float[np.ndarray, "B N"]
    steep: Float[np.ndarray, "B N"]


class Stage(NamedTuple):
    """One layer, with its activations; without those that are exactly 0 on all boxes of the batch.

    Attributes:
        layer: what leads to these activations.
        lines: around them; rounding adds ``error`` to the lines' distance.
        live: which of all they are.
        bent: at which places among them a line may be another than ``z`` itself.
    """

    layer: Dense
    lines: Lines
    error: Float[np.ndarray, "B n"]
    live: Int[np.ndarray, "n"]
    bent: Int[np.ndarray, "k"]


class Forms(NamedTuple):
    """``slope @ e + offset`` is at most what M values are for every input of a box, with ``e`` in [-1, 1] across it."""

    slope: Float[np.ndarray, "B M D"]
    offset: Float[np.ndarray, "B M"]


def check(
    network: Network,
    variables: Variables,
    prop: Property,
    certificate: Certificate,
    report: Callable[[int, int], None] = lambda checked, total: None,
) -> None:
    """Returns if the certificate proves that the network has the property.

    ``report`` is called with the number of boxes bounded and of those to bound. Raises Rejected if it proves nothing,
    and InputError for a network that has no bounds here.
    """
    layers, activation = to_layers(network, variables)
    if activation not in LINES:
        raise InputError(f"no check for the activation {activation}: bounds exist for {', '.join(LINES)}")
    if certificate.network != fingerprint(network, variables):
        raise Rejected("it is about another network")
    for name in ("lower", "upper", "matrix", "bound"):
        if not np.array_equal(getattr(prop, name), getattr(certificate.prop, name)):
            raise Rejected(f"it is about another property: their {name} differs")
    matrix, bound = (np.asarray(array, np.float64) for array in (prop.matrix, prop.bound))
    if (prop.lower.shape[1], matrix.shape[3]) != (len(layers[0].kernel), len(layers[-1].bias)):
        raise Rejected("the property is about other numbers of inputs and outputs than the network's")
    layers = [Dense(*(array.astype(np.float64) for array in layer)) for layer in layers]
    tree = expand(certificate)
    # where the parts cover all of a box, nothing about it is left to show
    unsure = np.flatnonzero(~((tree.kept_lower <= tree.lower) & (tree.kept_upper >= tree.upper)).all(-1))
    for start in range(0, len(unsure), BATCH):
        batch = unsure[start : start + BATCH]
        space = tree.region[batch], tree.unsafe[batch]
        with np.errstate(all="ignore"):
            lower, upper = leave(layers, activation, tree.lower[batch], tree.upper[batch], matrix[space], bound[space])
        covered = ((tree.kept_lower[batch] <= lower) & (tree.kept_upper[batch] >= upper)).all(-1)
        refuse(batch[~covered], "is not shown to be safe (outside its parts, if it has any)")
        report(start + len(batch), len(unsure))


def expand(certificate: Certificate) -> Tree:
    """The tree, once it is one. Raises Rejected if boxes are missing, have two parents or are their own ancestors."""
    prop, child = certificate.prop, np.asarray(certificate.child)
    region, unsafe = np.nonzero((np.asarray(prop.bound) > -np.inf).all(-1))
    lower, upper = (
        np.concatenate([np.asarray(own, np.float64)[region], np.asarray(others, np.float64)])
        for own, others in ((prop.lower, certificate.lower), (prop.upper, certificate.upper))
    )
    if not len(lower) == len(upper) == len(child):
        raise Rejected(f"it has {len(lower)} lower corners, {len(upper)} upper ones and {len(child)} boxes")
    inner = np.flatnonzero(child != -1)
    first = child[inner]
    refuse(inner[(first <= inner) | (first >= len(child) - 1)], "has parts that do not come after it")
    parents = np.bincount(np.concatenate([first, first + 1]), minlength=len(child))
    refuse(np.flatnonzero(parents != (np.arange(len(child)) >= len(region))), "has the wrong number of parents")
    differs = (lower[first] != lower[first + 1]) | (upper[first] != upper[first + 1])
    meet = (differs.sum(-1) <= 1) & (upper[first] >= lower[first + 1]).all(-1)
    refuse(inner[~meet], "has parts with a gap between them")
    root = np.arange(len(child))
    root[first], root[first + 1] = inner, inner
    while (root != root[root]).any():  # each round doubles how far up the tree it has come
        root = root[root]
    kept_lower, kept_upper = np.full_like(lower, np.inf), np.full_like(upper, -np.inf)
    kept_lower[inner], kept_upper[inner] = lower[first], upper[first + 1]
    return Tree(lower, upper, region[root], unsafe[root], kept_lower, kept_upper)


def refuse(boxes: Int[np.ndarray, "N"], fault: str) -> None:
    """Raises Rejected, naming the first of these boxes, if there are any."""
    if len(boxes):
        raise Rejected(f"box {boxes[0]} {fault}")


def leave(
    layers: list[Dense],
    activation: str,
    lower: Float[np.ndarray, "B D"],
    upper: Float[np.ndarray, "B D"],
    matrix: Float[np.ndarray, "B M K"],
    bound: Float[np.ndarray, "B M"],
) -> tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]]:
    """The part of each box in which outputs with ``matrix @ y <= bound`` are not excluded: inf to -inf if all are.

    In ``a @ e <= b`` every ``a_j e_j`` is at most ``b`` less the smallest value that the other terms have.
    """
    slope, offset = forms(layers, activation, lower, upper, matrix)
    bound = bound.repeat(2, 1)
    reach = np.abs(slope).sum(-1)
    room = bound - offset + enlarged(gamma(lower.shape[1] + 8) * (np.abs(bound) + np.abs(offset) + reach))
    low, high = -np.ones_like(lower), np.ones_like(upper)
    for row in ROUNDS * list(range(bound.shape[1])):
        a = slope[:, row]
        least = np.where(a > 0, a * low, a * high)
        others = least.sum(-1, keepdims=True) - least
        end = (room[:, row, None] - others) / np.where(a == 0, 1.0, a)
        high = np.where(a > 0, np.minimum(high, end + REST), high)
        low = np.where(a < 0, np.maximum(low, end - REST), low)
    centre, width = middle(lower, upper)
    error = enlarged(8 * UNIT * (np.abs(centre) + width))
    nothing = (-reach > room).any(-1, keepdims=True) | (low > high).any(-1, keepdims=True)
    lower = np.where(nothing, np.inf, np.maximum(lower, centre + width * low - error))
    upper = np.where(nothing, -np.inf, np.minimum(upper, centre + width * high + error))
    return lower, upper


def forms(
    layers: list[Dense],
    activation: str,
    lower: Float[np.ndarray, "B D"],
    upper: Float[np.ndarray, "B D"],
    rows: Float[np.ndarray, "B M K"],
) -> Forms:
    """Two forms for each of ``rows @ y``, one after the other; ``y`` are the network's outputs. All is float64."""
    box = middle(lower, upper)
    size, live = np.abs(box[0]) + box[1], slice(None)
    share = gamma(max(max(layer.kernel.shape) for layer in layers) + 4 * len(layers) + 16)
    stages: list[Stage] = []
    for layer in layers[:-1]:
        layer = Dense(layer.kernel[live], layer.bias)
        unit = np.eye(len(layer.bias))
        slopes = [nearer(stage.lines)[:, None] for stage in stages]
        found, _ = pull(stages, layer, slopes, box, np.concatenate([unit, -unit]), share)
        reach = np.abs(found.slope).sum(-1)
        ends = found.offset - reach - enlarged(share * (np.abs(found.offset) + reach))
        error = enlarged(share * (size @ np.abs(layer.kernel) + np.abs(layer.bias)))
        low, high = ends[:, : len(unit)] - error, error - ends[:, len(unit) :]
        lines = LINES[activation](low, high)
        size, shift = np.maximum(np.abs(low), np.abs(high)), np.maximum(np.abs(lines.top), np.abs(lines.bottom))
        error = lines.steep * error + share * (lines.steep * size + shift)
        size = lines.steep * size + shift
        live = np.flatnonzero((size != 0).any(0))  # what else there is, is exactly 0
        lines = Lines(*(line[:, live] for line in lines))
        bent = np.flatnonzero(
            ((lines.slope != 1) | (lines.gentle != 1) | (lines.top != 0) | (lines.bottom != 0)).any(0)
        )
        size, layer = size[:, live], Dense(layer.kernel[:, live], layer.bias[live])
        stages.append(Stage(layer, lines, enlarged(error[:, live]), live, bent))
    last = Dense(layers[-1].kernel[live], layers[-1].bias)
    first, passed = pull(stages, last, [stage.lines.slope[:, None] for stage in stages], box, rows, share)
    second, _ = pull(stages, last, higher(stages, passed, first, box), box, rows, share)
    error = enlarged(share * np.einsum("bmk,bk->bm", np.abs(rows), size @ np.abs(last.kernel) + np.abs(last.bias)))
    slope, offset = (np.stack(pair, 2) for pair in zip(first, second, strict=True))
    shape = len(lower), 2 * rows.shape[1]
    return Forms(slope.reshape(*shape, -1), (offset - error[..., None]).reshape(shape))


def pull(
    stages: list[Stage],
    last: Dense,
    slopes: list[Float[np.ndarray, "B #M _n"]],
    box: tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]],
    rows: Float[np.ndarray, "*B M K"],
    share: float,
) -> tuple[Forms, list[Float[np.ndarray, "B M _n"]]]:
    """``rows @ z`` as forms across boxes, where ``z`` comes out of ``last``, and the coefficients of the activations.

    ``slopes`` are those of the lower lines, and ``share`` is the relative error of any sum here.
    """
    centre, width = box
    form = np.broadcast_to(rows @ last.kernel.T, (len(centre), rows.shape[-2], len(last.kernel)))
    shift, error, passed = rows @ last.bias, 0.0, []
    for stage, below in zip(stages[::-1], slopes[::-1], strict=True):
        slope, top, bottom = (line[:, None, stage.bent] for line in stage.lines[:3])
        part = form[:, :, stage.bent]
        error = error + np.einsum("bmn,bn->bm", np.abs(form), stage.error)
        shift = shift + (part * np.where(part < 0, top, bottom)).sum(-1)
        passed.append(form)
        form = form.copy()
        form[:, :, stage.bent] = part * np.where(part < 0, slope, below[:, :, stage.bent])
        shift = shift + form @ stage.layer.bias
        form = form @ stage.layer.kernel.T
    offset = shift + np.einsum("bmd,bd->bm", form, centre)
    error = error + share * (np.abs(shift) + np.einsum("bmd,bd->bm", np.abs(form), np.abs(centre) + width))
    return Forms(form * width[:, None], offset - enlarged(error)), passed[::-1]


def nearer(lines: Lines) -> Float[np.ndarray, "B n"]:
    """Of the extreme slopes of lower lines, the one that is nearer to the chord's."""
    return np.where(2 * lines.slope > lines.gentle + lines.steep, lines.steep, lines.gentle)


def higher(
    stages: list[Stage],
    passed: list[Float[np.ndarray, "B M _n"]],
    found: Forms,
    box: tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]],
) -> list[Float[np.ndarray, "B M _n"]]:
    """The lower lines' slopes that would be best at the corners where the forms are least, as the lines found them."""
    values, slopes = box[0][:, None] - np.sign(found.slope) * box[1][:, None], []
    for stage, form in zip(stages, passed, strict=True):
        values = values @ stage.layer.kernel + stage.layer.bias
        slope, top, bottom, gentle, steep = (line[:, None] for line in stage.lines)
        slopes.append(np.where((form > 0) & (values > 0), steep, gentle))
        values = slope * values + np.where(form < 0, top, bottom)
    return slopes


def middle(
    lower: Float[np.ndarray, "B D"], upper: Float[np.ndarray, "B D"]
) -> tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]]:
    """A point of each box, and how far the box reaches from it at most."""
    centre = (lower + upper) / 2
    return centre, np.maximum(upper - centre, centre - lower) * (1 + 4 * UNIT)


def gamma(terms: int) -> float:
    """The relative error of a sum of so many products."""
    return terms * UNIT / (1 - terms * UNIT)


def enlarged(error: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Errors, which are sums of less than a million terms that are not negative, with their own; 1e-290: underflow."""
    return (1 + 1e-9) * error + 1e-290


def piecewise(low: Float[np.ndarray, "B N"], high: Float[np.ndarray, "B N"], leak: float) -> Lines:
    """Around ``max(z, leak z)``: a line through 0 of a slope in [leak, 1] is below; the gap to it is most at an end."""
    slope = np.where(low >= 0, 1.0, np.where(high <= 0, leak, (high - leak * low) / (high - low)))
    slope = np.clip(slope, leak, 1.0)
    crosses = (low < 0) & (high > 0)
    top = np.where(crosses, np.maximum((1 - slope) * high, (leak - slope) * low), 0.0)
    return Lines(slope, top, np.zeros_like(top), np.where(crosses, leak, slope), np.where(crosses, 1.0, slope))


def tanh(low: Float[np.ndarray, "B N"], high: Float[np.ndarray, "B N"]) -> Lines:
    """Less the smaller of its slopes at the ends, which is its smallest between them, the function rises."""
    bottom, top = np.tanh(low), np.tanh(high)
    slope = np.maximum(1 - np.maximum(bottom**2, top**2) - FUNCTION_ERROR, 0.0)
    bottom, top = bottom - slope * low - FUNCTION_ERROR, top - slope * high + FUNCTION_ERROR
    return Lines(slope, top, bottom, slope, slope)


def sigmoid(low: Float[np.ndarray, "B N"], high: Float[np.ndarray, "B N"]) -> Lines:
    """It is ``(1 + tanh(z / 2)) / 2``."""
    slope, top, bottom, *_ = tanh(low / 2, high / 2)
    return Lines(slope / 4, (1 + top) / 2, (1 + bottom) / 2, slope / 4, slope / 4)


LINES: dict[str, Callable[[np.ndarray, np.ndarray], Lines]] = {
    "relu": lambda low, high: piecewise(low, high, 0.0),
    "leaky_relu": lambda low, high: piecewise(low, high, LEAK),
    "tanh": tanh,
    "sigmoid": sigmoid,
}


def main(arguments: list[str]) -> int:
    """The command line; returns 0 for a proof, 1 for a certificate that is none, 2 for files that cannot be read."""
    if len(arguments) != 3:
        print("usage: python -m archrepair_jax.proof.checker CERTIFICATE NETWORK PROPERTY", file=sys.stderr)
        return 2
    paths, begin = arguments, time.perf_counter()
    try:
        certificate = read_certificate(paths[0])
        network, variables = read_onnx(paths[1]) if paths[1].endswith(".onnx") else read_nnet(paths[1])[:2]
        prop = read_vnnlib(paths[2], *network.image_shape, network.num_classes)
        check(network, variables, prop, certificate)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except Rejected as error:
        print(f"rejected: {error}")
        return 1
    print(f"proved: {len(certificate.child)} boxes checked in {time.perf_counter() - begin:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
