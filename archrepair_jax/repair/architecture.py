"""Repair of a block's architecture together with its weights: by search, and at random for comparison.

The first is the project's reading of ArchRepair (Qi et al., TOSEM 2023), whose code and details are not public: relax
the suspect block, search, decide, fine-tune. The second spends the same budget on tuning a random architecture.
"""

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.precision import exact
from archrepair_jax.repair.fine_tuning import descend
from archrepair_jax.repair.problem import Problem, Repair, block_pools
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings
from archrepair_jax.search.cell import (
    FoundBlock,
    Genotype,
    RelaxedBlock,
    Space,
    arrow,
    beside,
    edge_name,
    full_masks,
    make_space,
    random_genotype,
)
from archrepair_jax.search.operations import ORIGINAL
from archrepair_jax.search.selection import by_perturbation, inherit, largest_alpha, silenced
from archrepair_jax.training.batches import Pool, draw
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import mean, parallel_steps, replicate


def architecture_search(problem: Problem, settings: RepairSettings, key: jax.Array, loop: Loop) -> Repair:
    """Warm-up, bilevel search, decision, fine-tuning of the found block with what is left of the budget."""
    choose = settings.search
    space = make_space(problem.network, problem.variables, problem.block, choose.hidden, choose.operations)
    original = dict(problem.network.blocks)[problem.block]
    spent = search_cost(choose, space, settings.tuning.batch_size)
    settings.tuning_steps(spent)  # refuses a budget too small before any work is done

    train, validation = block_pools(problem, loop.devices)
    keys = jax.random.split(key, 3)
    search = Search(problem.network, problem.block, RelaxedBlock(original, space), choose, settings.tuning)
    state = search.start(block_variables(problem.variables, problem.block), train.inputs[:1], keys[0])
    data = SearchData(problem.variables, full_masks(space), train, validation)
    state, _ = loop.run("warmup", search.weight_step, state, data, steps=choose.warmup_steps)
    start = {"step": 0, "alphas": jax.device_get(state.alphas)}
    state, history = loop.run("search", search.bilevel_step, state, data, steps=choose.steps)
    losses = {}
    if choose.selection == "perturbation":
        genotype, state, losses = by_perturbation(search, state, data, choose, keys[1], loop)
    else:
        genotype = largest_alpha(search, state)

    network = install(problem.network, problem.block, genotype)
    template = block_variables(jax.eval_shape(network.init, keys[2]), problem.block)
    variables = put(problem.variables, problem.block, inherit(jax.device_get(state), genotype, template))
    details = {
        "alphas": [
            {"step": entry["step"], "edges": {arrow(e): softmax(entry["alphas"][edge_name(e)]) for e in space.edges}}
            for entry in [start, *history]
        ],
        "operations": {arrow(edge): list(space.candidates(edge)) for edge in space.edges},
        "selection": losses,
    }
    return tune_found(problem, network, variables, genotype, train, spent, settings, loop, details)


def random_architecture(problem: Problem, settings: RepairSettings, key: jax.Array, loop: Loop) -> Repair:
    """A random architecture beside the original branch, fine-tuned with the whole budget.

    It starts where the original is, as the search does, which makes it a strong control; one that threw the original
    branch away would be easier to beat.
    """
    choose = settings.search
    space = make_space(problem.network, problem.variables, problem.block, choose.hidden, choose.operations)
    genotype_key, weights_key = jax.random.split(key)
    genotype = random_genotype(space, genotype_key)
    network = install(problem.network, problem.block, genotype)
    fresh = block_variables(network.init(weights_key), problem.block)
    kept = beside(fresh, block_variables(problem.variables, problem.block))
    train, _ = block_pools(problem, loop.devices)
    return tune_found(problem, network, put(problem.variables, problem.block, kept), genotype, train, 0, settings, loop)


def tune_found(
    problem: Problem,
    network: Network,
    variables: Variables,
    genotype: Genotype,
    pool: Pool,
    spent: int,
    settings: RepairSettings,
    loop: Loop,
    details: dict | None = None,
) -> Repair:
    """Fine-tunes a found block with what is left of the budget, and measures its statistics anew."""
    index, steps = network.index(problem.block), settings.tuning_steps(spent)
    variables = descend(network, variables, (index, index + 1), pool, steps, settings, loop, train=True)
    variables = recalibrate(network, variables, problem.block, pool, settings, loop)
    original = block_variables(problem.variables, problem.block)
    silent = silenced(block_variables(variables, problem.block), original, genotype)
    return Repair(
        network,
        variables,
        silent and put(problem.variables, problem.block, silent),
        spent + steps * settings.tuning.batch_size,
        {"genotype": genotype.as_json(), **(details or {})},
    )


def install(network: Network, block: str, genotype: Genotype) -> Network:
    """The network with the found block in place of ``block``."""
    return network.replace(block, FoundBlock(dict(network.blocks)[block], genotype))


def put(variables: Variables, block: str, own: Variables) -> Variables:
    """The variables with one block's replaced."""
    return {
        collection: entries | ({block: own[collection]} if collection in own else {})
        for collection, entries in variables.items()
    }


def recalibrate(
    network: Network, variables: Variables, block: str, pool: Pool, settings: RepairSettings, loop: Loop
) -> Variables:
    """Replaces the new operations' running statistics by their mean over ``recalibration_batches`` train batches.

    Those of the original branch stay as they are, here as in every other method.
    """
    batches, size = settings.recalibration_batches, settings.tuning.batch_size
    module, own = dict(network.blocks)[block], block_variables(variables, block)
    new = {name: leaf for name, leaf in own.get("batch_stats", {}).items() if name != ORIGINAL}
    if not new or not batches:
        return variables

    @exact  # the statistics are a part of the network
    def step(state, data):
        number, total = state
        own, pool = data
        batch = draw(pool, number, size, settings.tuning.failing_share)
        empty = own | {"batch_stats": own["batch_stats"] | jax.tree.map(jnp.zeros_like, new)}
        _, updated = module.apply(empty, batch.inputs, True, mutable=["batch_stats"])
        share = {name: updated["batch_stats"][name] for name in new}
        # from zero, a running mean with momentum 0.9 is a tenth of the batch's own value
        return (number + 1, jax.tree.map(lambda a, b: a + b * 10 / batches, total, mean(share))), {}

    call = parallel_steps(step, loop.devices, 1)
    state = replicate((jnp.int32(0), jax.tree.map(jnp.zeros_like, new)), loop.devices)
    data = replicate((own, pool), loop.devices)
    for _ in range(batches):
        state, _ = call(state, data)
    statistics = own["batch_stats"] | jax.device_get(state[1])
    return put(variables, block, own | {"batch_stats": statistics})


def search_cost(settings: SearchSettings, space: Space, batch_size: int) -> int:
    """Sample-gradients of a search, before fine-tuning.

    A bilevel step counts two passes (four at second order: the look-ahead and its derivative), and every example that
    judges a candidate counts as one although it needs no gradient, which favours the controls.
    """
    steps = settings.warmup_steps + settings.steps * (2 if settings.order == 1 else 4)
    judged = 0
    if settings.selection == "perturbation":
        steps += settings.projection_steps * len(space.edges)
        judged = settings.selection_examples * sum(len(space.candidates(edge)) for edge in space.edges)
    return steps * batch_size + judged


def softmax(alpha: np.ndarray | list[float]) -> list[float]:
    return jax.nn.softmax(jnp.asarray(alpha)).tolist()
