"""Both styles of behaviour imitation as methods for image classifiers, on the budget of all other methods.

Negatives are failing train examples, positives passing ones; what is asked of both is their label.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.specification import CLASSIFICATION
from archrepair_jax.keys import named
from archrepair_jax.models.cost import multiply_adds
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.imitation.cases import Cases
from archrepair_jax.repair.imitation.retraining import retrain
from archrepair_jax.repair.imitation.tuning import (
    ImitationTuningSettings,
    behaviour_differences,
    choose_neurons,
    fold,
    tune_neurons,
)
from archrepair_jax.repair.problem import Examples, Problem, Repair
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Samples, scaled
from archrepair_jax.training.ledger import FORWARD, Cost
from archrepair_jax.training.loop import Loop


def imitation_tuning(problem: Problem, settings: RepairSettings, key: PRNGKeyArray, loop: Loop) -> Repair:
    """Factors on the neurons whose behaviour differs most between failing and passing examples, by a particle swarm.

    All particles are judged on the same examples, in every iteration: as many, drawn by lot, as the budget pays for.
    """
    price = swarm_price(problem.network, problem.variables, settings.imitation_tuning)
    count = min(loop.ledger.affords(price) or 0, len(problem.train.labels))
    if count < 2:
        raise InputError(
            f"the budget is too small for a swarm to see two examples: each costs {price.sample_gradients:,} "
            "sample-gradients; raise repair.budget"
        )
    loop.ledger.charge("swarm", price * count)  # even if it stops early
    rng = np.random.default_rng(np.asarray(jax.random.key_data(named(key, "lots"))))
    failing, passing = (rng.permutation(rows) for rows in divided(problem.train))
    failing = failing[: min(max(round(count * settings.tuning.failing_share), 1), count - 1)]
    passing = passing[: count - len(failing)]
    loop.report("swarm", 0, 1, "")
    cases = jax.tree.map(scaled, make_cases(problem.train, failing, passing))
    tuned = tune_neurons(
        problem.network, problem.variables, cases, CLASSIFICATION, settings.imitation_tuning, named(key, "swarm")
    )
    loop.report("swarm", 1, 1, f"cost {tuned.history[-1]:.3f}")
    _, start = fold(problem.network, problem.variables, jax.tree.map(np.ones_like, tuned.factors))
    details = {
        "neurons": [
            {"block": block, "channel": channel, "factor": float(tuned.factors[block][channel])}
            for block, channel in tuned.neurons
        ],
        "scaled": [name for name in tuned.factors if f"{name}_scale" in tuned.network.names],
    }
    return Repair(tuned.network, tuned.variables, start, details)


def imitation_retraining(problem: Problem, settings: RepairSettings, key: PRNGKeyArray, loop: Loop) -> Repair:
    """All weights, by descent: failing examples towards the behaviour of the nearest passing ones of their class.

    Failing examples of a class that has no passing one have nothing to imitate, and are left out. Normalisation keeps
    its statistics.
    """
    labels = problem.train.labels
    failing, passing = divided(problem.train)
    failing = failing[np.isin(labels[failing], labels[passing])]
    learn = dataclasses.replace(settings.imitation_retraining, steps=0, batch_size=settings.tuning.batch_size)
    cases = make_cases(problem.train, failing, passing)
    variables = retrain(problem.network, problem.variables, cases, CLASSIFICATION, learn, key, loop)
    return Repair(problem.network, variables, problem.variables)


def divided(examples: Examples) -> tuple[Int[np.ndarray, "F"], Int[np.ndarray, "P"]]:
    """The rows of failing and of passing examples."""
    right = examples.correct.reshape(-1)
    return np.flatnonzero(~right), np.flatnonzero(right)


def make_cases(examples: Examples, failing: Int[np.ndarray, "F"], passing: Int[np.ndarray, "P"]) -> Cases:
    """Failing examples as negatives, passing ones as positives, their labels as tags, and none outside."""

    def take(rows: np.ndarray) -> Samples:
        return Samples(jnp.asarray(examples.images[rows]), jnp.asarray(examples.labels[rows]))

    return Cases(take(failing), take(passing), take(failing[:0]), None)


def swarm_price(network: Network, variables: Variables, settings: ImitationTuningSettings) -> Cost:
    """What an example costs: its behaviour, what lies before the scaled blocks, and all of it for every particle."""
    times = settings.swarm.particles * settings.swarm.iterations + 2
    return Cost(FORWARD, multiply_adds(network, variables)) * times


def check_tuning(settings: RepairSettings, network: Network) -> None:
    """Raises InputError for more neurons to scale than the network has."""
    one = Samples(jnp.zeros((1, *network.image_shape)), jnp.zeros(1, jnp.int32))
    variables = jax.eval_shape(network.init, jax.random.key(0))
    shapes = jax.eval_shape(lambda v: behaviour_differences(network, v, one, one, 1), variables)
    if not settings.imitation_tuning.outputs:
        del shapes[network.names[-1]]
    choose_neurons(network, jax.tree.map(lambda x: np.zeros(x.shape), shapes), settings.imitation_tuning.neurons)
