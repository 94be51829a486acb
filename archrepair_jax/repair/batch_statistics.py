"""Repair without a gradient: the statistics of all normalisation measured anew, on the images that are to be repaired.

Known as adaptation of batch normalisation to a shift (Schneider et al. 2020; Nado et al. 2020). There the test images
are measured, one corruption at a time; here the train examples of all views together, the mixture that one network has
to serve.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int, PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import exact
from archrepair_jax.repair.method import Method, NoSettings, Plan, check_batches
from archrepair_jax.repair.problem import Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Pool, draw_batch, repair_loss
from archrepair_jax.training.ledger import FORWARD, note_forward
from archrepair_jax.training.loop import Loop, steps_left
from archrepair_jax.training.parallel import mean


class StatisticsState(struct.PyTreeNode):
    """The sum of the statistics of so many batches."""

    step: Int[Array, ""]
    total: dict


def batch_statistics(
    problem: Problem, settings: RepairSettings, own: NoSettings, key: PRNGKeyArray, loop: Loop
) -> Repair:
    """Means over one epoch in batches of ``repair.tuning.batch_size``, or as much of it as the budget pays for.

    Our choice: each batch is normalised by its own statistics, in all layers at once, and those are averaged; so a
    layer is measured behind layers that see one batch, and the spread between batches' means is not in the variance.
    Whether the original network is right plays no part in the order. Weights stay, and so does what no batch moves,
    as the normalisation of the input.
    """
    network, variables, size = problem.network, problem.variables, settings.tuning.batch_size
    examples = mixed(pool(problem, "train", network.names[0], loop))
    step = measuring_step(network, size)
    start = StatisticsState(jnp.int32(0), jax.tree.map(jnp.zeros_like, variables["batch_stats"]))
    steps = min(steps_left(loop, step, start, (variables, examples)), max(1, len(examples.labels) // size))
    state, _ = loop.run("statistics", step, start, (variables, examples), steps=steps)
    means = jax.tree.map(lambda leaf: leaf / steps, jax.device_get(state.total))
    return Repair((), variables | {"batch_stats": means}, variables)


def mixed(examples: Pool) -> Pool:
    """The same examples, drawn without regard to which of them fail."""
    everything = jnp.arange(len(examples.labels), dtype=jnp.int32)
    return examples.replace(failing=everything[:0], passing=everything)


def measuring_step(network: Network, size: int) -> Callable:
    """Adds one batch's statistics."""

    @exact  # the statistics are a part of the network
    def step(state: StatisticsState, data: tuple[Variables, Pool]) -> tuple[StatisticsState, dict]:
        variables, examples = data
        batch, before = draw_batch(examples, state.step, size, 0.0), variables["batch_stats"]
        note_forward(len(batch.labels))

        def running(statistics):
            given = variables | {"batch_stats": statistics}
            x, updated = network.span(given, batch.inputs, 0, len(network.blocks), train=True)
            return updated, repair_loss(x, batch, 0.0)

        # updated = momentum * before + (1 - momentum) * own, and modules of others have a momentum of their own
        after, momentum, loss = jax.jvp(running, (before,), (jax.tree.map(jnp.ones_like, before),), has_aux=True)
        own = jax.tree.map(
            lambda a, b, m: jnp.where(m < 1, (a - m * b) / (1 - m), b), mean(after), before, mean(momentum)
        )
        return StatisticsState(state.step + 1, jax.tree.map(jnp.add, state.total, own)), {"loss": mean(loss)}

    return step


def check(plan: Plan) -> None:
    """Raises InputError for a network without batch statistics."""
    check_batches(plan)
    if not jax.eval_shape(plan.network.init, jax.random.key(0))["batch_stats"]:
        raise InputError("batch_statistics finds no batch statistics in this network: take fine_tune_network")


def least(plan: Plan) -> int:
    """One batch."""
    return FORWARD * plan.repair.tuning.batch_size


STATISTICS = Method("batch_statistics", "network", batch_statistics, check=check, least=least)
