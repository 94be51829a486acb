"""What every repair method receives, and what it returns."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, PRNGKeyArray, UInt8

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.edits import Edit
from archrepair_jax.training.batches import Pool, make_pool
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices, ParallelMap
from archrepair_jax.views.view import View

EVALUATION_BATCH = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """N images seen in V views (clean and corrupted copies), with what the original network says of them.

    Row ``v * N + i`` is view ``v`` of image ``i``; the last ``beside`` of the M rows are other images, seen clean only.

    Attributes:
        images: [M, H, W, C] uint8.
        labels: [M] int32.
        logits: [M, K] float32, the original network's.
        views: the V views, the clean one first.
        beside: M - V·N.
    """

    images: UInt8[np.ndarray, "M H W C"]
    labels: Int32[np.ndarray, "M"]
    logits: Float[np.ndarray, "M K"]
    views: tuple[View, ...]
    beside: int = 0

    @property
    def right(self) -> Bool[np.ndarray, "M"]:
        """Where the original network is right."""
        return self.logits.argmax(-1) == self.labels

    @property
    def correct(self) -> Bool[np.ndarray, "V N"]:
        """The same by view, without the images beside."""
        return self.right[: len(self.labels) - self.beside].reshape(len(self.views), -1)

    @property
    def count(self) -> int:
        """N."""
        return self.correct.shape[1]

    def only(self, chosen: Bool[np.ndarray, "N"], beside: bool = True) -> "Examples":
        """Some of the N images in all views, with or without the images beside."""
        rows = np.concatenate([np.tile(chosen, len(self.views)), np.full(self.beside, beside)])
        own = self.images[rows], self.labels[rows], self.logits[rows]
        return Examples(*own, self.views, self.beside * beside)

    def joined(self, other: "Examples") -> "Examples":
        """With the N images of another one after these, in the same views; the images beside stay these."""

        def both(name: str) -> np.ndarray:
            own, more = (getattr(each, name)[: each.count * len(each.views)] for each in (self, other))
            split = (each.reshape(len(self.views), -1, *each.shape[1:]) for each in (own, more))
            rows = np.concatenate(list(split), 1).reshape(-1, *own.shape[1:])
            return np.concatenate([rows, getattr(self, name)[len(own) :]])

        return Examples(both("images"), both("labels"), both("logits"), self.views, self.beside)

    def some_of_each_view(self, most: int) -> Int[np.ndarray, "R"]:
        """Rows of the first images in all views: ``most`` at most, but one of each view at least."""
        views, images = self.correct.shape
        return (np.arange(views)[:, None] * images + np.arange(min(images, max(1, most // views)))).reshape(-1)

    def some(self, most: int) -> "Examples":
        """The first images in all views, as many as ``some_of_each_view``."""
        rows = self.some_of_each_view(most)
        return Examples(self.images[rows], self.labels[rows], self.logits[rows], self.views)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A network, the block to blame, and the examples a repair may use; the test split is not among them.

    Examples are looked at when they are first asked for: a run whose methods are done needs none.

    Attributes:
        network, variables: the original.
        block: the name of the suspect.
        examples: those of a part, ``train``, ``validation`` or ``guard``.
        key: decides the order in which steps visit the examples, the same for every method.
        suspiciousness: of the blocks that were ranked; empty where there was no localization.
        pools: what ``pool`` has made of them so far.
    """

    network: Network
    variables: Variables
    block: str
    examples: Callable[[str], Examples]
    key: PRNGKeyArray
    suspiciousness: Mapping[str, float] = dataclasses.field(default_factory=dict)
    pools: dict[tuple[str, str], Pool] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def train(self) -> Examples:
        """Weights learn on these."""
        return self.examples("train")

    @property
    def validation(self) -> Examples:
        """Alphas learn on these, and architectures are chosen on them."""
        return self.examples("validation")

    @property
    def guard(self) -> Examples:
        """No learning here; they decide whether a repair is accepted."""
        return self.examples("guard")


@dataclasses.dataclass(frozen=True, eq=False)
class Repair:
    """What a method made of a problem.

    Attributes:
        edits: to the problem's network; none where only weights changed.
        variables: of the edited network.
        start: variables of the same network at which it computes what the original does, or None if there are none.
        trace: JSON for the report: alphas over time, …
        seen: what the guard decides by, where it has looked at repairs of other folds already (``cross_fitting``).
    """

    edits: tuple[Edit, ...]
    variables: Variables
    start: Variables | None
    trace: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: dict[str, Any] | None = dataclasses.field(default=None, kw_only=True)


def logits(network: Network, variables: Variables, images: UInt8[np.ndarray, "N H W C"], devices: Devices):
    """The network's logits [N, K], as a host array."""
    return prefix_map(network, len(network.blocks), devices)(variables, images)


@functools.lru_cache(maxsize=16)
def prefix_map(network: Network, index: int, devices: Devices):
    """The compiled prefix; one compilation for each network, depth and set of devices."""
    return ParallelMap(lambda v, x: network.span(v, x / np.float32(255), 0, index)[0], devices, EVALUATION_BATCH)


def pool(problem: Problem, part: str, block: str, loop: Loop) -> Pool:
    """The ``train`` or ``validation`` examples as a block's inputs; those of a first block are the images themselves.

    What the blocks before it make of them is computed once a problem, and every method pays for it, once.
    """
    examples, index = getattr(problem, part), problem.network.index(block)
    prefix = prefix_map(problem.network, index, loop.devices)
    if index:
        price = prefix.price(problem.variables, examples.images)
        loop.ledger.charge_once("the blocks before", (part, block), price)
    if (part, block) not in problem.pools:
        inputs = prefix(problem.variables, examples.images) if index else examples.images
        problem.pools[part, block] = make_pool(inputs, examples.labels, examples.logits, problem.key)
    return problem.pools[part, block]
