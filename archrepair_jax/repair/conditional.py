"""Repair by a block that looks at its input and filters it accordingly, in front of a network that stays as it is.

All filters at once, without a search: what a search over them has to beat. Why a block in front, when ArchRepair (Qi et
al., TOSEM 2023) repairs the one that is to blame: no weights of one static block can imitate it, and some hundred
parameters need few examples.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.errors import InputError, within
from archrepair_jax.keys import named
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.fine_tuning import descend
from archrepair_jax.repair.method import Method, Plan, check_batches, prefix_passes, step_passes
from archrepair_jax.repair.problem import EVALUATION_BATCH, Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.conditional import GATED, ConditionalFilters, Filters, measured, reference
from archrepair_jax.training.batches import scaled
from archrepair_jax.training.ledger import FORWARD
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices, ParallelMap

MEASURED = 512  # examples at most that the reference is measured on, and that the gates are told of


@dataclasses.dataclass(frozen=True)
class ConditionalSettings:
    """Of the inserted block.

    Attributes:
        operations: the filters, of ``search.conditional.FILTERS``.
        hidden: units of the gates' hidden layer; 0 makes them linear in the statistics.
        learning_rate: in place of ``repair.tuning``'s.
    """

    operations: tuple[str, ...] = tuple(GATED)
    hidden: int = 16
    learning_rate: float = 1e-2

    def __post_init__(self):
        within("learning_rate", self.learning_rate, 0)
        Filters(self.operations, self.hidden)  # refuses what there is not

    @property
    def genotype(self) -> Filters:
        return Filters(self.operations, self.hidden)


def conditional(
    problem: Problem, settings: RepairSettings, own: ConditionalSettings, key: jax.Array, loop: Loop
) -> Repair:
    """Measures the reference, then descends on the inserted block alone with what is left of the budget."""
    edit = Inserted(position(problem.network, settings.block), own.genotype)
    network, train = edit.apply(problem.network), pool(problem, "train", edit.before, loop)
    values = loop.map("reference", measuring(loop.devices), (), train.inputs[passing(problem)])
    fresh = block_variables(network.init(named(key, "weights")), edit.name)
    compared = jax.device_get(reference(jnp.asarray(values)))
    fresh["batch_stats"] = {name: compared[name] for name in fresh["batch_stats"]}
    start = {
        collection: entries | ({edit.name: fresh[collection]} if collection in fresh else {})
        for collection, entries in problem.variables.items()
    }
    tuning = dataclasses.replace(settings.tuning, learning_rate=own.learning_rate)
    shown, gates = train.inputs[some_of_each_view(problem)], gating(own.genotype, loop.devices)
    with loop.ledger.set_aside(gates.price(fresh, shown)):
        variables = descend(network, start, {edit.name: 1.0}, train, tuning, loop, train=False)
    trained, views = block_variables(variables, edit.name), problem.train.views
    means = loop.map("gates", gates, trained, shown).reshape(len(views), -1, len(own.genotype.gated)).mean(1)
    trace = {
        "before": edit.before,
        "filters": list(own.operations),
        "hidden": own.hidden,
        "added_parameters": sum(leaf.size for leaf in jax.tree.leaves(trained["params"])),
        "gates": {
            str(view): dict(zip(own.genotype.gated, row, strict=True))
            for view, row in zip(views, means.tolist(), strict=True)
        },
    }
    return Repair((edit,), variables, start, trace)


def position(network: Network, block: str) -> str:
    """The block to stand in front of: the one that is named, or the first.

    Where only a normalisation lies before it, that is the normalisation: the filters do the same there, and
    nothing has to be computed before them.
    """
    before = network.index(block) if block else 0
    return block if any(module.has_branch for _, module in network.blocks[:before]) else network.names[0]


def passing(problem: Problem) -> np.ndarray:
    """Clean examples that the original network gets right, at most ``MEASURED``; any clean ones if there are none."""
    clean = problem.train.correct[0]  # the first view
    return np.flatnonzero(clean if clean.any() else ~clean)[:MEASURED]


def some_of_each_view(problem: Problem) -> np.ndarray:
    """As many examples of every view, ``MEASURED`` at most in all but one of each at least."""
    views, images = problem.train.correct.shape
    return (np.arange(views)[:, None] * images + np.arange(min(images, max(1, MEASURED // views)))).reshape(-1)


@functools.lru_cache(maxsize=4)
def measuring(devices: Devices) -> ParallelMap:
    return ParallelMap(lambda _, x: measured(scaled(x)), devices, EVALUATION_BATCH)


@functools.lru_cache(maxsize=16)
def gating(genotype: Filters, devices: Devices) -> ParallelMap:
    """The gates' values [N, K], from an inserted block's variables and its inputs."""

    def gates(variables: Variables, x: jax.Array) -> jax.Array:
        _, sown = ConditionalFilters(genotype).apply(variables, scaled(x), False, mutable=["gates"])
        return sown["gates"]["values"] if genotype.gated else jnp.zeros((len(x), 0))

    return ParallelMap(gates, devices, EVALUATION_BATCH)


def check(plan: Plan) -> None:
    """Raises InputError where there are no maps to filter."""
    check_batches(plan)
    edit = Inserted(position(plan.network, plan.repair.block), plan.own.genotype)
    try:
        jax.eval_shape(edit.apply(plan.network).init, jax.random.key(0))
    except InputError as error:
        raise InputError(f"{error}, which enter {edit.before}: name another block in repair.block") from error


def least(plan: Plan) -> int:
    """The blocks before, an example of the reference, a look at the gates, and a step."""
    before = position(plan.network, plan.repair.block)
    return prefix_passes(dataclasses.replace(plan, block=before), "train") + 2 * FORWARD + step_passes(plan)


def story(trace: Mapping[str, Any]) -> list[str]:
    """What the block is made of, and what its gates say of each view."""
    gates = f"a hidden layer of {trace['hidden']}" if trace["hidden"] else "no hidden layer"
    told = [
        f"mean gates on {view}: {', '.join(f'{name} {mean:+.2f}' for name, mean in means.items())}"
        for view, means in trace["gates"].items()
        if means
    ]
    return [f"the rest is frozen; gates with {gates}, {trace['added_parameters']:,} parameters in all", *told]


MEANS = {"type": "object", "additionalProperties": {"type": "number"}}
TRACE = {
    "before": {"type": "string", "description": "The block in front of which it stands."},
    "filters": {"type": "array", "items": {"type": "string"}},
    "hidden": {"type": "integer", "minimum": 0, "description": "Units of the gates' hidden layer; 0: there is none."},
    "added_parameters": {"type": "integer", "minimum": 1},
    "gates": {
        "type": "object",
        "description": "By view, each filter's mean gate on train examples, where the descent has ended.",
        "additionalProperties": MEANS,
    },
}
CONDITIONAL = Method("conditional", "network", conditional, ConditionalSettings, check, least, story, TRACE)
