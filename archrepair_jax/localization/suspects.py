"""Localization: which block, layer or neuron is most to blame for a network's failures.

Adversarial-aware spectrum analysis in the spirit of ArchRepair (Qi et al., TOSEM 2023): neurons' status from the
forward pass, weights' gradients from the backward pass. How the two become a ranking is ours.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.localization.evidence import Examples, draw, gather
from archrepair_jax.localization.gradients import Neurons, neuron_gradients, stack
from archrepair_jax.localization.ranking import (
    COMBINE,
    density,
    percentile_ranks,
    resample,
    vulnerable,
    worst_probability,
)
from archrepair_jax.localization.settings import LocalizationSettings
from archrepair_jax.localization.spectrum import FORMULAS, count
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import exact


@dataclasses.dataclass(frozen=True)
class Unit:
    """A block, a layer ``block/layer`` or a neuron ``block/layer:channel``, and how suspicious it is.

    Attributes:
        name: of the unit.
        block: the block it is, or is in.
        score: the density of vulnerable neurons in it (of a neuron: its combined rank), in [0, 1].
        low: the 2.5 percentile of the score over the bootstrap.
        high: the 97.5 percentile.
        probability: the share of replicates in which no unit scores higher, ties being split.
        neurons: how many it has.
    """

    name: str
    block: str
    score: float
    low: float
    high: float
    probability: float
    neurons: int


@dataclasses.dataclass(frozen=True)
class Localization:
    """The units, by falling score, then probability, then in the order of the network."""

    units: tuple[Unit, ...]

    @property
    def suspect(self) -> str:
        """The block of the first unit."""
        return self.units[0].block


@exact
def localize(
    network: Network,
    variables: Variables,
    failing: Examples,
    passing: Examples,
    settings: LocalizationSettings,
    key: PRNGKeyArray,
) -> Localization:
    """Ranks a network's units by its failing and passing examples ``(images, labels)``, in evaluation mode.

    Blocks that record no neurons (the head, normalisation) are not ranked. Raises InputError without failing or
    without passing examples, for an unknown name in ``exclude``, and when no block is left to rank.
    """
    for name in settings.exclude:
        if name not in network.names:
            raise InputError(f"localization cannot exclude {name!r}: the blocks are {', '.join(network.names)}")
    failing, passing = draw(failing, passing, settings.examples, named(key, "examples"))
    evidence = gather(network, variables, failing, passing, settings, named(key, "attack"))
    replicates = resample(named(key, "bootstrap"), evidence.counts, settings.bootstrap)
    weights = jnp.concatenate([evidence.counts[None], replicates])  # the first row is the point estimate
    v = _combined_ranks(network, variables, evidence, weights, settings)
    owners = _owners(network, evidence.failing.statuses, settings.level)
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    unit = np.array([numbers[owner] for owner in owners])
    scores = v if settings.level == "neuron" else density(vulnerable(v, settings.fraction), unit, len(numbers))
    return Localization(_units(list(numbers), np.bincount(unit), scores[0], scores[1:] if len(replicates) else scores))


def _units(owners: list[tuple[str, str]], sizes, score: Float[Array, " U"], sampled: Float[Array, "R U"]):
    """The units by falling score, then probability; ``sampled`` are their scores over the bootstrap."""
    low, high = jnp.percentile(sampled, jnp.array([2.5, 97.5]), axis=0)
    columns = np.stack([score, low, high, worst_probability(sampled)], axis=1).tolist()
    rows = zip(owners, columns, sizes.tolist(), strict=True)
    units = (Unit(name, block, *row, neurons) for (name, block), row, neurons in rows)
    return tuple(sorted(units, key=lambda unit: (-unit.score, -unit.probability)))


def _combined_ranks(network, variables, evidence, weights, settings) -> Float[Array, "R N"]:
    """The percentile ranks of suspiciousness and gradient, combined."""
    on_failing = evidence.failing, evidence.failing_labels
    taylor = settings.gradient == "taylor"
    gradient = stack(neuron_gradients(network, variables, *on_failing, weights, taylor=taylor))
    if settings.gradient == "contrast":
        once = jnp.ones((1, len(evidence.passing_labels)))
        gradient /= 1 + stack(neuron_gradients(network, variables, evidence.passing, evidence.passing_labels, once))
    suspiciousness = FORMULAS[settings.formula](count(evidence.failing_active, evidence.passing_active, weights))
    return COMBINE[settings.combine](percentile_ranks(suspiciousness), percentile_ranks(gradient))


def _owners(network: Network, statuses: Neurons, level: str) -> list[tuple[str, str]]:
    """The unit that each neuron belongs to, and that unit's block, in the order of ``stack``."""
    name = {"block": "{0}", "layer": "{0}/{1}", "neuron": "{0}/{1}:{2}"}[level]
    return [
        (name.format(block, layer, channel), block)
        for block, layers in zip(network.names, statuses, strict=True)
        for layer in sorted(layers)
        for channel in range(layers[layer].shape[-1])
    ]
