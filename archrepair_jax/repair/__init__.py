"""Repair methods, one contract: ``repair(problem, settings, key, loop) -> Repair``, all within ``settings.budget``."""

from archrepair_jax.repair.architecture import architecture_search, random_architecture
from archrepair_jax.repair.fine_tuning import fine_tune_block, fine_tune_network
from archrepair_jax.repair.imitation.methods import imitation_retraining, imitation_tuning

METHODS = {
    "architecture_search": architecture_search,
    "fine_tune_block": fine_tune_block,
    "fine_tune_network": fine_tune_network,
    "random_architecture": random_architecture,
    "imitation_tuning": imitation_tuning,
    "imitation_retraining": imitation_retraining,
}
WHOLE_NETWORK = ("fine_tune_network", "imitation_tuning", "imitation_retraining")  # and not the suspect
