"""Behaviour imitation without training: a particle swarm scales the neurons to blame (BIRDNN, Liang et al. 2023).

Neurons whose mean behaviour differs most between positives and negatives are chosen, over all blocks together, and
their outputs are multiplied by ``1 + w``. The swarm evaluates what is returned: the network with the factors folded in.
A neuron is an output channel of a block, after the activation; its behaviour is its spatial mean.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from archrepair_jax.errors import InputError, within
from archrepair_jax.evaluation.specification import Specification
from archrepair_jax.models.cost import multiply_adds
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import exact
from archrepair_jax.repair.edits import Scaled, apply
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.ledger import FORWARD, Cost
from archrepair_jax.training.swarm import SwarmSettings, minimize

Factors = dict[str, Float[ArrayLike, "_D"]]  # for each block that is scaled, what its channels are multiplied by
NEGATIVE, POSITIVE, OUTSIDE, PADDING = range(4)


@dataclasses.dataclass(frozen=True)
class ImitationTuningSettings:
    """Which neurons are scaled, and what the swarm minimises: a weighted sum of four shares.

    Attributes:
        neurons: how many, over all blocks together.
        outputs: whether the network's outputs are among those to choose from.
        unrepaired: weight of the share of negatives that are still wrong.
        broken: weight of the share of positives that are wrong now.
        fidelity: weight of the shares of positives and of examples outside whose decision is no longer the original's.
            Ours; 0 leaves BIRDNN's fitness, which does not mind if a repair changes all decisions.
        chunk: examples that pass through the network together, in all particles; small enough for the cache.
    """

    neurons: int = 20
    outputs: bool = True
    unrepaired: float = 0.5
    broken: float = 0.5
    fidelity: float = 1.0
    chunk: int = 500
    swarm: SwarmSettings = SwarmSettings()

    def __post_init__(self):
        for name in ("neurons", "chunk"):
            within(name, getattr(self, name), 1)
        for name in ("unrepaired", "broken", "fidelity"):
            within(name, getattr(self, name), 0)


@dataclasses.dataclass(frozen=True, eq=False)
class NeuronTuning:
    """What the swarm has found.

    Attributes:
        edits, variables: what is repaired, ``factors`` folded in.
        neurons: ``(block, channel)`` of those that were chosen, the most different first.
        factors: of the blocks that hold them; 1 for the other channels.
        history: the best cost after each iteration; the last one stays if the swarm stopped early.
    """

    edits: tuple[Scaled, ...]
    variables: Variables
    neurons: tuple[tuple[str, int], ...]
    factors: Factors
    history: Float[np.ndarray, "T"]


class Chunks(struct.PyTreeNode):
    """Examples, C at a time; the last chunk is filled up with zeros.

    Attributes:
        inputs: [N, C, …], of the first block or of a later one.
        tags: [N, C], as the specification reads them.
        kind: [N, C], one of NEGATIVE, POSITIVE, OUTSIDE, PADDING.
    """

    inputs: Float[Array, "N C ..."]
    tags: Int[Array, "N C"]
    kind: Int[Array, "N C"]


class Scaling(NamedTuple):
    """What a swarm's search is compiled for; hashable.

    Attributes:
        network, specification: the original's description, and what is asked of its outputs.
        swarm, chunk: of the settings.
        channels: the blocks that may be scaled and how many channels they have, in the order of the network.
    """

    network: Network
    specification: Specification
    swarm: SwarmSettings
    chunk: int
    channels: tuple[tuple[str, int], ...]


def tune_neurons(
    original: Original, cases: Cases, settings: ImitationTuningSettings, key: PRNGKeyArray
) -> NeuronTuning:
    """Chooses neurons, and their factors by a particle swarm; by its cost never worse than the original.

    Compiled once for a network's description, numbers of examples and first chosen block: weights, examples, what the
    specification reads, the chosen channels and the weights of the cost may change. Raises InputError if there are no
    negatives or no positives to compare, or not as many neurons as wanted.
    """
    for kind, samples in (("negatives", cases.negatives), ("positives", cases.positives)):
        if not len(samples.inputs):
            raise InputError(f"there are no {kind}: behaviour imitation compares negatives with positives, give both")
    network, variables = original.network, original.variables
    differences = behaviour_differences(network, variables, cases.negatives, cases.positives, settings.chunk)
    differences = jax.device_get(differences)
    if not settings.outputs:
        differences.pop(network.names[-1], None)
    neurons = choose_neurons(network, differences, settings.neurons)
    indices = np.array([network.index(name) for name, _ in neurons])
    channels = tuple((name, len(differences[name])) for name in network.names[min(indices) :] if name in differences)
    chosen = np.int32(indices), np.array([channel for _, channel in neurons], np.int32)
    scaling = Scaling(network, original.specification, settings.swarm, settings.chunk, channels)
    factors, history = jax.device_get(search(scaling, variables, cases, chosen, cost_weights(cases, settings), key))
    factors = {name: factors[name] for name, _ in channels if name in dict(neurons)}
    return NeuronTuning(*fold(network, variables, factors), neurons, factors, history)


def swarm_price(network: Network, variables: Variables, settings: ImitationTuningSettings) -> Cost:
    """What an example costs: its behaviour, what lies before the scaled blocks, and all of it for every particle."""
    times = settings.swarm.particles * settings.swarm.iterations + 2
    return Cost(FORWARD, multiply_adds(network, variables)) * times


def cost_weights(cases: Cases, settings: ImitationTuningSettings) -> Float[np.ndarray, "4"]:
    """What the cost adds for a wrong negative, a wrong positive, a changed positive and a changed one outside."""
    negatives, positives, outside = (
        max(len(samples.inputs), 1) for samples in (cases.negatives, cases.positives, cases.outside)
    )
    fidelity = settings.fidelity / positives, settings.fidelity / outside
    return np.array([settings.unrepaired / negatives, settings.broken / positives, *fidelity], np.float32)


@functools.partial(jax.jit, static_argnames=("network", "chunk"))
@exact
def behaviour_differences(
    network: Network, variables: Variables, negatives: Samples, positives: Samples, chunk: int
) -> dict[str, Float[Array, "_D"]]:
    """For each block with neurons, how far its channels' mean behaviour is apart between positives and negatives, [D].

    BIRDNN compares sums, which is the same up to a factor where there are as many positives as negatives.
    """

    def share(part: Chunks) -> dict[str, Float[Array, "_D"]]:
        x, behaviour = part.inputs, {}
        signs = (part.kind == POSITIVE) / len(positives.inputs) - (part.kind == NEGATIVE) / len(negatives.inputs)
        for index, (name, module) in enumerate(network.blocks):
            x, _ = network.span(variables, x, index, index + 1)
            if module.has_branch:
                behaviour[name] = signs @ x.mean(tuple(range(1, x.ndim - 1)))
        return behaviour

    shares = jax.lax.map(share, cut({NEGATIVE: negatives, POSITIVE: positives}, chunk))
    return jax.tree.map(lambda x: jnp.abs(x.sum(0)), shares)


def choose_neurons(
    network: Network, differences: dict[str, Float[ArrayLike, "_D"]], count: int
) -> tuple[tuple[str, int], ...]:
    """``(block, channel)`` of the ``count`` largest differences, the largest first. InputError if there are fewer."""
    blocks = [name for name in network.names if name in differences]
    neurons = [(name, channel) for name in blocks for channel in range(len(differences[name]))]
    if not 1 <= count <= len(neurons):
        raise InputError(f"cannot choose {count} of {len(neurons)} neurons; change the number of neurons")
    order = np.argsort(-np.concatenate([differences[name] for name in blocks]), stable=True)
    return tuple(neurons[i] for i in order[:count])


@functools.partial(jax.jit, static_argnames="scaling")
@exact
def search(
    scaling: Scaling,
    variables: Variables,
    cases: Cases,
    neurons: tuple[Int[Array, "K"], Int[Array, "K"]],
    weights: Float[Array, "4"],
    key: PRNGKeyArray,
) -> tuple[Factors, Float[Array, "T"]]:
    """The best factors and the history of the cost.

    ``neurons`` are the chosen ones' indices of blocks and of channels. What lies before the first of the blocks'
    outputs does not depend on the factors, and is computed once.
    """
    network, specification, channels = scaling.network, scaling.specification, scaling.channels
    first = min(network.index(channels[0][0]) + 1, len(network.blocks) - 1)  # the output block takes its factors in

    def prepare(part: Chunks) -> tuple[Chunks, Int[Array, "C"]]:
        x, _ = network.span(variables, part.inputs, 0, first)
        y, _ = network.span(variables, x, first, len(network.blocks))
        return part.replace(inputs=x), specification.decide(y)

    def factors(w: Float[Array, "K"]) -> Factors:
        index, channel = neurons
        own = {name: jnp.where(index == network.index(name), w, 0.0) for name, _ in channels}
        return {name: jnp.ones(size).at[channel].add(own[name], mode="drop") for name, size in channels}

    def count(w: Float[Array, "K"], part: Chunks, original: Int[Array, "C"]) -> Int[Array, "4"]:
        edits, folded_variables = fold(network, variables, factors(w))
        folded = apply(network, edits)
        y, _ = folded.span(folded_variables, part.inputs, first, len(folded.blocks))
        wrong = ~(specification.slack(cases.context, part.tags, y) > 0)  # also where it is NaN
        changed = specification.decide(y) != original
        counted = ((wrong, NEGATIVE), (wrong, POSITIVE), (changed, POSITIVE), (changed, OUTSIDE))
        return jnp.stack([jnp.sum(which & (part.kind == kind)) for which, kind in counted])

    def cost(particles: Float[Array, "P K"]) -> Float[Array, "P"]:
        counts = jax.lax.map(lambda part: jax.vmap(count, (0, None, None))(particles, *part), prepared)
        return counts.sum(0) @ weights

    samples = {NEGATIVE: cases.negatives, POSITIVE: cases.positives, OUTSIDE: cases.outside}
    prepared = jax.lax.map(prepare, cut(samples, scaling.chunk))
    swarm = minimize(cost, len(neurons[0]), scaling.swarm, key)
    return factors(swarm.best), swarm.history


def cut(samples: dict[int, Samples], size: int) -> Chunks:
    """All samples, by their kind, ``size`` at a time."""
    chunks = Chunks(
        inputs=jnp.concatenate([each.inputs for each in samples.values()]),
        tags=jnp.concatenate([each.tags for each in samples.values()]),
        kind=jnp.concatenate([jnp.full(len(each.tags), kind) for kind, each in samples.items()]),
    )
    missing = -len(chunks.tags) % size

    def pad(x, value=0):
        rows = ((0, missing),) + ((0, 0),) * (x.ndim - 1)
        return jnp.pad(x, rows, constant_values=value).reshape(-1, size, *x.shape[1:])

    return Chunks(pad(chunks.inputs), pad(chunks.tags), pad(chunks.kind, PADDING))


def fold(network: Network, variables: Variables, factors: Factors) -> tuple[tuple[Scaled, ...], Variables]:
    """What it takes to multiply blocks' output channels by ``factors``: edits, and the edited network's variables.

    Where the next block begins with a fully connected layer, that layer's kernel takes the factors in: exact whatever
    the activation, as they act on the layer's input. The factors of a head scale its own kernel and bias. Behind any
    other block stays a ``Scale`` of its own. The original is not changed.
    """
    params, blocks, edits = dict(variables["params"]), network.blocks, []
    for name, factor in factors.items():
        index = network.index(name)
        if index + 1 < len(blocks):
            taker, successor = blocks[index + 1]
            taken = successor.scale_inputs(params.get(taker), factor)
        else:
            taker, taken = name, blocks[index][1].scale_outputs(params.get(name), factor)
        if taken is None:
            edits.append(Scaled(name))
            taker, taken = edits[-1].name, {"scale": factor}
        params[taker] = taken
    return tuple(edits), {**variables, "params": params}
