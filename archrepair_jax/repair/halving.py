"""Successive halving (Jamieson and Talwalkar, AISTATS 2016) of genotypes in front of a block, on validation images.

A position has to be better by a standard error than the one that holds the place: in the first round that is the first
position, then the one that led the round before. It is the rule of Breiman et al. (CART, 1984) for the simplest model
within the noise; that a block on the image is the simplest, and that the leader keeps its place, is ours.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from archrepair_jax.models.network import Variables
from archrepair_jax.repair.conditional import TRACE, descent
from archrepair_jax.repair.conditional_space import ConditionalSearchSettings
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.problem import Problem, prefix_map
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Batch, repair_losses
from archrepair_jax.training.descent import merge, start_state, tuning_step
from archrepair_jax.training.ledger import Cost
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import ParallelMap


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A genotype somewhere, what learns beside, what the halving has made of it, and each image's loss then."""

    edit: Inserted
    beside: str
    variables: Variables
    losses: Float[np.ndarray, "I"] | None = None

    @property
    def told(self) -> dict[str, Any]:
        """JSON for the report."""
        return {
            "before": self.edit.before,
            "filters": list(self.edit.genotype.operations),
            "beside": self.beside,
            "loss": float(self.losses.mean()),
        }


def halve(
    problem: Problem,
    settings: RepairSettings,
    own: ConditionalSearchSettings,
    finalists: list[Finalist],
    name: str,
    loop: Loop,
) -> tuple[Finalist, list[list[dict[str, Any]]]]:
    """Tunes all of them a little, keeps the better half, tunes those twice as long, and so on.

    One that a round made worse stays what it was before.

    Returns:
        The last one, and how each round went.
    """
    rounds = []
    while len(finalists) > 1:
        steps, tried = own.halving_steps * 2 ** len(rounds), []
        for number, each in enumerate(finalists):
            network, rates, examples, tuning = descent(problem, each.edit, settings, own.tuned(each.beside), loop)
            step, begin = tuning_step(network, rates, tuning, train=False), each.variables
            state, data = start_state(begin, rates, tuning, steps), (begin, examples)
            state, _ = loop.run(f"{name}{len(rounds)}-{number}", step, state, data, steps=steps)
            tried.append(better(problem, each, merge(begin, jax.device_get(state)), settings, own, loop))
        rounds.append([each.told for each in tried])
        finalists = ranked(tried)[: (len(tried) + 1) // 2]
    return finalists[0], rounds


def ranked(finalists: list[Finalist]) -> list[Finalist]:
    """The best first; away from the first one's position, a standard error of the lead on the best there is charged."""
    held = finalists[0].edit.before
    holder = min((each for each in finalists if each.edit.before == held), key=lambda each: each.losses.mean())

    def score(each: Finalist) -> float:
        lead = each.losses - holder.losses
        noise = 0 if each.edit.before == held or len(lead) < 2 else lead.std(ddof=1) / len(lead) ** 0.5
        return float(each.losses.mean() + noise)

    return sorted(finalists, key=score)


def better(
    problem: Problem,
    each: Finalist,
    variables: Variables,
    settings: RepairSettings,
    own: ConditionalSearchSettings,
    loop: Loop,
) -> Finalist:
    """With what more steps have made of the variables, unless validation images say that this is worse."""
    examples, whole = problem.validation, judging(problem, each.edit, loop)
    rows = examples.some_of_each_view(own.halving_examples)
    logits = jnp.asarray(loop.map("halving", whole, variables, examples.images[rows]))
    right = jnp.asarray(examples.right[rows], jnp.float32)
    batch = Batch(logits, jnp.asarray(examples.labels[rows]), jnp.asarray(examples.logits[rows]), right)
    losses = np.asarray(repair_losses(logits, batch, settings.tuning.preserve))
    losses = losses.reshape(len(examples.views), -1).mean(0)
    if each.losses is not None and each.losses.mean() <= losses.mean():
        return each
    return dataclasses.replace(each, variables=variables, losses=losses)


def better_price(problem: Problem, each: Finalist, own: ConditionalSearchSettings, loop: Loop) -> Cost:
    """What it costs to tell which is better."""
    rows = problem.validation.some_of_each_view(own.halving_examples)
    return judging(problem, each.edit, loop).price(each.variables, problem.validation.images[rows])


def judging(problem: Problem, edit: Inserted, loop: Loop) -> ParallelMap:
    network = edit.apply(problem.network)
    return prefix_map(network, len(network.blocks), loop.devices)


FINALIST = {
    "type": "object",
    "additionalProperties": False,
    "required": ["before", "filters", "beside", "loss"],
    "properties": {**{name: TRACE[name] for name in ("before", "filters", "beside")}, "loss": {"type": "number"}},
}
HALVING = {
    "type": "array",
    "description": "Each round's genotypes, with what learned beside, and their validation loss.",
    "items": {"type": "array", "items": FINALIST},
}
