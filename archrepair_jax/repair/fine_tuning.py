"""Repair of weights alone: of the suspect block, or of the whole network. The controls that a search has to beat."""

import dataclasses

import jax

from archrepair_jax.errors import within
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.method import Method, NoSettings, Plan, prefix_passes, step_passes
from archrepair_jax.repair.problem import Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Pool
from archrepair_jax.training.descent import Rates, TuningSettings, make_optimizer, merge, start_state, tuning_step
from archrepair_jax.training.loop import Loop, steps_left


@dataclasses.dataclass(frozen=True)
class NetworkTuningSettings:
    """How a whole network is tuned.

    Attributes:
        learning_rate: in place of ``repair.tuning``'s; a whole network wants a smaller one than a single block.
    """

    learning_rate: float = 1e-3

    def __post_init__(self):
        within("learning_rate", self.learning_rate, 0)


def fine_tune_block(problem: Problem, settings: RepairSettings, own: NoSettings, key: jax.Array, loop: Loop) -> Repair:
    """The suspect block's weights, at the full budget; normalisation keeps its statistics."""
    return fine_tune(problem, {problem.block: 1.0}, settings.tuning, loop)


def fine_tune_network(
    problem: Problem, settings: RepairSettings, own: NetworkTuningSettings, key: jax.Array, loop: Loop
) -> Repair:
    """All weights, at the full budget and a learning rate of their own; normalisation keeps its statistics."""
    tuning = dataclasses.replace(settings.tuning, learning_rate=own.learning_rate)
    return fine_tune(problem, dict.fromkeys(problem.network.names, 1.0), tuning, loop)


def fine_tune(problem: Problem, rates: Rates, tuning: TuningSettings, loop: Loop) -> Repair:
    """The weights of the blocks that have a rate, for as many steps as the budget pays for."""
    first = min(rates, key=problem.network.index)
    examples = pool(problem, "train", first, loop)
    variables = descend(problem.network, problem.variables, rates, examples, tuning, loop, train=False)
    return Repair((), variables, problem.variables)


def descend(
    network: Network,
    variables: Variables,
    rates: Rates,
    examples: Pool,
    tuning: TuningSettings,
    loop: Loop,
    *,
    train: bool,
) -> Variables:
    """The network's variables after as many steps on the blocks that have a rate as the loop's budget pays for.

    ``examples`` hold the inputs of the first of these blocks. Raises InputError if nothing is left for a step.
    """

    def begin(steps: int):
        optimizer = make_optimizer(tuning, steps, rates)
        step = tuning_step(network, rates, optimizer, tuning, train=train)
        return step, start_state(variables, rates, optimizer)

    data = variables, examples
    steps = steps_left(loop, *begin(1), data)
    state, _ = loop.run("tuning", *begin(steps), data, steps=steps)
    return merge(variables, jax.device_get(state))


def least(plan: Plan) -> int:
    """The blocks before, once, and a step."""
    return prefix_passes(plan, "train") + step_passes(plan)


BLOCK = Method("fine_tune_block", "block", fine_tune_block, least=least)
NETWORK = Method("fine_tune_network", "network", fine_tune_network, NetworkTuningSettings)
