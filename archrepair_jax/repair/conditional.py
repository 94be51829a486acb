"""Repair by a block that looks at its input and changes it accordingly, in front of a block.

All candidates at once, without a search: what a search over them has to beat. Why a block in front, when ArchRepair (Qi
et al., TOSEM 2023) repairs the one that is to blame: no weights of one static block can imitate it, and some hundred
parameters need few examples. With more examples, weights behind it learn as well.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.keys import named
from archrepair_jax.models.groups import neighbourhood
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.fine_tuning import descend
from archrepair_jax.repair.method import Method, Plan, check_batches, prefix_passes, step_passes
from archrepair_jax.repair.problem import EVALUATION_BATCH, Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.conditional import RESIDUAL, ConditionalFilters, Filters
from archrepair_jax.search.filters import GATED, measured, reference
from archrepair_jax.training.batches import Pool, scaled
from archrepair_jax.training.descent import Rates, TuningSettings
from archrepair_jax.training.ledger import FORWARD, Cost
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices, ParallelMap

BESIDE = ("nothing", "group", "suffix", "network")
DEFAULT = {4: tuple(GATED), 2: ("film", "bottleneck")}
MEASURED = 512  # examples at most that the reference is measured on, and that the gates are told of


@dataclasses.dataclass(frozen=True)
class ConditionalSettings:
    """Of the inserted block.

    Attributes:
        operations: the candidates, of ``search.conditional.FILTERS``; empty for ``DEFAULT`` of the inputs' kind.
        hidden: units of the gates' hidden layer; 0 makes them linear in the statistics.
        learning_rate: of the inserted block, in place of ``repair.tuning``'s.
        beside: what learns with it: ``nothing``, the ``group`` of the block behind it (by
            ``models.groups.neighbourhood``), the ``suffix``, all that lies behind it, or the whole ``network``.
        beside_rate: the learning rate of that.
    """

    operations: tuple[str, ...] = ()
    hidden: int = 16
    learning_rate: float = 1e-2
    beside: str = "nothing"
    beside_rate: float = 1e-3

    def __post_init__(self):
        within("learning_rate", self.learning_rate, 1e-9)
        within("beside_rate", self.beside_rate, 0)
        one_of("beside", [self.beside], BESIDE)
        self.genotype(4)  # refuses what there is not

    def tuning(self, settings: RepairSettings) -> TuningSettings:
        """The descent that all methods share, at the inserted block's rate."""
        return dataclasses.replace(settings.tuning, learning_rate=self.learning_rate)

    def genotype(self, rank: int) -> Filters:
        """For inputs [B, H, W, C] of rank 4 or [B, D] of rank 2."""
        return Filters(self.operations or DEFAULT[rank], self.hidden)


@dataclasses.dataclass(frozen=True)
class GroupSettings(ConditionalSettings):
    """As there; with many labelled examples, weights that learn beside are better."""

    beside: str = "group"


def conditional(
    problem: Problem, settings: RepairSettings, own: ConditionalSettings, key: jax.Array, loop: Loop
) -> Repair:
    """Measures the reference, then descends on the inserted block with what is left of the budget."""
    before = position(problem.network, settings.block)
    edit = Inserted(before, own.genotype(rank(problem.network, before)))
    start = starting(problem, edit, named(key, "weights"), loop)
    return tune_inserted(problem, edit, start, settings, own, loop)


def starting(problem: Problem, edit: Inserted, key: jax.Array, loop: Loop) -> Variables:
    """The edited network's variables at which it computes what the original does; the reference is measured for it."""
    inputs = pool(problem, "train", edit.before, loop).inputs[passing(problem)]
    values = loop.map("reference", measuring(loop.devices), (), inputs)
    fresh = block_variables(edit.apply(problem.network).init(key), edit.name)
    compared = jax.device_get(reference(jnp.asarray(values)))
    fresh["batch_stats"] = {name: compared[name] for name in fresh["batch_stats"]}
    return {
        collection: entries | ({edit.name: fresh[collection]} if collection in fresh else {})
        for collection, entries in problem.variables.items()
    }


def tune_inserted(
    problem: Problem, edit: Inserted, start: Variables, settings: RepairSettings, own: ConditionalSettings, loop: Loop
) -> Repair:
    """Descends on the inserted block, and on what learns beside it, with what is left of the budget."""
    with loop.ledger.set_aside(gates_price(problem, edit, start, loop)):
        variables = descended(problem, edit, start, settings, own, loop)
    return inserted(problem, edit, start, variables, own.beside, loop)


def descended(
    problem: Problem, edit: Inserted, begin: Variables, settings: RepairSettings, own: ConditionalSettings, loop: Loop
) -> Variables:
    """The edited network's variables after as many steps from where they begin as the budget pays for."""
    network, rates, examples, tuning = descent(problem, edit, settings, own, loop)
    return descend(network, begin, rates, examples, tuning, loop, train=False)


def inserted(problem: Problem, edit: Inserted, start: Variables, variables: Variables, what: str, loop: Loop) -> Repair:
    """The repair, and what there is to tell of it; ``start`` is where the original is, ``what`` learned beside."""
    trained, views = block_variables(variables, edit.name), problem.train.views
    shown = shown_to_gates(problem, edit, loop)
    values = loop.map("gates", gating(edit.genotype, loop.devices), trained, shown)
    means = values.reshape(len(views), len(shown) // len(views), -1).mean(1)
    trace = {
        "before": edit.before,
        "filters": list(edit.genotype.operations),
        "hidden": edit.genotype.hidden,
        "beside": what,
        "added_parameters": sum(leaf.size for leaf in jax.tree.leaves(trained["params"])),
        "gates": {
            str(view): dict(zip(edit.genotype.gated, row, strict=True))
            for view, row in zip(views, means.tolist(), strict=True)
        },
    }
    return Repair((edit,), variables, start, trace)


def shown_to_gates(problem: Problem, edit: Inserted, loop: Loop) -> Array:
    """The train examples, as they enter the block, that the report tells the gates of."""
    return pool(problem, "train", edit.before, loop).inputs[problem.train.some_of_each_view(MEASURED)]


def gates_price(problem: Problem, edit: Inserted, start: Variables, loop: Loop) -> Cost:
    """What it will cost to tell the gates."""
    shown = shown_to_gates(problem, edit, loop)
    return gating(edit.genotype, loop.devices).price(block_variables(start, edit.name), shown)


def descent(
    problem: Problem, edit: Inserted, settings: RepairSettings, own: ConditionalSettings, loop: Loop
) -> tuple[Network, Rates, Pool, TuningSettings]:
    """The edited network, what of it learns, from which examples, and how."""
    learning = beside(problem.network, edit.before, own.beside)
    rates = {edit.name: 1.0} | dict.fromkeys(learning, own.beside_rate / own.learning_rate)
    examples = pool(problem, "train", min({edit.before, *learning}, key=problem.network.index), loop)
    return edit.apply(problem.network), rates, examples, own.tuning(settings)


def rank(network: Network, block: str) -> int:
    """Of a block's inputs."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.float32)
    return jax.eval_shape(lambda v, x: network.span(v, x, 0, network.index(block))[0], shapes, x).ndim


def beside(network: Network, before: str, what: str) -> tuple[str, ...]:
    """The original's blocks that learn with a block inserted before one of them."""
    index = network.index(before)
    behind = next(name for name, module in network.blocks[index:] if module.has_branch)
    suffix = tuple(name for name, module in network.blocks[index:] if module.has_branch)
    return {
        "nothing": (),
        "group": tuple(name for name in neighbourhood(network, behind) if name in suffix),
        "suffix": suffix,
        "network": network.names,
    }[what]


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


@functools.lru_cache(maxsize=4)
def measuring(devices: Devices) -> ParallelMap:
    return ParallelMap(lambda _, x: measured(scaled(x)), devices, EVALUATION_BATCH)


@functools.lru_cache(maxsize=16)
def gating(genotype: Filters, devices: Devices) -> ParallelMap:
    """The gates' values [N, K], means over channels, from an inserted block's variables and its inputs."""

    def gates(variables: Variables, x: jax.Array) -> jax.Array:
        _, sown = ConditionalFilters(genotype).apply(variables, scaled(x), False, mutable=["gates"])
        return sown["gates"]["values"].mean(-1)

    return ParallelMap(gates, devices, EVALUATION_BATCH)


def check(plan: Plan) -> None:
    """Raises InputError for candidates that do not fit what enters the block."""
    check_batches(plan)
    before = position(plan.network, plan.repair.block)
    check_fit(plan.network, Inserted(before, plan.own.genotype(rank(plan.network, before))))


def check_fit(network: Network, edit: Inserted) -> None:
    """Raises InputError for candidates that do not fit what enters the block."""
    try:
        jax.eval_shape(edit.apply(network).init, jax.random.key(0))
    except InputError as error:
        raise InputError(f"operations before {edit.before}: {error}") from error


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
    rest = {"nothing": "the rest is frozen"}.get(trace["beside"], f"the {trace['beside']} behind it learns as well")
    return [f"{rest}; gates with {gates}, {trace['added_parameters']:,} added parameters", *told]


MEANS = {"type": "object", "additionalProperties": {"type": "number"}}
TRACE = {
    "before": {"type": "string", "description": "The block in front of which it stands."},
    "filters": {"type": "array", "items": {"type": "string"}},
    "hidden": {"type": "integer", "minimum": 0, "description": "Units of the gates' hidden layer; 0: there is none."},
    "beside": {"type": "string", "enum": list(BESIDE), "description": "What learned with it."},
    "added_parameters": {"type": "integer", "minimum": 1},
    "gates": {
        "type": "object",
        "description": "By view, each filter's mean gate on train examples, where the descent has ended.",
        "additionalProperties": MEANS,
    },
}
CONDITIONAL = Method("conditional", "network", conditional, ConditionalSettings, check, least, story, TRACE)
WITH_GROUP = dataclasses.replace(CONDITIONAL, name="conditional_group", settings=GroupSettings)


@dataclasses.dataclass(frozen=True)
class InsertedSettings:
    """Of the control whose block does not look at its input: its ``learning_rate`` alone."""

    learning_rate: float = 1e-2

    def __post_init__(self):
        within("learning_rate", self.learning_rate, 1e-9)

    @property
    def block(self) -> ConditionalSettings:
        return ConditionalSettings((RESIDUAL,), 0, self.learning_rate)


def check_inserted(plan: Plan) -> None:
    """Raises InputError where there are no maps to convolve."""
    check_batches(plan)
    before = position(plan.network, plan.repair.block)
    if rank(plan.network, before) != 4:
        raise InputError(f"inserted_convolution needs maps, and vectors enter {before}: name another in repair.block")


INSERTED = Method(
    "inserted_convolution",
    "network",
    lambda problem, settings, own, key, loop: conditional(problem, settings, own.block, key, loop),
    InsertedSettings,
    check_inserted,
    least,
    lambda trace: [f"the rest is frozen; {trace['added_parameters']:,} added parameters"],
    TRACE,
)
