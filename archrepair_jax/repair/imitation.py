"""What both styles of repair by behaviour imitation start from (BIRDNN, Liang et al. 2023).

Failing examples (negatives) are to behave like well-behaved ones (positives), the behaviour being the outputs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from archrepair_jax.domains.sampling import Cells
from archrepair_jax.training.batches import Samples


@dataclasses.dataclass(frozen=True)
class Specification:
    """What is asked of outputs; hashable, so that it can be a static argument of ``jax.jit``.

    Attributes:
        slack: ``slack(context, tags [B], y [B, K]) -> [B]``, how far outputs are from being wrong; wrong where it is
            not positive. ``context`` is a pytree of arrays (a property), ``tags`` say what applies to each example (its
            region, its label).
        certain: ``certain(network, variables, context, cells) -> [C]``, what the slack is at least on whole cells;
            None where nobody knows.
        sign: 1 if the largest output is the network's decision, which a repair should keep; -1 if the smallest is.
    """

    slack: Callable[[Any, Int[Array, "B"], Float[Array, "B K"]], Float[Array, "B"]]
    certain: Callable[..., Float[Array, "C"]] | None = None
    sign: int = 1

    def decide(self, y: Float[Array, "B K"]) -> Int[Array, "B"]:
        """The network's decisions."""
        return (self.sign * y).argmax(-1)


class Cases(struct.PyTreeNode):
    """What an imitation learns from.

    Attributes:
        negatives: what the original network gets wrong.
        positives: what it gets right, of the same kind.
        outside: anything else whose decisions are to be kept; their tags are not looked at.
        context: what the specification reads, the same for all.
        cells: where the slack is to be certain, so that it can be proved; None where it need not be.
    """

    negatives: Samples
    positives: Samples
    outside: Samples
    context: Any
    cells: Cells | None = None


def label_slack(context: None, labels: Int[Array, "B"], y: Float[Array, "B K"]) -> Float[Array, "B"]:
    """The label's logit less the largest other one."""
    own = jnp.arange(y.shape[-1]) == labels[:, None]
    return jnp.where(own, y, -jnp.inf).max(-1) - jnp.where(own, -jnp.inf, y).max(-1)


CLASSIFICATION = Specification(label_slack)
