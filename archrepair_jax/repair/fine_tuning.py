"""Repair of weights alone: of the suspect block, or of the whole network. The controls that a search has to beat."""

import dataclasses

import jax

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.problem import Problem, Repair, block_pools, image_pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Pool
from archrepair_jax.training.descent import make_optimizer, merge, start_state, tuning_step
from archrepair_jax.training.loop import Loop


def fine_tune_block(problem: Problem, settings: RepairSettings, key: jax.Array, loop: Loop) -> Repair:
    """The suspect block's weights, at the full budget; normalisation keeps its statistics."""
    index, (pool, _) = problem.network.index(problem.block), block_pools(problem, loop.devices)
    return fine_tune(problem, (index, index + 1), pool, settings, loop)


def fine_tune_network(problem: Problem, settings: RepairSettings, key: jax.Array, loop: Loop) -> Repair:
    """All weights, at the full budget and a learning rate of their own; normalisation keeps its statistics."""
    tuning = dataclasses.replace(settings.tuning, learning_rate=settings.network_learning_rate)
    settings = dataclasses.replace(settings, tuning=tuning)
    return fine_tune(problem, (0, len(problem.network.blocks)), image_pool(problem), settings, loop)


def fine_tune(problem: Problem, span: tuple[int, int], pool: Pool, settings: RepairSettings, loop: Loop) -> Repair:
    steps = settings.tuning_steps()
    variables = descend(problem.network, problem.variables, span, pool, steps, settings, loop, train=False)
    return Repair(problem.network, variables, problem.variables, steps * settings.tuning.batch_size)


def descend(
    network: Network,
    variables: Variables,
    span: tuple[int, int],
    pool: Pool,
    steps: int,
    settings: RepairSettings,
    loop: Loop,
    *,
    train: bool,
) -> Variables:
    """``steps`` steps on the blocks of ``span``, whose inputs the pool holds; the network's variables after them."""
    optimizer = make_optimizer(settings.tuning, steps)
    step = tuning_step(network, span, optimizer, settings.tuning, train=train)
    state, _ = loop.run(
        "tuning", step, start_state(network, variables, span, optimizer), (variables, pool), steps=steps
    )
    return merge(variables, jax.device_get(state))
