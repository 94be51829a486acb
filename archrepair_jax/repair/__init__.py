"""Repair methods: each is described in its own file, and one line here lists it."""

from archrepair_jax.repair import (
    architecture,
    auto,
    batch_statistics,
    conditional,
    conditional_search,
    conditional_space,
    fine_tuning,
    regions,
    relative_gradients,
    weight_average,
)
from archrepair_jax.repair.imitation import methods as imitation
from archrepair_jax.repair.method import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        architecture.SEARCH,
        conditional.CONDITIONAL,
        conditional.WITH_GROUP,
        conditional_search.SEARCH,
        conditional_space.RANDOM,
        conditional.INSERTED,
        fine_tuning.BLOCK,
        fine_tuning.LAST,
        fine_tuning.GROUP,
        fine_tuning.NETWORK,
        relative_gradients.AUTO,
        relative_gradients.SPECTRUM,
        weight_average.AVERAGE,
        batch_statistics.STATISTICS,
        architecture.RANDOM,
        imitation.TUNING,
        imitation.RETRAINING,
        regions.RETRAINING,
        regions.TUNING,
        regions.COMBINED,
    )
}
METHODS["auto"] = auto.race(METHODS)
