"""How a repaired network compares with the original on uniform inputs of whole regions."""

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from archrepair_jax.evaluation.specification import Specification
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.sampling import CHUNK, Regions, draw_inputs


class Tally(struct.PyTreeNode):
    """Counts over samples.

    Attributes:
        samples: how many there were.
        wrong_before, wrong_after: on how many the original, and the repaired network, is wrong.
        broken: on how many the repaired network is wrong and the original is not.
        kept, kept_right: on how many the decision is still the original's, out of all, and where that is not wrong.
        least: the repaired network's smallest slack.
    """

    samples: Int[Array, ""]
    wrong_before: Int[Array, ""]
    wrong_after: Int[Array, ""]
    broken: Int[Array, ""]
    kept: Int[Array, ""]
    kept_right: Int[Array, ""]
    least: Float[Array, ""]

    @property
    def fidelity(self) -> float:
        """The share of inputs with the original's decision."""
        return int(self.kept) / int(self.samples)

    @property
    def fidelity_right(self) -> float | None:
        """The same, of the inputs on which the original is not wrong; None if there are none."""
        right = int(self.samples) - int(self.wrong_before)
        return int(self.kept_right) / right if right else None


@functools.partial(jax.jit, static_argnames=("networks", "specification", "chunks"))
def survey(
    networks: tuple[Network, Network],
    variables: tuple[Variables, Variables],
    specification: Specification,
    context,
    regions: Regions,
    key: PRNGKeyArray,
    chunks: int,
) -> Tally:
    """Compares the original with the repaired network on ``chunks * CHUNK`` inputs, which depend on the key alone."""

    def add(tally: Tally, number: Int[Array, ""]) -> tuple[Tally, None]:
        samples = draw_inputs(regions, jax.random.fold_in(key, number), CHUNK)
        before, after = (net.apply(v, samples.inputs) for net, v in zip(networks, variables, strict=True))
        slack_before, slack_after = (specification.slack(context, samples.tags, y) for y in (before, after))
        wrong_before, wrong_after = ~(slack_before > 0), ~(slack_after > 0)
        kept = specification.decide(before) == specification.decide(after)
        return Tally(
            samples=tally.samples + CHUNK,
            wrong_before=tally.wrong_before + wrong_before.sum(),
            wrong_after=tally.wrong_after + wrong_after.sum(),
            broken=tally.broken + (wrong_after & ~wrong_before).sum(),
            kept=tally.kept + kept.sum(),
            kept_right=tally.kept_right + (kept & ~wrong_before).sum(),
            least=jnp.minimum(tally.least, slack_after.min()),
        ), None

    zero = jnp.int32(0)
    nothing = Tally(zero, zero, zero, zero, zero, zero, jnp.float32(jnp.inf))
    return jax.lax.scan(add, nothing, jnp.arange(chunks))[0]
