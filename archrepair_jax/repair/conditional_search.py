"""The search for a block that looks at its input: where it stands, what it is made of, and what learns beside it.

Blocks of all candidates stand in front of several positions at once and learn in the bilevel loop (DARTS, Liu et al.,
ICLR 2019), alphas over positions and over candidates apart from the weights. What the validation loss misses most when
it is taken out is kept (DARTS-PT, Wang et al., ICLR 2021): first a position, then, one after the other, its best
candidates. The best of these genotypes, each with and without weights that learn beside, are halved on validation
examples (successive halving, Jamieson and Talwalkar, AISTATS 2016) and the last one is tuned. How these are put
together is ours. Beside it, the control: a random genotype of the same space, tuned with the whole budget.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.keys import named
from archrepair_jax.models.cost import multiply_adds, parameters
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.repair.architecture import TRACE as ALPHAS
from archrepair_jax.repair.conditional import (
    BESIDE,
    TRACE,
    ConditionalSettings,
    check_fit,
    descent,
    position,
    rank,
    starting,
    story,
    tune_inserted,
)
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.method import Method, Plan, check_batches, prefix_passes, step_passes
from archrepair_jax.repair.problem import Problem, Repair, pool, prefix_map
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings, SearchState
from archrepair_jax.search.cell import Alphas, mixing_weights
from archrepair_jax.search.conditional import Filters, inherited
from archrepair_jax.search.relaxation import POSITIONS, InFront
from archrepair_jax.search.selection import validation_judge
from archrepair_jax.training.batches import Batch, repair_loss
from archrepair_jax.training.descent import make_optimizer, merge, start_state, tuning_step
from archrepair_jax.training.ledger import FORWARD
from archrepair_jax.training.loop import Loop

COLLECTIONS = ("params", "batch_stats")
DRAWS = 1000  # of a random genotype, until one is small enough


@dataclasses.dataclass(frozen=True)
class ConditionalSearchSettings:
    """Of the search and of the random genotype.

    Attributes:
        operations: the candidates, of ``search.conditional.FILTERS``; empty for ``repair.conditional.DEFAULT``.
        hidden: units of the gates' hidden layer; 0 makes them linear in the statistics.
        positions: the blocks to stand in front of; empty for the first and for the suspect.
        learning_rate: of the inserted blocks, in place of ``repair.tuning``'s.
        beside: what may learn with the block, see ``ConditionalSettings.beside``.
        beside_rate: the learning rate of that.
        search: how to search; ``selection`` and ``projection_steps`` are of no concern here.
        finalists: how many genotypes are tried, each with all that may learn beside.
        halving_steps: steps of each that is still tried, in every round.
        added_multiply_adds, added_parameters: what a genotype may add at most, as shares of the network's.
    """

    operations: tuple[str, ...] = ()
    hidden: int = 0
    positions: tuple[str, ...] = ()
    learning_rate: float = 1e-2
    beside: tuple[str, ...] = ("nothing", "group")
    beside_rate: float = 1e-3
    search: SearchSettings = SearchSettings(warmup_steps=10, steps=20, selection_examples=256)
    finalists: int = 2
    halving_steps: int = 8
    added_multiply_adds: float = 0.1
    added_parameters: float = 0.1

    def __post_init__(self):
        within("finalists", self.finalists, 1)
        within("halving_steps", self.halving_steps, 1)
        within("added_multiply_adds", self.added_multiply_adds, 0)
        within("added_parameters", self.added_parameters, 0)
        one_of("beside", self.beside, BESIDE)
        if not self.beside:
            raise InputError("beside is empty, so that nothing is left to choose: say ('nothing',)")
        self.tuned("nothing").genotype(4)  # refuses what there is not

    def tuned(self, beside: str) -> ConditionalSettings:
        """What is tuned, once it is known what learns beside."""
        return ConditionalSettings(self.operations, self.hidden, self.learning_rate, beside, self.beside_rate)


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A genotype somewhere, with what learns beside, and what the halving has made of it."""

    edit: Inserted
    beside: str
    variables: Variables
    loss: float = 0.0

    @property
    def told(self) -> dict[str, Any]:
        """JSON for the report."""
        return {"filters": list(self.edit.genotype.operations), "beside": self.beside, "loss": self.loss}


def conditional_search(
    problem: Problem, settings: RepairSettings, own: ConditionalSearchSettings, key: jax.Array, loop: Loop
) -> Repair:
    """Warm-up, bilevel search, decisions, halving, and tuning with what is left of the budget."""
    relaxation = space(problem.network, problem.block, own)
    edits = [Inserted(where, genotype) for where, genotype in relaxation.genotypes]
    starts = {edit.before: starting(problem, edit, named(key, edit.before), loop) for edit in edits}
    search, data = searching(problem, settings, own, relaxation, loop)
    blocks = {edit.before: block_variables(starts[edit.before], edit.name) for edit in edits}
    state = search.start({kind: {where: each[kind] for where, each in blocks.items()} for kind in COLLECTIONS})
    state, _ = loop.run("warmup", search.weight_step, state, data, steps=own.search.warmup_steps)
    first = {"step": 0, "alphas": jax.device_get(state.alphas)}
    state, history = loop.run("search", search.bilevel_step, state, data, steps=own.search.steps)
    where, genotypes, losses = decide(search, jax.device_get(state), data, problem, own, loop)
    finalists = [
        Finalist(edit, what, learned(problem.variables, state, relaxation, edit))
        for edit in (Inserted(where, genotype) for genotype in genotypes)
        for what in own.beside
    ]
    best, rounds = halve(problem, settings, own, finalists, loop)
    whole = dict(relaxation.genotypes)[where]
    silent = inherited(blocks[where], whole, [1.0] * len(whole.operations), best.edit.genotype)
    start = inserted_into(problem.variables, best.edit, silent)
    repair = tune_inserted(problem, best.edit, start, settings, own.tuned(best.beside), loop, best.variables)
    trace = {
        "alphas": [{"step": entry["step"], "edges": shares(entry["alphas"])} for entry in [first, *history]],
        "operations": relaxation.candidates,
        "selection": losses,
        "halving": rounds,
    }
    return dataclasses.replace(repair, trace=repair.trace | trace)


def random_conditional(
    problem: Problem, settings: RepairSettings, own: ConditionalSearchSettings, key: jax.Array, loop: Loop
) -> Repair:
    """A random genotype that the limits allow, at a random position, with something random beside, tuned."""
    rng = np.random.default_rng(jax.random.bits(named(key, "genotype"), (2,)).tolist())
    places = space(problem.network, problem.block, own).genotypes
    for _ in range(DRAWS):
        where, whole = places[rng.integers(len(places))]
        chosen = rng.random(len(whole.operations)) < 0.5
        operations = tuple(name for name, taken in zip(whole.operations, chosen, strict=True) if taken)
        if operations and affordable(problem.network, edit := Inserted(where, Filters(operations, whole.hidden)), own):
            break
    else:
        raise InputError(f"no genotype of {DRAWS} adds as little as is asked for: raise added_multiply_adds")
    start = starting(problem, edit, named(key, "weights"), loop)
    return tune_inserted(problem, edit, start, settings, own.tuned(str(rng.choice(own.beside))), loop)


def space(network: Network, block: str, own: ConditionalSearchSettings) -> InFront:
    """What is searched: all candidates in front of each position. ``block`` is the suspect."""
    asked = own.positions or (position(network, ""), position(network, block))
    positions = sorted(dict.fromkeys(asked), key=network.index)
    return InFront(network, tuple((name, own.tuned("nothing").genotype(rank(network, name))) for name in positions))


def searching(
    problem: Problem, settings: RepairSettings, own: ConditionalSearchSettings, relaxation: InFront, loop: Loop
) -> tuple[Search, SearchData]:
    """The search, and what it reads."""
    tuning = dataclasses.replace(settings.tuning, learning_rate=own.learning_rate)
    before, _ = relaxation.genotypes[0]
    train, validation = (pool(problem, part, before, loop) for part in ("train", "validation"))
    masks = jax.tree.map(jnp.ones_like, relaxation.alphas())
    return Search(relaxation, own.search, tuning), SearchData(problem.variables, masks, train, validation)


def decide(
    search: Search,
    state: SearchState,
    data: SearchData,
    problem: Problem,
    own: ConditionalSearchSettings,
    loop: Loop,
) -> tuple[str, list[Filters], dict[str, list[float]]]:
    """The position, the genotypes to try there, and the validation losses without each position and candidate."""
    genotypes, judge = search.relaxation.genotypes, validation_judge(search, data, own.search, loop)

    def without(name: str, masks: Alphas) -> list[float]:
        count = len(masks[name])
        return [judge(state, masks | {name: masks[name].at[i].set(0)}) for i in range(count)] if count > 1 else [0.0]

    losses = {POSITIONS: without(POSITIONS, data.masks)}
    place = int(np.argmax(losses[POSITIONS]))
    where, whole = genotypes[place]
    masks = data.masks | {POSITIONS: jnp.zeros(len(genotypes)).at[place].set(1)}
    losses[where] = without(where, masks)
    order = np.argsort(losses[where])[::-1]  # what is missed most comes first
    judged = []
    for count in range(1, len(order) + 1):
        chosen = jnp.zeros(len(order)).at[order[:count]].set(1)
        operations = tuple(name for i, name in enumerate(whole.operations) if i in order[:count])
        genotype = Filters(operations, whole.hidden)
        if affordable(problem.network, Inserted(where, genotype), own):
            judged.append((judge(state, masks | {where: chosen}), count, genotype))
    if not judged:
        raise InputError("no genotype adds as little as is asked for: raise added_multiply_adds or added_parameters")
    return where, [genotype for _, _, genotype in sorted(judged, key=lambda each: each[:2])[: own.finalists]], losses


def affordable(network: Network, edit: Inserted, own: ConditionalSearchSettings) -> bool:
    """Whether a block adds no more than it may."""
    shares = own.added_multiply_adds, own.added_parameters
    sizes = zip(size(edit.apply(network)), size(network), shares, strict=True)
    return all(after <= before * (1 + share) for after, before, share in sizes)


@functools.lru_cache(maxsize=4)  # the original's is asked for with every genotype
def size(network: Network) -> tuple[int, int]:
    """Multiply-adds an input, and parameters."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return multiply_adds(network, shapes), parameters(shapes)


def learned(original: Variables, state: SearchState, relaxation: InFront, edit: Inserted) -> Variables:
    """The edited network's variables, with what the search has learned for the genotype's candidates."""
    mixture = relaxation.weights(mixing_weights(state.alphas, jax.tree.map(jnp.ones_like, state.alphas)))
    own = {"params": state.weights[edit.before], "batch_stats": state.statistics[edit.before]}
    whole = dict(relaxation.genotypes)[edit.before]
    return inserted_into(original, edit, inherited(own, whole, mixture[edit.before].tolist(), edit.genotype))


def inserted_into(original: Variables, edit: Inserted, own: Variables) -> Variables:
    return {kind: entries | {edit.name: jax.device_get(own[kind])} for kind, entries in original.items()}


def halve(
    problem: Problem,
    settings: RepairSettings,
    own: ConditionalSearchSettings,
    finalists: list[Finalist],
    loop: Loop,
) -> tuple[Finalist, list[list[dict[str, Any]]]]:
    """Tunes all of them a little, keeps the better half, and so on; the last one, and how each round went."""
    rounds = []
    while len(finalists) > 1:
        tried = []
        for number, each in enumerate(finalists):
            network, rates, examples, tuning = descent(problem, each.edit, settings, own.tuned(each.beside), loop)
            optimizer = make_optimizer(tuning, own.halving_steps, rates)
            step, begin = tuning_step(network, rates, optimizer, tuning, train=False), each.variables
            state, data = start_state(begin, rates, optimizer), (begin, examples)
            state, _ = loop.run(f"halving{len(rounds)}-{number}", step, state, data, steps=own.halving_steps)
            variables = merge(begin, jax.device_get(state))
            loss = validation_loss(problem, network, variables, settings, own, loop)
            tried.append(Finalist(each.edit, each.beside, variables, loss))
        rounds.append([each.told for each in tried])
        finalists = sorted(tried, key=lambda each: each.loss)[: len(tried) // 2]
    return finalists[0], rounds


def validation_loss(
    problem: Problem,
    network: Network,
    variables: Variables,
    settings: RepairSettings,
    own: ConditionalSearchSettings,
    loop: Loop,
) -> float:
    """The repair loss over validation examples, as many of each view."""
    examples = problem.validation
    rows = examples.some_of_each_view(own.search.selection_examples)
    whole = prefix_map(network, len(network.blocks), loop.devices)
    logits = jnp.asarray(loop.map("halving", whole, variables, examples.images[rows]))
    right = jnp.asarray(examples.right[rows], jnp.float32)
    batch = Batch(logits, jnp.asarray(examples.labels[rows]), jnp.asarray(examples.logits[rows]), right)
    return float(repair_loss(logits, batch, settings.tuning.preserve))


def shares(alphas: Mapping[str, Any]) -> dict[str, list[float]]:
    """softmax(alpha) of the positions and of each position's candidates."""
    return {name: jax.nn.softmax(jnp.asarray(alpha)).tolist() for name, alpha in alphas.items()}


def check(plan: Plan) -> None:
    """Raises InputError for positions that there are not, and for candidates that do not fit them."""
    check_batches(plan)
    one_of("positions", plan.own.positions, plan.network.names)
    for where, genotype in space(plan.network, plan.block, plan.own).genotypes:
        check_fit(plan.network, Inserted(where, genotype))


def least_random(plan: Plan) -> int:
    """The blocks before, an example of each reference, a look at the gates, and a step."""
    places = space(plan.network, plan.block, plan.own).genotypes
    prefixes = [prefix_passes(dataclasses.replace(plan, block=where), "train") for where, _ in places]
    return max(prefixes) + 2 * FORWARD + step_passes(plan)


def least_search(plan: Plan) -> int:
    """The same after warm-up, search, decisions and halving."""
    relaxation, own, step = space(plan.network, plan.block, plan.own), plan.own, step_passes(plan)
    counts = [len(alphas) for alphas in jax.tree.leaves(relaxation.alphas())]
    judged = own.search.selection_examples * (sum(counts) + max(counts))
    rounds, tried = 0, own.finalists * len(own.beside)
    while tried > 1:
        rounds, tried = rounds + tried, tried // 2
    searched = step * (own.search.warmup_steps + own.search.steps * (2 if own.search.order == 1 else 4))
    halved = rounds * (step * own.halving_steps + FORWARD * own.search.selection_examples)
    places = [where for where, _ in relaxation.genotypes]
    prefixes = [prefix_passes(dataclasses.replace(plan, block=where), "train", "validation") for where in places]
    return sum(prefixes) + searched + FORWARD * judged + halved + least_random(plan)


def tell(trace: Mapping[str, Any]) -> list[str]:
    """How the halving went, beside what the block is made of."""
    told = [
        f"{', '.join(each['filters'])} with {each['beside']} beside: {each['loss']:.3f}"
        for tried in trace["halving"]
        for each in tried
    ]
    return [*story(trace), *(f"validation loss in the halving, {line}" for line in told)]


FINALIST = {
    "type": "object",
    "additionalProperties": False,
    "required": ["filters", "beside", "loss"],
    "properties": {"filters": TRACE["filters"], "beside": TRACE["beside"], "loss": {"type": "number"}},
}
HALVING = {
    "type": "array",
    "description": "Each round's genotypes, with what learned beside, and their validation loss.",
    "items": {"type": "array", "items": FINALIST},
}
SEARCH = Method(
    "conditional_search",
    "network",
    conditional_search,
    ConditionalSearchSettings,
    check,
    least_search,
    tell,
    TRACE | ALPHAS | {"halving": HALVING},
)
RANDOM = Method(
    "random_conditional",
    "network",
    random_conditional,
    ConditionalSearchSettings,
    check,
    least_random,
    story,
    TRACE,
)
