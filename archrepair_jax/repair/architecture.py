"""Repair of a block's architecture together with its weights: by search, and at random for comparison.

The first is the project's reading of ArchRepair (Qi et al., TOSEM 2023), whose code and details are not public: relax
the suspect block, search, decide, fine-tune. The second spends the same budget on tuning a random architecture.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.precision import exact
from archrepair_jax.repair.edits import Replaced
from archrepair_jax.repair.fine_tuning import descend
from archrepair_jax.repair.method import Method, NoSettings, Plan, check_batches, prefix_passes, step_passes
from archrepair_jax.repair.problem import Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings
from archrepair_jax.search.cell import (
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
from archrepair_jax.search.relaxation import InPlace
from archrepair_jax.search.selection import by_perturbation, inherit, largest_alpha, silenced
from archrepair_jax.training.batches import Pool, draw_batch
from archrepair_jax.training.ledger import FORWARD, GRADIENT, Cost, note_forward
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import check_batch, mean, replicate


def reconstruction(
    problem: Problem, settings: RepairSettings, choose: SearchSettings, key: jax.Array, loop: Loop
) -> Repair:
    """Warm-up, bilevel search, decision, fine-tuning of the found block with what is left of the budget."""
    space = make_space(
        problem.network, problem.variables, problem.block, settings.space.hidden, settings.space.operations
    )
    original = dict(problem.network.blocks)[problem.block]
    train, validation = (pool(problem, part, problem.block, loop) for part in ("train", "validation"))
    relaxation = InPlace(problem.network, problem.block, RelaxedBlock(original, space))
    search, own = Search(relaxation, choose, settings.tuning), block_variables(problem.variables, problem.block)
    state = search.start(relaxation.start(own, train.inputs[:1], named(key, "weights")))
    data = SearchData(problem.variables, full_masks(space), train, validation)
    state, _ = loop.run("warmup", search.weight_step, state, data, steps=choose.warmup_steps)
    start = {"step": 0, "alphas": jax.device_get(state.alphas)}
    state, history = loop.run("search", search.bilevel_step, state, data, steps=choose.steps)
    losses = {}
    if choose.selection == "perturbation":
        genotype, state, losses = by_perturbation(search, state, data, choose, named(key, "selection"), loop)
    else:
        genotype = largest_alpha(search, state)

    network = Replaced(problem.block, genotype).apply(problem.network)
    template = block_variables(jax.eval_shape(network.init, key), problem.block)
    variables = put(problem.variables, problem.block, inherit(jax.device_get(state), genotype, template))
    trace = {
        "alphas": [
            {"step": entry["step"], "edges": {arrow(e): softmax(entry["alphas"][edge_name(e)]) for e in space.edges}}
            for entry in [start, *history]
        ],
        "operations": {arrow(edge): list(space.candidates(edge)) for edge in space.edges},
        "selection": losses,
    }
    return tune_found(problem, variables, genotype, train, settings, loop, trace)


def random_architecture(
    problem: Problem, settings: RepairSettings, own: NoSettings, key: jax.Array, loop: Loop
) -> Repair:
    """A random architecture beside the original branch, fine-tuned with the whole budget.

    It starts where the original is, as the search does, which makes it a strong control; one that threw the original
    branch away would be easier to beat.
    """
    space = make_space(
        problem.network, problem.variables, problem.block, settings.space.hidden, settings.space.operations
    )
    genotype = random_genotype(space, named(key, "genotype"))
    network = Replaced(problem.block, genotype).apply(problem.network)
    fresh = block_variables(network.init(named(key, "weights")), problem.block)
    kept = beside(fresh, block_variables(problem.variables, problem.block))
    variables = put(problem.variables, problem.block, kept)
    train = pool(problem, "train", problem.block, loop)
    return tune_found(problem, variables, genotype, train, settings, loop)


def tune_found(
    problem: Problem,
    variables: Variables,
    genotype: Genotype,
    train: Pool,
    settings: RepairSettings,
    loop: Loop,
    trace: dict | None = None,
) -> Repair:
    """Fine-tunes a found block with what is left of the budget, and measures its statistics anew."""
    block, edit = problem.block, Replaced(problem.block, genotype)
    network = edit.apply(problem.network)
    statistics = Recalibration(network, variables, block, settings)
    with loop.ledger.set_aside(statistics.price(train, loop)):
        variables = descend(network, variables, {block: 1.0}, train, settings.tuning, loop, train=True)
    variables = statistics.measure(variables, train, loop)
    silent = silenced(block_variables(variables, block), block_variables(problem.variables, block), genotype)
    return Repair((edit,), variables, silent and put(problem.variables, block, silent), trace or {})


def put(variables: Variables, block: str, own: Variables) -> Variables:
    """The variables with one block's replaced."""
    return {
        collection: entries | ({block: own[collection]} if collection in own else {})
        for collection, entries in variables.items()
    }


class Recalibration:
    """Replaces the new operations' running statistics by their mean over ``recalibration_batches`` train batches.

    Those of the original branch stay as they are, here as in every other method.
    """

    def __init__(self, network: Network, variables: Variables, block: str, settings: RepairSettings):
        self.block, self.module, self.tuning = block, dict(network.blocks)[block], settings.tuning
        self.own = block_variables(variables, block)
        self.new = {name: leaf for name, leaf in self.own.get("batch_stats", {}).items() if name != ORIGINAL}
        self.batches = settings.recalibration_batches if self.new else 0
        self.start = jnp.int32(0), jax.tree.map(jnp.zeros_like, self.new)

    @exact  # the statistics are a part of the network
    def step(self, state: tuple, data: tuple) -> tuple[tuple, dict]:
        """Adds one batch's share."""
        number, total = state
        own, pool = data
        batch = draw_batch(pool, number, self.tuning.batch_size, self.tuning.failing_share)
        note_forward(len(batch.labels))
        empty = own | {"batch_stats": own["batch_stats"] | jax.tree.map(jnp.zeros_like, self.new)}
        _, updated = self.module.apply(empty, batch.inputs, True, mutable=["batch_stats"])
        share = {name: updated["batch_stats"][name] for name in self.new}
        # from zero, a running mean with momentum 0.9 is a tenth of the batch's own value
        return (number + 1, jax.tree.map(lambda a, b: a + b * 10 / self.batches, total, mean(share))), {}

    def price(self, pool: Pool, loop: Loop) -> Cost:
        """Of all batches."""
        return loop.price(self.step, self.start, (self.own, pool)) * self.batches if self.batches else Cost()

    def measure(self, variables: Variables, pool: Pool, loop: Loop) -> Variables:
        """The network's ``variables`` with the new statistics; of the form of those at the beginning."""
        if not self.batches:
            return variables
        own = block_variables(variables, self.block)
        state, data = self.start, replicate((own, pool), loop.devices)
        for _ in range(self.batches):
            state, _ = loop.call("statistics", self.step, state, data)
        return put(variables, self.block, own | {"batch_stats": own["batch_stats"] | jax.device_get(state[1])})


def search_passes(settings: SearchSettings, space: Space, batch_size: int) -> int:
    """Passes of a search, before fine-tuning.

    A bilevel step counts two gradients, four at second order: the look-ahead's is differentiated, and counts twice.
    """
    steps = settings.warmup_steps + settings.steps * (2 if settings.order == 1 else 4)
    judged = 0
    if settings.selection == "perturbation":
        steps += settings.projection_steps * len(space.edges)
        judged = settings.selection_examples * sum(len(space.candidates(edge)) for edge in space.edges)
    return GRADIENT * steps * batch_size + FORWARD * judged


def space_of(plan: Plan) -> Space:
    """The space of the plan's block. Raises InputError for a block that cannot be searched."""
    shapes = jax.eval_shape(plan.network.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    try:
        return make_space(plan.network, zeros, plan.block, *dataclasses.astuple(plan.repair.space))
    except InputError as error:
        raise InputError(f"{error} in repair.block, or keep it out by localization.exclude") from error


def least_random(plan: Plan) -> int:
    """The blocks before, the found block's statistics, and a step."""
    statistics = FORWARD * plan.repair.recalibration_batches * plan.repair.tuning.batch_size
    return prefix_passes(plan, "train") + statistics + step_passes(plan)


def least_search(plan: Plan) -> int:
    """The same after a search, which looks at validation examples too."""
    searched = search_passes(plan.own, space_of(plan), plan.repair.tuning.batch_size)
    return prefix_passes(plan, "validation") + searched + least_random(plan)


def check_random(plan: Plan) -> None:
    check_batches(plan)
    space_of(plan)


def check_search(plan: Plan) -> None:
    check_random(plan)
    if plan.own.selection == "perturbation":
        examples = plan.own.selection_examples
        check_batch(examples, plan.devices, "methods.reconstruction.selection_examples")


def softmax(alpha: np.ndarray | list[float]) -> list[float]:
    return jax.nn.softmax(jnp.asarray(alpha)).tolist()


SHARES = {"type": "array", "items": {"type": "number"}}
TRACE = {
    "alphas": {
        "type": "array",
        "description": "softmax(alpha) of every edge's candidates, before the search and after each call of its loop.",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["step", "edges"],
            "properties": {
                "step": {"type": "integer", "minimum": 0},
                "edges": {"type": "object", "additionalProperties": SHARES},
            },
        },
    },
    "operations": {
        "type": "object",
        "description": "The candidates of each edge, in the order of alphas and selection.",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
    "selection": {
        "type": "object",
        "description": "The validation loss without each candidate, where the perturbation decided.",
        "additionalProperties": SHARES,
    },
}
SEARCH = Method("reconstruction", "block", reconstruction, SearchSettings, check_search, least_search, trace=TRACE)
RANDOM = Method("random_architecture", "block", random_architecture, check=check_random, least=least_random)
