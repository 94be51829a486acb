"""What localization looks at: the examples, which neurons are active on them, and what an adversary makes of both."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Integer, PRNGKeyArray, Shaped

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.localization.gradients import Trace, forward, stack
from archrepair_jax.localization.settings import LocalizationSettings
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.views.attacks import fgsm, pgd

Examples = tuple[Shaped[ArrayLike, "_N ..."], Integer[ArrayLike, "_N"]]  # images, uint8 or float in [0, 1]; labels

PGD_STEPS = 10


class Evidence(NamedTuple):
    """The activity of N neurons on F failing and P passing examples, and both kinds' traces for the backward pass.

    Attributes:
        counts: how many failures each failing example is: 1, or 0 for a perturbed passing one that still passes.
    """

    failing: Trace
    failing_labels: Int[Array, " F"]
    failing_active: Bool[Array, "F N"]
    counts: Float[Array, " F"]
    passing: Trace
    passing_labels: Int[Array, " P"]
    passing_active: Bool[Array, "P N"]


def sample(failing: Examples, passing: Examples, limit: int, key: PRNGKeyArray) -> tuple[Examples, Examples]:
    """At most ``limit`` failing examples at random and as many passing ones, of the same classes as far as they go.

    Images come back as floats in [0, 1]. Raises InputError if either set is empty.
    """
    for name, (_, labels) in (("failing", failing), ("passing", passing)):
        if len(labels) == 0:
            raise InputError(f"nothing to localize: there are no {name} examples; give at least one")
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))  # jax would compile for every set size
    failing = _take(failing, rng.permutation(len(failing[1]))[:limit])
    order = rng.permutation(len(passing[1]))
    labels, surplus = np.asarray(passing[1])[order], np.zeros(len(order), bool)
    for label in np.unique(labels):  # what a class has beyond its failing examples is only taken when others run out
        surplus[np.flatnonzero(labels == label)[int((failing[1] == label).sum()) :]] = True
    return failing, _take(passing, order[np.argsort(surplus, kind="stable")][: len(failing[1])])


def gather(
    network: Network,
    variables: Variables,
    failing: Examples,
    passing: Examples,
    settings: LocalizationSettings,
    key: PRNGKeyArray,
) -> Evidence:
    """Runs both sets through the network, and their perturbed versions as ``settings.adversarial`` wants them."""

    def run(images):
        return forward(network, variables, images, settings.exclude)

    def active(trace):
        return stack(trace.statuses) > threshold

    on_failing, on_passing = run(failing[0]), run(passing[0])
    if not any(on_failing.statuses):
        raise InputError("nothing to localize: no block is left that records neurons; exclude fewer")
    threshold = jnp.median(stack(on_passing.statuses), 0) if settings.threshold == "median" else 0.0
    clean = Evidence(
        on_failing,
        failing[1],
        active(on_failing),
        jnp.ones(len(failing[1])),
        on_passing,
        passing[1],
        active(on_passing),
    )
    if settings.adversary == "none":
        return clean

    def attacked(examples, key):
        return run(_perturb(network, settings.adversary, variables, *examples, key, settings.epsilon))

    if settings.adversarial == "gradients":
        return clean._replace(failing=attacked(failing, named(key, "failing")))
    on_attacked = attacked(passing, named(key, "passing"))
    if settings.adversarial == "flips":
        return clean._replace(
            failing_active=clean.failing_active != active(attacked(failing, named(key, "failing"))),
            passing_active=clean.passing_active != active(on_attacked),
        )
    fails = on_attacked.logits.argmax(-1) != passing[1]
    return clean._replace(
        failing=jax.tree.map(lambda *parts: jnp.concatenate(parts), on_failing, on_attacked),
        failing_labels=jnp.concatenate([failing[1], passing[1]]),
        failing_active=jnp.concatenate([clean.failing_active, active(on_attacked)]),
        counts=jnp.concatenate([clean.counts, fails]),
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _perturb(network, adversary, variables, images, labels, key, eps):
    classify = functools.partial(network.apply, variables)
    if adversary == "fgsm":
        return fgsm(classify, images, labels, eps=eps)
    return pgd(classify, images, labels, key, eps=eps, step_size=2.5 * eps / PGD_STEPS, steps=PGD_STEPS)


def _take(examples: Examples, index) -> Examples:
    images, labels = (jnp.asarray(array[index]) for array in examples)
    return images / jnp.float32(255) if images.dtype == jnp.uint8 else images, labels.astype(jnp.int32)
