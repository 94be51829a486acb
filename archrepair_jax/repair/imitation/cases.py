"""What both styles of repair by behaviour imitation start from (BIRDNN, Liang et al. 2023).

Failing examples (negatives) are to behave like well-behaved ones (positives), the behaviour being the outputs.
"""

from typing import Any

from flax import struct

from archrepair_jax.regions.sampling import Cells
from archrepair_jax.training.batches import Samples


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
