"""Successive halving (Jamieson and Talwalkar, AISTATS 2016) of genotypes in front of a block, on validation images."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.conditional import TRACE, descent
from archrepair_jax.repair.conditional_space import ConditionalSearchSettings
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.problem import Problem, prefix_map
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Batch, repair_loss
from archrepair_jax.training.descent import make_optimizer, merge, start_state, tuning_step
from archrepair_jax.training.loop import Loop


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
        return {
            "before": self.edit.before,
            "filters": list(self.edit.genotype.operations),
            "beside": self.beside,
            "loss": self.loss,
        }


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
