"""What both styles of repair by behaviour imitation start from (BIRDNN, Liang et al. 2023).

Failing examples (negatives) are to behave like well-behaved ones (positives), the behaviour being the outputs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Specification:
    """What is asked of outputs; hashable, so that it can be a static argument of ``jax.jit``.

    Attributes:
        slack: ``slack(context, tags [B], y [B, K]) -> [B]``, how far outputs are from being wrong; wrong where it is
            not positive. ``context`` is a pytree of arrays (a property), ``tags`` say what applies to each example (its
            region, its label).
        decide: ``decide(y [B, K]) -> [B]``, the network's decision, which a repair should keep.
    """

    slack: Callable[[Any, Int[Array, "B"], Float[Array, "B K"]], Float[Array, "B"]]
    decide: Callable[[Float[Array, "B K"]], Int[Array, "B"]]


class Samples(struct.PyTreeNode):
    """Inputs [N, …] with the tag [N] that the specification reads."""

    inputs: Float[Array, "N ..."]
    tags: Int[Array, "N"]


class Cases(struct.PyTreeNode):
    """What an imitation learns from.

    Attributes:
        negatives: what the original network gets wrong.
        positives: what it gets right, of the same kind.
        outside: anything else whose decisions are to be kept; their tags are not looked at.
        context: what the specification reads, the same for all.
    """

    negatives: Samples
    positives: Samples
    outside: Samples
    context: Any


def label_slack(context: None, labels: Int[Array, "B"], y: Float[Array, "B K"]) -> Float[Array, "B"]:
    """The label's logit less the largest other one."""
    own = jnp.arange(y.shape[-1]) == labels[:, None]
    return jnp.where(own, y, -jnp.inf).max(-1) - jnp.where(own, -jnp.inf, y).max(-1)


CLASSIFICATION = Specification(label_slack, lambda y: y.argmax(-1))
