"""What acceptance says of a repair, be it by the guard or by a proof, and what follows from it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax

from archrepair_jax.models.network import Variables
from archrepair_jax.regions.sampling import Cells
from archrepair_jax.repair.edits import Edit
from archrepair_jax.repair.problem import Repair
from archrepair_jax.training.batches import Samples


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a repair is taken, and how far.

    Attributes:
        decision: ``repaired``, ``interpolated`` (a mixture with the original weights), ``unchanged``, ``over budget``,
            ``not clean`` or ``nothing to repair``.
        reason: a word on it, where there is one.
        fraction: how far from the original (0) to the repair (1).
        evidence: what it rests on, JSON for the report.
        counterexamples: what the next round of the repair is to learn from: inputs that are still wrong, or cells where
            nothing could be decided; None ends the rounds.
    """

    decision: str
    reason: str = ""
    fraction: float = 0.0
    evidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counterexamples: Samples | Cells | None = None

    def as_json(self) -> dict[str, Any]:
        """Its words and its evidence."""
        return {"decision": self.decision, "reason": self.reason, **self.evidence}


def taken(original: Variables, repair: Repair, verdict: Verdict) -> tuple[tuple[Edit, ...], Variables]:
    """The edits and variables that a verdict leaves of a repair; at fraction 0 the untouched original."""
    if verdict.fraction == 0.0:
        return (), original
    return repair.edits, at_fraction(repair, verdict.fraction)


def at_fraction(repair: Repair, fraction: float) -> Variables:
    """The variables on the line from the original (0) to the repair (1)."""
    if fraction == 1.0:
        return repair.variables
    chex.assert_trees_all_equal_shapes(repair.start, repair.variables)  # of others the sum would broadcast
    return jax.tree.map(lambda a, b: (1 - fraction) * a + fraction * b, repair.start, repair.variables)
