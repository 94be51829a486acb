"""Repair of weights alone: of a block, a group, or the whole network. The controls that a search has to beat."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from archrepair_jax.errors import within
from archrepair_jax.models.groups import Group, group, neighbourhood
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.method import Method, Plan, check_batches, prefix_passes, step_passes
from archrepair_jax.repair.problem import Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Pool
from archrepair_jax.training.descent import Rates, TuningSettings, merge, start_state, tuning_step
from archrepair_jax.training.loop import Loop, steps_left


@dataclasses.dataclass(frozen=True)
class RateSettings:
    """How fast weights learn.

    Attributes:
        learning_rate: in place of ``repair.tuning``'s; 0 for that one.
    """

    learning_rate: float = 0.0

    def __post_init__(self):
        within("learning_rate", self.learning_rate, 0)

    def tuning(self, settings: RepairSettings) -> TuningSettings:
        """The descent that all methods share, at this rate."""
        rate = self.learning_rate or settings.tuning.learning_rate
        return dataclasses.replace(settings.tuning, learning_rate=rate)


@dataclasses.dataclass(frozen=True)
class NetworkTuningSettings(RateSettings):
    """As there; a whole network wants a smaller rate than a single block."""

    learning_rate: float = 1e-3


@dataclasses.dataclass(frozen=True)
class GroupTuningSettings(RateSettings):
    """As there, and which group.

    Attributes:
        group: neighbouring blocks by name or stage, as ``stem+stage1`` (see ``models.groups``); empty for the suspect's
            ``neighbourhood``: its stage, the stem counting with the first one, or the suspect alone where names tell of
            no stage or it is a group already.
    """

    group: str = ""


def fine_tune_block(
    problem: Problem, settings: RepairSettings, own: RateSettings, key: jax.Array, loop: Loop
) -> Repair:
    """The suspect block's weights, at the full budget; normalisation keeps its statistics."""
    return fine_tune(problem, {problem.block: 1.0}, own.tuning(settings), loop)


def fine_tune_last(problem: Problem, settings: RepairSettings, own: RateSettings, key: jax.Array, loop: Loop) -> Repair:
    """The last block's weights alone, whichever is to blame."""
    return fine_tune_some(problem, problem.network.names[-1:], own.tuning(settings), loop)


def fine_tune_group(
    problem: Problem, settings: RepairSettings, own: GroupTuningSettings, key: jax.Array, loop: Loop
) -> Repair:
    """The weights of the suspect and its neighbours, at one rate; normalisation keeps its statistics."""
    names = members(problem.network, problem.block, own.group)
    return fine_tune_some(problem, names, own.tuning(settings), loop)


def fine_tune_network(
    problem: Problem, settings: RepairSettings, own: NetworkTuningSettings, key: jax.Array, loop: Loop
) -> Repair:
    """All weights, at the full budget and a learning rate of their own; normalisation keeps its statistics."""
    return fine_tune(problem, dict.fromkeys(problem.network.names, 1.0), own.tuning(settings), loop)


def members(network: Network, block: str, name: str) -> tuple[str, ...]:
    """The blocks of the group that is named, or else of a block's neighbourhood.

    Raises InputError for what makes no group, as ``models.groups.group`` does.
    """
    if not name:
        return neighbourhood(network, block)
    if isinstance(dict(network.blocks).get(name), Group):
        return (name,)
    grouped, _ = group(network, {}, name)
    return tuple(member for member, _ in dict(grouped.blocks)[name].members)


def fine_tune_some(problem: Problem, names: tuple[str, ...], tuning: TuningSettings, loop: Loop) -> Repair:
    """``fine_tune`` at one rate; the trace tells which blocks learned."""
    repair = fine_tune(problem, dict.fromkeys(names, 1.0), tuning, loop)
    return dataclasses.replace(repair, trace={"blocks": list(names)})


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

    step, data = tuning_step(network, rates, tuning, train=train), (variables, examples)
    steps = steps_left(loop, step, start_state(variables, rates, tuning, 1), data)
    state, _ = loop.run("tuning", step, start_state(variables, rates, tuning, steps), data, steps=steps)
    return merge(variables, jax.device_get(state))


def least(plan: Plan) -> int:
    """The blocks before, once, and a step."""
    return prefix_passes(plan, "train") + step_passes(plan)


def least_last(plan: Plan) -> int:
    return least(dataclasses.replace(plan, block=plan.network.names[-1]))


def least_group(plan: Plan) -> int:
    first = members(plan.network, plan.block, plan.own.group)[0]
    return least(dataclasses.replace(plan, block=first))


def check_group(plan: Plan) -> None:
    check_batches(plan)
    members(plan.network, plan.block, plan.own.group)


def tell_blocks(trace: Mapping[str, Any]) -> list[str]:
    return [f"what learned: {', '.join(trace['blocks'])}"]


BLOCKS = {"blocks": {"type": "array", "description": "The blocks that learned.", "items": {"type": "string"}}}
BLOCK = Method("fine_tune_block", "block", fine_tune_block, RateSettings, least=least)
LAST = Method(
    "fine_tune_last", "network", fine_tune_last, RateSettings, least=least_last, story=tell_blocks, trace=BLOCKS
)
GROUP = Method(
    "fine_tune_group", "network", fine_tune_group, GroupTuningSettings, check_group, least_group, tell_blocks, BLOCKS
)
NETWORK = Method("fine_tune_network", "network", fine_tune_network, NetworkTuningSettings)
