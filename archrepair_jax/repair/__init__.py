"""Repair methods, one contract: ``repair(problem, settings, key, loop) -> Repair``, all within ``settings.budget``."""

from archrepair_jax.repair.architecture import architecture_search, random_architecture
from archrepair_jax.repair.fine_tuning import fine_tune_block, fine_tune_network

METHODS = {
    "architecture_search": architecture_search,
    "fine_tune_block": fine_tune_block,
    "fine_tune_network": fine_tune_network,
    "random_architecture": random_architecture,
}
