"""Both styles of behaviour imitation as methods for image classifiers, on the budget of all other methods.

Negatives are failing train examples, positives passing ones; what is asked of both is their label.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.specification import CLASSIFICATION
from archrepair_jax.keys import named
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.repair.imitation.retraining import ImitationRetrainingSettings, retrain
from archrepair_jax.repair.imitation.tuning import (
    ImitationTuningSettings,
    behaviour_differences,
    choose_neurons,
    fold,
    swarm_price,
    tune_neurons,
)
from archrepair_jax.repair.method import Method, Plan, step_passes
from archrepair_jax.repair.problem import Examples, Problem, Repair
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Samples, scaled
from archrepair_jax.training.ledger import FORWARD
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import check_batch
from archrepair_jax.training.swarm import SwarmSettings


@dataclasses.dataclass(frozen=True)
class TuningSettings(ImitationTuningSettings):
    """As there; a passing example whose decision changes is a broken one, which ``fidelity`` would count twice."""

    broken: float = 1.5
    fidelity: float = 0.0
    chunk: int = 20
    swarm: SwarmSettings = SwarmSettings(particles=10, iterations=20, velocity=0.3)


@dataclasses.dataclass(frozen=True)
class RetrainingSettings(ImitationRetrainingSettings):
    """As there; steps and batches follow from the budget and ``repair.tuning``, and no example lies outside."""

    imitate: float = 0.5
    hold: float = 0.5
    margin: float = 0.75
    margin_weight: float = 4.0
    preferences: float = 0.0
    learning_rate: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        for name in ("steps", "batch_size", "outside", "certainty", "cells"):
            if getattr(self, name) != getattr(ImitationRetrainingSettings, name):
                raise InputError(
                    f"{name} is of no use here, where steps follow from repair.budget, batches from repair.tuning, no "
                    "example lies outside, and no proof follows: leave it alone"
                )


def imitation_tuning(
    problem: Problem, settings: RepairSettings, own: TuningSettings, key: PRNGKeyArray, loop: Loop
) -> Repair:
    """Factors on the neurons whose behaviour differs most between failing and passing examples, by a particle swarm.

    All particles are judged on the same examples, in every iteration: as many, drawn by lot, as the budget pays for.
    """
    price = swarm_price(problem.network, problem.variables, own)
    count = min(loop.ledger.affords(price) or 0, len(problem.train.labels))
    if count < 2:
        raise InputError(
            f"the budget is too small for a swarm to see two examples: each costs {price.sample_gradients:,} "
            "sample-gradients; raise repair.budget"
        )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(named(key, "lots"))))
    failing, passing = (rng.permutation(rows) for rows in divided(problem.train))
    failing = failing[: min(max(round(count * settings.tuning.failing_share), 1), count - 1)]
    passing = passing[: count - len(failing)]
    loop.ledger.charge("swarm", price * (len(failing) + len(passing)))  # even if it stops early
    loop.report("swarm", 0, 1, "")
    cases = make_cases(problem.train, failing, passing)
    cases = cases.replace(
        **{kind: in_unit_range(getattr(cases, kind)) for kind in ("negatives", "positives", "outside")}
    )
    original = Original(problem.network, problem.variables, CLASSIFICATION)
    tuned = tune_neurons(original, cases, own, named(key, "swarm"))
    loop.report("swarm", 1, 1, f"cost {tuned.history[-1]:.3f}")
    _, start = fold(problem.network, problem.variables, jax.tree.map(np.ones_like, tuned.factors))
    neurons = [
        {"block": block, "channel": channel, "factor": float(tuned.factors[block][channel])}
        for block, channel in tuned.neurons
    ]
    return Repair(tuned.edits, tuned.variables, start, {"neurons": neurons})


def imitation_retraining(
    problem: Problem, settings: RepairSettings, own: RetrainingSettings, key: PRNGKeyArray, loop: Loop
) -> Repair:
    """All weights, by descent: failing examples towards the behaviour of the nearest passing ones of their class.

    Failing examples of a class that has no passing one have nothing to imitate, and are left out. Normalisation keeps
    its statistics.
    """
    labels = problem.train.labels
    failing, passing = divided(problem.train)
    failing = failing[np.isin(labels[failing], labels[passing])]
    learn = ImitationRetrainingSettings(
        **dataclasses.asdict(own) | {"steps": 0, "batch_size": settings.tuning.batch_size}
    )
    cases = make_cases(problem.train, failing, passing)
    original = Original(problem.network, problem.variables, CLASSIFICATION)
    return Repair((), retrain(original, cases, learn, key, loop), problem.variables)


def divided(examples: Examples) -> tuple[Int[np.ndarray, "F"], Int[np.ndarray, "P"]]:
    """The rows of failing and of passing examples."""
    right = examples.right
    return np.flatnonzero(~right), np.flatnonzero(right)


def make_cases(examples: Examples, failing: Int[np.ndarray, "F"], passing: Int[np.ndarray, "P"]) -> Cases:
    """Failing examples as negatives, passing ones as positives, their labels as tags, and none outside."""

    def take(rows: np.ndarray) -> Samples:
        return Samples(jnp.asarray(examples.images[rows]), jnp.asarray(examples.labels[rows]))

    return Cases(take(failing), take(passing), take(failing[:0]), None)


def check_tuning(plan: Plan) -> None:
    """Raises InputError for more neurons to scale than the network has."""
    network, own = plan.network, plan.own
    one = Samples(jnp.zeros((1, *network.image_shape)), jnp.zeros(1, jnp.int32))
    variables = jax.eval_shape(network.init, jax.random.key(0))
    shapes = jax.eval_shape(lambda v: behaviour_differences(network, v, one, one, 1), variables)
    if not own.outputs:
        del shapes[network.names[-1]]
    choose_neurons(network, jax.tree.map(lambda x: np.zeros(x.shape), shapes), own.neurons)


def least_tuning(plan: Plan) -> int:
    """Two examples for the whole swarm."""
    return 2 * FORWARD * (plan.own.swarm.particles * plan.own.swarm.iterations + 2)


def check_retraining(plan: Plan) -> None:
    """One quarter of a batch for the negatives, one for the positives, two for the others."""
    check_batch(plan.repair.tuning.batch_size // 4, plan.devices, "a quarter of repair.tuning.batch_size")


def least_retraining(plan: Plan) -> int:
    """All examples' behaviour, and a step."""
    return FORWARD * plan.rows["train"] + step_passes(plan)


def in_unit_range(samples: Samples) -> Samples:
    """Images as the swarm reads them, all at once."""
    return samples.replace(inputs=scaled(samples.inputs))


def tell_neurons(trace: Mapping[str, Any]) -> list[str]:
    neurons = trace.get("neurons", [])
    told = ", ".join(f"{each['block']}:{each['channel']} × {each['factor']:.3g}" for each in neurons[:8])
    return [f"The scaled neurons, the most different first: {told}{', …' if len(neurons) > 8 else ''}."]


NEURONS = {
    "type": "array",
    "description": "The scaled neurons, the most different first.",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["block", "channel", "factor"],
        "properties": {
            "block": {"type": "string"},
            "channel": {"type": "integer", "minimum": 0},
            "factor": {"type": "number"},
        },
    },
}
TUNING = Method(
    "imitation_tuning",
    "network",
    imitation_tuning,
    TuningSettings,
    check_tuning,
    least_tuning,
    tell_neurons,
    {"neurons": NEURONS},
)
RETRAINING = Method(
    "imitation_retraining", "network", imitation_retraining, RetrainingSettings, check_retraining, least_retraining
)
