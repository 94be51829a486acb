"""What can be known to be wrong before any work is done or any file is written."""

import jax
import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.line.settings import Settings, one_of
from archrepair_jax.models.network import Network
from archrepair_jax.repair.architecture import search_cost
from archrepair_jax.repair.imitation.methods import check_tuning
from archrepair_jax.search.cell import Space, make_space
from archrepair_jax.training.ledger import GRADIENT, Cost
from archrepair_jax.training.parallel import Devices, check_batch
from archrepair_jax.views.view import CLEAN

SMALLEST_CORRUPTED = 28  # pixels a side: the corruptions' blurs and patches do not fit into less


def check_batches(settings: Settings, devices: Devices) -> None:
    """Raises InputError unless every batch of the steps that will run divides among the devices."""
    if not settings.model.weights:
        check_batch(settings.training.descent.batch_size, devices, "training.descent.batch_size")
    if settings.methods:
        check_batch(settings.repair.tuning.batch_size, devices, "repair.tuning.batch_size")
    if "imitation_retraining" in settings.methods:  # one for the negatives, one for the positives, two for the others
        check_batch(settings.repair.tuning.batch_size // 4, devices, "a quarter of repair.tuning.batch_size")
    if "architecture_search" in settings.methods and settings.repair.search.selection == "perturbation":
        check_batch(settings.repair.search.selection_examples, devices, "repair.search.selection_examples")


def check_network(settings: Settings, network: Network) -> None:
    """Raises InputError for images too small to corrupt, blocks that there are not, and a budget too small."""
    repair, (height, width, _) = settings.repair, network.image_shape
    seen = (settings.failures.views if set(settings.stages) - {"evaluate"} else ()) + (
        settings.evaluation.views if "evaluate" in settings.stages else ()
    )
    if min(height, width) < SMALLEST_CORRUPTED and any(view != CLEAN and not view.attack for view in seen):
        raise InputError(
            f"the images are {height}x{width}, and corruptions need {SMALLEST_CORRUPTED}x{SMALLEST_CORRUPTED}: "
            "enlarge them, or empty failures.kinds and evaluation.kinds"
        )
    one_of("localization.exclude", settings.localization.exclude, network.names)
    if repair.block:
        one_of("repair.block", [repair.block], network.names)
    if "imitation_tuning" in settings.methods:
        check_tuning(repair, network)
    spent = dict.fromkeys(settings.methods, 0)
    if {"architecture_search", "random_architecture"} & spent.keys():
        space = a_space(settings, network)
        if "architecture_search" in spent:
            spent["architecture_search"] = search_cost(repair.search, space, repair.tuning.batch_size)
    for passes in spent.values():
        least = Cost(passes + GRADIENT * repair.tuning.batch_size).sample_gradients
        if repair.budget < least:
            raise InputError(f"repair.budget={repair.budget} leaves no step to tune: raise it well above {least}")


def a_space(settings: Settings, network: Network) -> Space:
    """The space of the block to repair or, before that is known, of the first that may be blamed: all are alike.

    Raises InputError for a block that cannot be searched (of our networks' only the first layer of the mlp).
    """
    excluded = {network.names[0], *settings.localization.exclude}
    block = settings.repair.block or next((name for name in network.names if name not in excluded), network.names[-1])
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    search = settings.repair.search
    try:
        return make_space(network, zeros, block, search.hidden, search.operations)
    except InputError as error:
        raise InputError(f"{error} in repair.block, or keep it out by localization.exclude") from error
