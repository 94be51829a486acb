"""The search for a block that looks at its input: where it stands, what it is made of, and what learns beside it.

Blocks of all candidates stand in front of several positions at once and learn in the bilevel loop (DARTS, Liu et al.,
ICLR 2019), alphas over positions and over candidates apart from the weights. At each position the candidates that the
validation loss misses most when they are taken out (DARTS-PT, Wang et al., ICLR 2021) make up its genotypes. The best
of every position are halved on validation examples (successive halving, Jamieson and Talwalkar, AISTATS 2016), then the
last one with each choice of weights that learn beside, and the rest of the budget tunes what is left; what more steps
make worse stays as it was. How these are put together is ours; so is that genotypes are halved with new weights: those
that have learned beside other positions' do not tell how they would do alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.models.network import Variables, block_variables
from archrepair_jax.repair.architecture import TRACE as ALPHAS
from archrepair_jax.repair.conditional import TRACE, descended, gates_price, inserted, starting, story
from archrepair_jax.repair.conditional_space import (
    ConditionalSearchSettings,
    affordable,
    check,
    least_random,
    space,
)
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.halving import HALVING, Finalist, better, better_price, halve
from archrepair_jax.repair.method import Method, Plan, prefix_passes, step_passes
from archrepair_jax.repair.problem import Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.bilevel import Search, SearchData, SearchState
from archrepair_jax.search.conditional import Filters, some_of
from archrepair_jax.search.relaxation import POSITIONS, InFront
from archrepair_jax.search.selection import validation_judge
from archrepair_jax.training.ledger import FORWARD
from archrepair_jax.training.loop import Loop

COLLECTIONS = ("params", "batch_stats")


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
    chosen, losses = decide(search, jax.device_get(state), data, problem, own, loop)
    alone, *_ = own.beside
    finalists = [Finalist(edit, alone, silent(problem.variables, edit, blocks, relaxation)) for edit in chosen]
    best, rounds = halve(problem, settings, own, finalists, "halving", loop)
    mates = [dataclasses.replace(best, beside=what) for what in own.beside]
    best, more = halve(problem, settings, own, mates, "beside", loop)
    later = better_price(problem, best, own, loop) + gates_price(problem, best.edit, best.variables, loop)
    with loop.ledger.set_aside(later):
        variables = descended(problem, best.edit, best.variables, settings, own.tuned(best.beside), loop)
    best = better(problem, best, variables, settings, own, loop)
    start = silent(problem.variables, best.edit, blocks, relaxation)
    repair = inserted(problem, best.edit, start, best.variables, best.beside, loop)
    trace = {
        "alphas": [{"step": entry["step"], "edges": shares(entry["alphas"])} for entry in [first, *history]],
        "operations": relaxation.candidates,
        "selection": losses,
        "halving": rounds + more,
    }
    return dataclasses.replace(repair, trace=repair.trace | trace)


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
) -> tuple[list[Inserted], dict[str, list[float]]]:
    """The genotypes to try, of each position the best, and the validation losses there without each candidate."""
    genotypes, judge = search.relaxation.genotypes, validation_judge(search, data, own.search, loop)
    found, losses = [], {}
    for place, (where, whole) in enumerate(genotypes):
        alone = data.masks | {POSITIONS: jnp.zeros(len(genotypes)).at[place].set(1)}
        count = len(whole.operations)
        without = [alone | {where: alone[where].at[i].set(0)} for i in range(count)] if count > 1 else [alone]
        losses[where] = [judge(state, masks) for masks in without]
        order = np.argsort(losses[where])[::-1]  # what is missed most comes first
        judged = []
        for most in range(1, count + 1):
            taken = sorted(order[:most].tolist())
            edit = Inserted(where, Filters(tuple(whole.operations[i] for i in taken), whole.hidden))
            if affordable(problem.network, edit, own):
                masks = alone | {where: jnp.zeros(count).at[jnp.array(taken)].set(1)}
                judged.append((judge(state, masks), most, edit))
        found += [edit for _, _, edit in sorted(judged, key=lambda each: each[:2])[: own.finalists]]
    if not found:
        raise InputError("no genotype adds as little as is asked for: raise added_multiply_adds or added_parameters")
    return found, losses


def silent(original: Variables, edit: Inserted, blocks: Mapping[str, Variables], relaxation: InFront) -> Variables:
    """The edited network's variables at which it computes what the original does."""
    whole = dict(relaxation.genotypes)[edit.before]
    own = some_of(blocks[edit.before], whole, edit.genotype)
    return {kind: entries | {edit.name: jax.device_get(own[kind])} for kind, entries in original.items()}


def shares(alphas: Mapping[str, Any]) -> dict[str, list[float]]:
    """softmax(alpha) of the positions and of each position's candidates."""
    return {name: jax.nn.softmax(jnp.asarray(alpha)).tolist() for name, alpha in alphas.items()}


def least_search(plan: Plan) -> int:
    """The same after warm-up, search, decisions and halving."""
    relaxation, own, step = space(plan.network, plan.block, plan.own), plan.own, step_passes(plan)
    counts = [len(genotype.operations) for _, genotype in relaxation.genotypes]
    judged = own.search.selection_examples * 2 * sum(counts)
    searched = step * (own.search.warmup_steps + own.search.steps * (2 if own.search.order == 1 else 4))
    halved = 0
    for tried in (sum(min(own.finalists, count) for count in counts), len(own.beside)):
        steps = own.halving_steps
        while tried > 1:
            halved += tried * (step * steps + FORWARD * own.halving_examples)
            tried, steps = (tried + 1) // 2, 2 * steps
    plans = [dataclasses.replace(plan, block=where) for where, _ in relaxation.genotypes]
    last = FORWARD * own.halving_examples
    prefixes = prefix_passes(plans[0], "validation") + sum(prefix_passes(each, "train") for each in plans)
    tuned = least_random(plan) - max(prefix_passes(each, "train") for each in plans)
    return prefixes + searched + FORWARD * judged + halved + tuned + last


def tell(trace: Mapping[str, Any]) -> list[str]:
    """How the halving went, beside what the block is made of."""
    told = [
        f"{', '.join(each['filters'])} before {each['before']} with {each['beside']} beside: {each['loss']:.3f}"
        for tried in trace["halving"]
        for each in tried
    ]
    return [*story(trace), *(f"validation loss in the halving, {line}" for line in told)]


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
