"""What both styles of repair by behaviour imitation start from (BIRDNN, Liang et al. 2023).

Failing examples (negatives) are to behave like well-behaved ones (positives), the behaviour being the outputs.
"""

import dataclasses
from typing import Any

from flax import struct

from archrepair_jax.evaluation.specification import Specification
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.sampling import Cells
from archrepair_jax.training.batches import Samples


@dataclasses.dataclass(frozen=True, eq=False)
class Original:
    """A network as it was before any repair, and what is asked of its outputs."""

    network: Network
    variables: Variables
    specification: Specification


class Cases(struct.PyTreeNode):
    """What an imitation learns from.

    Attributes:
        negatives: what the original network gets wrong.
        positives: what it gets right, of the same kind.
        outside: anything else whose decisions are to be kept; their tags are not looked at.
        context: what the specification reads, the same for all.
        cells: where the slack is to be certain, so that it can be proved; None where it need not be.
        emphasis: by how much more than the settings say the positives, what is outside, and the cells weigh.
    """

    negatives: Samples
    positives: Samples
    outside: Samples
    context: Any
    cells: Cells | None = None
    emphasis: tuple[float, float, float] = (1.0, 1.0, 1.0)
