"""A complete proof that a property holds: branch and bound over its boxes.

An unsafe output lies in all half-spaces of one unsafe intersection. On a box, linear bounds of these half-spaces say
which inputs could lead there; the box is cut down to them (hull consistency, as in interval constraint propagation),
which often leaves nothing, and what is left is split in two, along the input to which the bounds owe most of their
uncertainty: what it moves itself, and what it adds to the errors of the neurons that it moves. The tree of boxes is the
certificate, which ``proof.checker`` goes through with bounds of its own.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from archrepair_jax.errors import within
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import float64_on_cpu
from archrepair_jax.proof.bounds import Affine, Linear, chain, least, linear_bounds, outputs
from archrepair_jax.regions.properties import Property

PROVED, COUNTEREXAMPLE, OPEN = "proved", "counterexample", "out of time"
BATCHES = 16  # that are taken at once
ROUNDS = 3  # of cutting, over all half-spaces
SLACK = 1e-9  # of the outputs' unit: kept back from every bound, so that a checker's own rounding changes nothing
ROOM = 1e-6  # of a box's width: by which a cut leaves more than it has to, likewise


@dataclasses.dataclass(frozen=True)
class ProofSettings:
    """How to prove.

    Attributes:
        batch_size: boxes bounded in one call; for a 6 x 50 network none of 8 to 128 was clearly faster on CPUs.
        max_boxes: made, after which the proof gives up; boxes, not seconds, so that it ends alike on every machine.
            Two CPU cores look at some 3,000 a second of such a network.
    """

    batch_size: int = 64
    max_boxes: int = 2_000_000

    def __post_init__(self):
        for name in ("batch_size", "max_boxes"):
            within(name, getattr(self, name), 1)


class Boxes(NamedTuple):
    """N boxes, each about one unsafe intersection of one of the property's regions."""

    lower: Float[np.ndarray, "N D"]
    upper: Float[np.ndarray, "N D"]
    region: Int[np.ndarray, "N"]
    unsafe: Int[np.ndarray, "N"]

    def at(self, chosen: Any) -> "Boxes":
        """Those boxes that an index, a slice or a mask chooses."""
        return Boxes(*(part[chosen] for part in self))


@dataclasses.dataclass(frozen=True, eq=False)
class Proof:
    """What came of a proof.

    Attributes:
        status: ``proved``, ``counterexample`` or ``out of time``.
        boxes: all that were made, in the order of their making, the property's own first.
        child: [N], the first of the two boxes that a box was split into (the other one follows it); -1 where there are
            none, because the box was found safe or was not decided.
        looked_at: how many boxes were bounded.
        counterexample: [D] float64, an unsafe input, or None; and ``region``, whose property it violates.
    """

    status: str
    boxes: Boxes
    child: Int[np.ndarray, "N"]
    looked_at: int
    counterexample: Float[np.ndarray, "D"] | None = None
    region: int | None = None


class Look(NamedTuple):
    """What one look at B boxes says: whether each is safe, an input in it with the outputs' margin, and two halves."""

    safe: Bool[Array, "B"]
    worst: Float[Array, "B D"]
    margin: Float[Array, "B"]
    lower: Float[Array, "B 2 D"]
    upper: Float[Array, "B 2 D"]


def prove(
    network: Network,
    variables: Variables,
    prop: Property,
    settings: ProofSettings = ProofSettings(),
    report: Callable[[int, int], None] = lambda looked_at, waiting: None,
) -> Proof:
    """Decides boxes in the order of their making until none is left, one is unsafe, or there are ``max_boxes``.

    That order spreads over the whole region, so that a property that is violated at all is soon found to be.
    ``report`` is called with the number of boxes looked at and of those waiting. Raises InputError for a network that
    has no bounds.
    """
    layers, activation = chain(network, variables)
    layers, prop = jax.tree.map(lambda array: np.asarray(array, np.float64), (layers, prop))
    with ThreadPoolExecutor() as pool:
        look = functools.partial(look_at_many, pool, layers, activation, settings.batch_size, prop)
        return search(look, prop, settings, report)


def search(
    look: Callable[[Boxes], Look], prop: Property, settings: ProofSettings, report: Callable[[int, int], None]
) -> Proof:
    """The branch and bound itself."""
    made, parents, waiting = [roots(prop)], [], collections.deque()
    waiting.append(made[0])
    count, looked_at, status, counterexample, region = len(made[0].region), 0, PROVED, None, None
    while waiting:
        chosen = take(waiting, BATCHES * settings.batch_size)
        size, found = len(chosen.region), look(chosen)
        if (found.margin <= 0).any():
            status, at = COUNTEREXAMPLE, found.margin.argmin()
            counterexample, region = found.worst[at], int(chosen.region[at])
            break
        if count >= settings.max_boxes and not found.safe.all():
            status = OPEN
            break
        undecided = chosen.at(~found.safe)
        looked_at += size
        report(looked_at, count - looked_at)
        if not len(undecided.region):
            continue
        halves = Boxes(
            found.lower[~found.safe].reshape(-1, prop.lower.shape[1]),
            found.upper[~found.safe].reshape(-1, prop.lower.shape[1]),
            undecided.region.repeat(2),
            undecided.unsafe.repeat(2),
        )
        parents.append((looked_at - size + np.flatnonzero(~found.safe), count + 2 * np.arange(len(undecided.region))))
        count += len(halves.region)
        made.append(halves)
        waiting.append(halves)
    child = np.full(count, -1)
    for parent, first in parents:
        child[parent] = first
    return Proof(status, joined(made), child, looked_at, counterexample, region)


def roots(prop: Property) -> Boxes:
    """The property's own boxes, once for each unsafe intersection (but for those that only fill up)."""
    region, unsafe = np.nonzero((np.asarray(prop.bound) > -np.inf).all(-1))
    return Boxes(np.asarray(prop.lower)[region], np.asarray(prop.upper)[region], region, unsafe)


def take(waiting: collections.deque[Boxes], size: int) -> Boxes:
    """Up to ``size`` boxes from the front."""
    parts = [waiting.popleft()]
    while waiting and sum(len(part.region) for part in parts) < size:
        parts.append(waiting.popleft())
    boxes = joined(parts)
    if len(boxes.region) > size:
        waiting.appendleft(boxes.at(slice(size, None)))
    return boxes.at(slice(size))


def joined(parts: list[Boxes]) -> Boxes:
    return Boxes(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def look_at_many(
    pool: Executor, layers: tuple[Affine, ...], activation: str, batch_size: int, prop: Property, boxes: Boxes
) -> Look:
    """Looks at any number of boxes, in batches of one shape, which the pool's threads share."""
    size = len(boxes.region)
    padded = boxes.at(np.resize(np.arange(size), -(-size // batch_size) * batch_size))

    def look(start: int) -> Look:
        batch = padded.at(slice(start, start + batch_size))
        space = prop.matrix[batch.region, batch.unsafe], prop.bound[batch.region, batch.unsafe]
        with float64_on_cpu():
            return jax.device_get(look_at(layers, activation, batch.lower, batch.upper, *space))

    parts = pool.map(look, range(0, len(padded.region), batch_size))
    return Look(*(np.concatenate(arrays)[:size] for arrays in zip(*parts, strict=True)))


@functools.partial(jax.jit, static_argnames="activation")
def look_at(
    layers: tuple[Affine, ...],
    activation: str,
    lower: Float[Array, "B D"],
    upper: Float[Array, "B D"],
    matrix: Float[Array, "B M K"],
    bound: Float[Array, "B M"],
) -> Look:
    """Looks at boxes; the outputs are unsafe where ``matrix @ y <= bound`` in all rows."""
    linear = linear_bounds(layers, activation, lower, upper, matrix)
    beyond = jnp.repeat(bound, 2, axis=1) + SLACK
    low, high = cut(linear, beyond, lower, upper)
    safe = (least(linear, lower, upper) > beyond).any(-1) | (low > high).any(-1)
    low, high = jnp.minimum(low, high), jnp.maximum(low, high)  # of a safe box nothing is left, and nobody looks

    # halving an input's width halves what it moves, and takes part of what it is blamed for
    left = (high - low) / jnp.where(upper > lower, upper - lower, 1.0)
    doubt = (jnp.abs(linear.matrix) * (high - low)[:, None] / 2 + linear.blame * left[:, None]).mean(1)
    split = jax.nn.one_hot(doubt.argmax(-1), lower.shape[1], dtype=bool)
    middle = (low + high) / 2
    first, second = jnp.where(split, middle, high), jnp.where(split, middle, low)

    corner = jnp.where(linear.matrix.mean(1) > 0, low, high)
    points = jnp.stack([middle, corner], 1)
    y = outputs(layers, activation, points)
    margins = (jnp.einsum("bmk,bpk->bpm", matrix, y) - bound[:, None]).max(-1)
    worst = jnp.take_along_axis(points, margins.argmin(-1)[:, None, None], 1)[:, 0]
    # a box that was found safe has been cut to nothing sensible: its points count for nothing
    margin = jnp.where(safe, jnp.inf, margins.min(-1))
    return Look(safe, worst, margin, jnp.stack([low, second], 1), jnp.stack([first, high], 1))


def cut(
    linear: Linear, bound: Float[Array, "B M"], lower: Float[Array, "B D"], upper: Float[Array, "B D"]
) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
    """Boxes without inputs for which some row must exceed its bound; ``lower > upper`` somewhere when nothing is left.

    In ``a @ x <= b`` every ``a_j x_j`` is at most ``b`` less the smallest value that the other terms have on the box.
    """
    room = ROOM * (upper - lower)
    low, high = lower, upper
    for row in ROUNDS * list(range(bound.shape[1])):
        a = linear.matrix[:, row]
        least = jnp.where(a > 0, a * low, a * high)
        others = least.sum(-1, keepdims=True) - least
        at_most = (bound + linear.radius - linear.offset)[:, row, None] - others
        end = at_most / jnp.where(a == 0, 1.0, a)
        high = jnp.where(a > 0, jnp.minimum(high, end + room), high)
        low = jnp.where(a < 0, jnp.maximum(low, end - room), low)
    return low, high
