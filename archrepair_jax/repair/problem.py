"""What every repair method receives, and what it returns."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int32, PRNGKeyArray, UInt8

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.training.batches import Pool, make_pool
from archrepair_jax.training.parallel import Devices, parallel_map
from archrepair_jax.views.view import View

EVALUATION_BATCH = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """N images seen in V views (clean and corrupted copies), with what the original network says of them.

    Row ``v * N + i`` is view ``v`` of image ``i``.

    Attributes:
        images: [V·N, H, W, C] uint8.
        labels: [V·N] int32.
        logits: [V·N, K] float32, the original network's.
        views: the V views.
    """

    images: UInt8[np.ndarray, "M H W C"]
    labels: Int32[np.ndarray, "M"]
    logits: Float[np.ndarray, "M K"]
    views: tuple[View, ...]

    @property
    def correct(self) -> Bool[np.ndarray, "V N"]:
        """Where the original network is right."""
        return (self.logits.argmax(-1) == self.labels).reshape(len(self.views), -1)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A network, the block to blame, and the examples a repair may use; the test split is not among them.

    Attributes:
        network, variables: the original.
        block: the name of the suspect.
        train: weights learn on these.
        validation: alphas learn on these, and architectures are chosen on them.
        guard: no learning here; they decide whether a repair is accepted.
        key: decides the order in which steps visit the examples, the same for every method.
    """

    network: Network
    variables: Variables
    block: str
    train: Examples
    validation: Examples
    guard: Examples
    key: PRNGKeyArray


@dataclasses.dataclass(frozen=True, eq=False)
class Repair:
    """A repaired network and how it came about.

    Attributes:
        network, variables: the repaired one.
        start: variables of the same network at which it computes what the original does, or None if there are none.
        sample_gradients: examples times passes that were spent.
        details: JSON for the report: the genotype, alphas over time, …
    """

    network: Network
    variables: Variables
    start: Variables | None
    sample_gradients: int
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


def logits(network: Network, variables: Variables, images: UInt8[np.ndarray, "N H W C"], devices: Devices):
    """The network's logits [N, K], as a host array."""
    return block_inputs(network, variables, images, len(network.blocks), devices)


def block_inputs(
    network: Network, variables: Variables, images: UInt8[np.ndarray, "N H W C"], index: int, devices: Devices
) -> Float[np.ndarray, "N ..."]:
    """The inputs of block ``index``: what the blocks before it, the frozen prefix, make of the images."""
    return prefix_map(network, index, devices)(variables, images)


@functools.lru_cache(maxsize=16)
def prefix_map(network: Network, index: int, devices: Devices):
    """The compiled prefix; one compilation for each network, depth and set of devices."""
    return parallel_map(lambda v, x: network.span(v, x / np.float32(255), 0, index)[0], devices, EVALUATION_BATCH)


@functools.lru_cache(maxsize=1)
def block_pools(problem: Problem, devices: Devices) -> tuple[Pool, Pool]:
    """Train and validation pools of the suspect's inputs, computed once for all methods that need them."""
    index = problem.network.index(problem.block)

    def pool(examples: Examples) -> Pool:
        inputs = block_inputs(problem.network, problem.variables, examples.images, index, devices)
        return make_pool(inputs, examples.labels, examples.logits, problem.key)

    return pool(problem.train), pool(problem.validation)


def image_pool(problem: Problem) -> Pool:
    """The train examples as images, for methods that change the whole network."""
    return make_pool(problem.train.images, problem.train.labels, problem.train.logits, problem.key)
