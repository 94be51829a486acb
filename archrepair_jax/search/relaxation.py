"""What a search relaxes in a network: one block's branch in place, or blocks inserted in front of several.

Everything else is frozen, in evaluation mode.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.search.cell import Alphas, RelaxedBlock, Space, beside, mixing_weights, uniform_alphas
from archrepair_jax.search.conditional import ConditionalFilters, Filters

POSITIONS = "positions"  # the alphas that weigh them


@runtime_checkable
class Relaxation(Protocol):
    """The candidates, as the search knows them.

    Attributes:
        decisions: after how many of them the weights get steps to settle.
    """

    decisions: int

    def alphas(self) -> Alphas:
        """Those that weigh all candidates the same."""

    def logits(
        self, own: Variables, mixture: Alphas, variables: Variables, inputs: Float[Array, "B ..."]
    ) -> tuple[Float[Array, "B K"], Any]:
        """The network's, from the inputs of the first block that is not as it was; and its own updated statistics."""


@dataclasses.dataclass(frozen=True)
class InPlace:
    """A block's branch, relaxed into a graph of operations."""

    network: Network
    block: str
    relaxed: RelaxedBlock

    @property
    def space(self) -> Space:
        return self.relaxed.space

    @property
    def decisions(self) -> int:
        return len(self.space.edges)

    def alphas(self) -> Alphas:
        return uniform_alphas(self.space)

    def start(self, original: Variables, x: Float[Array, "1 ..."], key: PRNGKeyArray) -> Variables:
        """The original's variables beside silent new operations'.

        ``original`` are the variables of the block itself, ``x`` is an input of it.
        """
        alphas = self.alphas()
        mixture = mixing_weights(alphas, jax.tree.map(jnp.ones_like, alphas))
        return beside(jax.jit(self.relaxed.init, static_argnums=2)(key, x, False, mixture), original)

    def logits(self, own, mixture, variables, inputs):
        y, updated = self.relaxed.apply(own, inputs, True, mixture, mutable=["batch_stats"])
        rest = self.network.index(self.block) + 1, len(self.network.blocks)
        return self.network.span(variables, y, *rest)[0], updated["batch_stats"]


@dataclasses.dataclass(frozen=True)
class InFront:
    """Blocks that look at their input, one in front of each position; alphas weigh positions and candidates.

    Attributes:
        network: the original.
        genotypes: ``(position, all its candidates)``, from the first position to the last.
    """

    network: Network
    genotypes: tuple[tuple[str, Filters], ...]
    decisions = 0

    def alphas(self) -> Alphas:
        own = {position: jnp.zeros(len(genotype.operations)) for position, genotype in self.genotypes}
        return {POSITIONS: jnp.zeros(len(self.genotypes)), **own}

    @property
    def candidates(self) -> dict[str, list[str]]:
        """What each of the alphas weighs."""
        own = {position: list(genotype.operations) for position, genotype in self.genotypes}
        return {POSITIONS: list(own), **own}

    def weights(self, mixture: Alphas) -> Alphas:
        """How much each position's candidates count in all."""
        return {
            position: mixture[POSITIONS][place] * mixture[position]
            for place, (position, _) in enumerate(self.genotypes)
        }

    def logits(self, own, mixture, variables, inputs):
        x, weights, genotypes = inputs, self.weights(mixture), dict(self.genotypes)
        first = self.network.index(self.genotypes[0][0])
        for index, name in enumerate(self.network.names[first:], first):
            if name in genotypes:
                inserted = ConditionalFilters(genotypes[name])
                x = inserted.apply(block_variables(own, name), x, False, weights[name])
            x, _ = self.network.span(variables, x, index, index + 1)
        return x, own["batch_stats"]
