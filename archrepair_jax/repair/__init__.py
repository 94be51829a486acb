"""Repair methods: each is described in its own file, and one line here lists it."""

from archrepair_jax.repair import architecture, conditional, conditional_search, fine_tuning, regions
from archrepair_jax.repair.imitation import methods as imitation
from archrepair_jax.repair.method import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        architecture.SEARCH,
        conditional.CONDITIONAL,
        conditional_search.SEARCH,
        conditional_search.RANDOM,
        fine_tuning.BLOCK,
        fine_tuning.NETWORK,
        architecture.RANDOM,
        imitation.TUNING,
        imitation.RETRAINING,
        regions.RETRAINING,
        regions.TUNING,
        regions.COMBINED,
    )
}
