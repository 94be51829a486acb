"""The settings that all repair methods share."""

import dataclasses

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.search.operations import SPATIAL, VECTOR
from archrepair_jax.training.descent import TuningSettings


@dataclasses.dataclass(frozen=True)
class SpaceSettings:
    """The architectures that a block may get.

    Attributes:
        hidden: inner nodes of the searched graph.
        operations: candidates of every edge; empty for the defaults of ``search.cell``.
    """

    hidden: int = 1
    operations: tuple[str, ...] = ()

    def __post_init__(self):
        within("hidden", self.hidden, 0)
        one_of("operations", self.operations, SPATIAL | VECTOR)


def check_fractions(fractions: tuple[float, ...]) -> None:
    """Raises InputError unless there are fractions of the way from the original (0) to a repair (1)."""
    if not fractions:
        raise InputError("fractions is empty, so that no repair could be accepted: take (1.0,) or more")
    for fraction in fractions:
        within("fractions", fraction, 0.01, 1)


@dataclasses.dataclass(frozen=True)
class GuardSettings:
    """When a repair is accepted, on examples that nothing has learned from.

    Attributes:
        fractions: how far to go from the original (0) to the repair (1); the best admissible one is taken.
        clean_drop: the clean accuracy that may be lost at most.
        fewest: images; where it would have fewer, repairs are cross-fitted (``cross_fitting``), 0 for never.
    """

    fractions: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)
    clean_drop: float = 0.02
    fewest: int = 10

    def __post_init__(self):
        check_fractions(self.fractions)
        within("clean_drop", self.clean_drop, 0, 1)
        within("fewest", self.fewest, 0)


@dataclasses.dataclass(frozen=True)
class RepairSettings:
    """How to repair.

    Attributes:
        method: a key of ``repair.METHODS``.
        block: the block to repair; empty for the localized one.
        budget: sample-gradients that each method may spend, controls included; a third of one is a forward pass, on
            validation and guard examples too (``training.ledger``).
        multiply_adds: that each method may spend besides; 0 for any number.
        recalibration_batches: batches that set a found block's statistics in the end.
        space, tuning, guard: see there.
    """

    method: str = "auto"
    block: str = ""
    budget: int = 65_536
    multiply_adds: int = 0
    recalibration_batches: int = 20
    space: SpaceSettings = SpaceSettings()
    tuning: TuningSettings = TuningSettings()
    guard: GuardSettings = GuardSettings()

    def __post_init__(self):
        within("budget", self.budget, 1)
        within("multiply_adds", self.multiply_adds, 0)
        within("recalibration_batches", self.recalibration_batches, 0)
        if self.tuning.augment:
            raise InputError("tuning.augment must be empty: the repair learns from features that are computed once")
