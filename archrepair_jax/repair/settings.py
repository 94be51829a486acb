"""The settings that all repair methods share."""

import dataclasses

from archrepair_jax.repair.imitation.retraining import ImitationRetrainingSettings
from archrepair_jax.repair.imitation.tuning import ImitationTuningSettings
from archrepair_jax.search.bilevel import SearchSettings
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.swarm import SwarmSettings


@dataclasses.dataclass(frozen=True)
class GuardSettings:
    """When a repair is accepted, on examples that nothing has learned from.

    Attributes:
        fractions: how far to go from the original (0) to the repair (1); the best admissible one is taken.
        clean_drop: the clean accuracy that may be lost at most.
    """

    fractions: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)
    clean_drop: float = 0.02


@dataclasses.dataclass(frozen=True)
class RepairSettings:
    """How to repair.

    Attributes:
        method: a key of ``repair.METHODS``.
        block: the block to repair; empty for the localized one.
        budget: sample-gradients that each method may spend, controls included; a third of one is a forward pass, on
            validation and guard examples too (``training.ledger``).
        multiply_adds: that each method may spend besides; 0 for any number.
        network_learning_rate: of ``fine_tune_network``, in place of ``tuning``'s; a whole network wants a smaller one
            than a single block.
        recalibration_batches: batches that set a found block's statistics in the end.
        search, tuning, guard: see there.
        imitation_tuning: see there; a passing example whose decision changes is a broken one, which ``fidelity`` would
            count a second time.
        imitation_retraining: see there; its steps and its batches follow from the budget and ``tuning``.
    """

    method: str = "architecture_search"
    block: str = ""
    budget: int = 65_536
    multiply_adds: int = 0
    network_learning_rate: float = 1e-3
    recalibration_batches: int = 20
    search: SearchSettings = SearchSettings()
    tuning: TuningSettings = TuningSettings()
    guard: GuardSettings = GuardSettings()
    imitation_tuning: ImitationTuningSettings = ImitationTuningSettings(
        broken=1.5, fidelity=0.0, chunk=20, swarm=SwarmSettings(particles=10, iterations=20, velocity=0.3)
    )
    imitation_retraining: ImitationRetrainingSettings = ImitationRetrainingSettings(
        imitate=0.5, hold=0.5, margin=0.75, margin_weight=4.0, preferences=0.0, learning_rate=1e-3
    )
