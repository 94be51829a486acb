"""What is asked of a network's outputs, of a property as of labels."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int


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


def label_slack(context: None, labels: Int[Array, "B"], y: Float[ArrayLike, "B K"]) -> Float[Array, "B"]:
    """The label's logit less the largest other one."""
    own = jnp.arange(y.shape[-1]) == labels[:, None]
    return jnp.where(own, y, -jnp.inf).max(-1) - jnp.where(own, -jnp.inf, y).max(-1)


CLASSIFICATION = Specification(label_slack)
