"""Behaviour imitation by training: what fails learns the behaviour of its well-behaved neighbours (BIRDNN, Liang et
al. 2023).

Every negative gets a fixed target, made of the positives whose behaviour in the original network is nearest to its own.
BIRDNN's loss has two terms, negatives to their targets and positives to what they were. Ours adds examples from outside
the region, which otherwise pays for the repair; the original's preferences among decisions, because outputs that differ
by very little may decide differently; and a margin, because a repair on samples is to hold between them too. For what
is hard to prove there is one more: linear bounds on small boxes (cells), as in certified training (CROWN-IBP, Zhang et
al. 2020), so that the margin is not only there but shows.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray
from sklearn.neighbors import NearestNeighbors

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.evaluation.specification import Specification
from archrepair_jax.keys import named
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import exact
from archrepair_jax.regions.sampling import Cells
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.training.batches import Samples, scaled
from archrepair_jax.training.descent import TuningSettings, TuningState, make_optimizer, merge
from archrepair_jax.training.ledger import value_and_grad
from archrepair_jax.training.loop import Loop, steps_left
from archrepair_jax.training.parallel import Devices, ParallelMap, mean, share

BEHAVIOURS = {"outputs": 0, "head": 1}  # how many blocks come after it
REDUCTIONS = ("mean", "first")
EVALUATION_BATCH = 2_000


@dataclasses.dataclass(frozen=True)
class ImitationRetrainingSettings:
    """What is imitated, what the loss weighs, and how it descends. The defaults fit ACAS Xu's scores.

    Attributes:
        behaviour: a key of ``BEHAVIOURS``: the network's outputs, or the input of its last block.
        neighbours: how many of the nearest positives make a target; BIRDNN's code takes the first of 50.
        reduce: ``mean`` of them (unless that is wrong itself: then the nearest), or only the ``first``, which lies on
            the verge of being wrong.
        imitate: weight of the squared distance of negatives to their targets (BIRDNN's alpha).
        hold: weight of keeping the positives as they were (its beta).
        outside: weight of keeping the examples outside as they were.
        margin: slack that is asked for, as a share of the positives' median slack.
        margin_weight: weight of the square of what is missing from the margin, in margins.
        preferences: beside the squared distance, what is kept weighs so much times the KL divergence of the softmax
            of outputs divided by a temperature, times its square.
        temperature: in margins; about the difference between outputs that decides.
        certainty: weight of what cells lack of a certain margin, in the outputs' unit, if there are any.
        cells: how many of them a step looks at, over all devices; each costs as much as some 250 examples.
        steps, learning_rate: of Adam, along a cosine to zero; 0 steps are as many as the ledger pays for.
        batch_size: over all devices: one quarter negatives, one quarter positives, the other half outside.
    """

    behaviour: str = "outputs"
    neighbours: int = 50
    reduce: str = "mean"
    imitate: float = 0.1
    hold: float = 5.0
    outside: float = 40.0
    margin: float = 0.75
    margin_weight: float = 0.01
    preferences: float = 800.0
    temperature: float = 0.16
    certainty: float = 0.012
    cells: int = 24
    steps: int = 600
    learning_rate: float = 2e-4
    batch_size: int = 2_048

    def __post_init__(self):
        one_of("behaviour", [self.behaviour], BEHAVIOURS)
        one_of("reduce", [self.reduce], REDUCTIONS)
        for name in ("neighbours", "cells"):
            within(name, getattr(self, name), 1)
        within("batch_size", self.batch_size, 4)
        for name in ("margin", "temperature"):
            within(name, getattr(self, name), 1e-6)
        weights = ("imitate", "hold", "outside", "preferences", "margin_weight", "certainty")
        for name in ("steps", "learning_rate", *weights):
            within(name, getattr(self, name), 0)


class Lesson(struct.PyTreeNode):
    """Inputs with their tags, the behaviour they are to show, and the outputs that the original makes of that."""

    inputs: Float[Array, "N ..."]
    tags: Int[Array, "N"]
    behaviour: Float[Array, "N ..."]
    outputs: Float[Array, "N K"]


class Lessons(struct.PyTreeNode):
    """What a step learns from; whole on every device."""

    negatives: Lesson
    positives: Lesson
    outside: Lesson
    context: Any
    cells: Cells | None
    margin: Float[Array, ""]  # in the outputs' unit
    emphasis: tuple[Float[Array, ""], ...]  # multiplies the weights of positives, of outside and of certainty
    key: PRNGKeyArray


def retrain(
    original: Original,
    cases: Cases,
    settings: ImitationRetrainingSettings,
    key: PRNGKeyArray,
    loop: Loop,
    start: Variables | None = None,
    name: str = "imitation",
) -> Variables:
    """The network's variables after ``settings.steps`` steps from ``start``, the original ones by default.

    Compiled once for a network's description and numbers of examples. Normalisation keeps its statistics. Raises
    InputError if there are no negatives, or no positive is what some negative should be.
    """
    lessons, network = make_lessons(original, cases, settings, key, loop), original.network

    def begin(settings: ImitationRetrainingSettings) -> tuple[Callable, TuningState]:
        step, optimizer = retraining_step(network, original.specification, settings)
        given = start or original.variables
        state = TuningState(jnp.int32(0), given["params"], given["batch_stats"], optimizer.init(given["params"]))
        return step, state

    if not settings.steps:
        one = dataclasses.replace(settings, steps=1)
        settings = dataclasses.replace(settings, steps=steps_left(loop, *begin(one), lessons))
    step, state = begin(settings)
    convolutions = len(network.image_shape) > 1
    state, _ = loop.run(name, step, state, lessons, steps=settings.steps, convolutions=convolutions)
    return merge(original.variables, jax.device_get(state))


def make_lessons(
    original: Original, cases: Cases, settings: ImitationRetrainingSettings, key: PRNGKeyArray, loop: Loop
) -> Lessons:
    """The cases with their targets, which come from the original network and stay what they are."""
    specification = original.specification
    maps = behaviour_maps(original.network, settings.behaviour, loop.devices)
    behave, finish = (
        functools.partial(loop.map, "imitation", each, original.variables) if each else np.asarray for each in maps
    )

    def slack(tags: np.ndarray, behaviour: np.ndarray) -> np.ndarray:
        return np.asarray(specification.slack(cases.context, jnp.asarray(tags), finish(behaviour)))

    def lesson(samples: Samples, behaviour: np.ndarray) -> Lesson:
        return Lesson(samples.inputs, samples.tags, behaviour, finish(behaviour))

    own = [behave(samples.inputs) for samples in (cases.negatives, cases.positives, cases.outside)]
    median = np.median(slack(np.asarray(cases.positives.tags), own[1])) if len(own[1]) else 0.0
    own[0] = targets(np.asarray(cases.negatives.tags), own[0], own[1], slack, settings)
    return Lessons(
        lesson(cases.negatives, own[0]),
        lesson(cases.positives, own[1]),
        lesson(cases.outside, own[2]),
        cases.context,
        cases.cells,
        jnp.float32(settings.margin * median),
        jax.tree.map(jnp.float32, cases.emphasis),
        key,
    )


def targets(
    tags: Int[np.ndarray, "N"],
    behaviours: Float[np.ndarray, "N ..."],
    positives: Float[np.ndarray, "P ..."],
    slack: Callable[[np.ndarray, np.ndarray], np.ndarray],
    settings: ImitationRetrainingSettings,
) -> Float[np.ndarray, "N ..."]:
    """What N negatives are to do, given what they and P positives do; what is right already stays.

    Args:
        tags: of the negatives.
        behaviours, positives: of the original network.
        slack: of tags and behaviours; only positives that are right under a negative's own tag are imitated.

    Raises:
        InputError: when there are no negatives, or no such positive.
    """
    if not len(tags):
        raise InputError("there are no negatives: behaviour imitation repairs what fails, and nothing does")
    found, wrong = behaviours.copy(), slack(tags, behaviours) <= 0
    for tag in np.unique(tags[wrong]):
        own = wrong & (tags == tag)
        right = positives[slack(np.full(len(positives), tag), positives) > 0] if len(positives) else positives
        if not len(right):
            raise InputError(
                "no positive example satisfies what is asked of some negatives: there is nothing to imitate"
            )
        unlike, which = np.unique(behaviours[own], axis=0, return_inverse=True)  # few negatives are often repeated
        nearest = NearestNeighbors(n_neighbors=min(settings.neighbours, len(right))).fit(right.reshape(len(right), -1))
        neighbours = right[nearest.kneighbors(unlike.reshape(len(unlike), -1), return_distance=False)]
        target = neighbours[:, 0]
        if settings.reduce == "mean":
            average = neighbours.mean(1)
            good = slack(np.full(len(average), tag), average) > 0
            target = np.where(good.reshape(-1, *(1,) * (target.ndim - 1)), average, target)
        found[own] = target[which]
    return found


@functools.lru_cache(maxsize=16)
def behaviour_maps(network: Network, behaviour: str, devices: Devices) -> tuple[ParallelMap, ParallelMap | None]:
    """Compiled: inputs to behaviours, and behaviours to outputs; None where these are the same."""
    last = len(network.blocks)
    middle = last - BEHAVIOURS[behaviour]
    behave = ParallelMap(lambda v, x: network.span(v, scaled(x), 0, middle)[0], devices, EVALUATION_BATCH)
    finish = ParallelMap(lambda v, h: network.span(v, h, middle, last)[0], devices, EVALUATION_BATCH)
    return behave, None if middle == last else finish


@functools.lru_cache(maxsize=16)
def retraining_step(
    network: Network, specification: Specification, settings: ImitationRetrainingSettings
) -> tuple[Callable[[TuningState, Lessons], tuple[TuningState, dict]], optax.GradientTransformation]:
    """One step of descent and its optimizer; the same arguments give the same step, which is compiled once."""
    descent = TuningSettings(learning_rate=settings.learning_rate)
    optimizer = make_optimizer(descent, settings.steps)
    last = len(network.blocks)
    middle = last - BEHAVIOURS[settings.behaviour]

    def some_of(pool: Any, key: PRNGKeyArray, size: int) -> Any:
        chosen = share(jax.random.randint(key, (size,), 0, len(pool.tags)))
        return jax.tree.map(lambda array: array[chosen], pool)

    def batch(lesson: Lesson, key: PRNGKeyArray, size: int) -> Lesson:
        """This device's part; drawn with replacement, as permuting a large pool would cost more than the step."""
        part = some_of(lesson, key, size)
        return part.replace(inputs=scaled(part.inputs))

    def terms(trained: Variables, lesson: Lesson, temperature: Float[Array, ""]) -> tuple[Array, Array, Array]:
        """How far behaviours are from what they should be, how far preferences are; and the outputs."""
        behaviour, _ = network.span(trained, lesson.inputs, 0, middle)
        outputs, _ = network.span(trained, behaviour, middle, last)
        preferences, wanted = (
            jax.nn.log_softmax(specification.sign * y / temperature) for y in (outputs, lesson.outputs)
        )
        divergence = optax.losses.kl_divergence_with_log_targets(preferences, wanted)
        return jnp.square(behaviour - lesson.behaviour).mean(), temperature**2 * divergence.mean(), outputs

    @exact  # the loss holds margins, and preferences at their scale
    def step(state: TuningState, lessons: Lessons) -> tuple[TuningState, dict]:
        kinds, some = (lessons.negatives, lessons.positives, lessons.outside), len(lessons.outside.tags) > 0
        quarter = settings.batch_size // 4
        sizes = (quarter, quarter, 2 * quarter) if some else (2 * quarter, 2 * quarter, 0)
        own_key = jax.random.fold_in(lessons.key, state.step)
        negatives, positives, outside = map(
            batch, kinds, [named(own_key, kind) for kind in ("negatives", "positives", "outside")], sizes
        )
        cells = lessons.cells and some_of(lessons.cells, named(own_key, "cells"), settings.cells)

        examples = sum(len(part.tags) for part in (negatives, positives, outside, cells) if part is not None)
        temperature = settings.temperature * lessons.margin
        hold, keep = lessons.emphasis[0] * settings.hold, lessons.emphasis[1] * settings.outside

        def objective(params):
            trained = {"params": params, "batch_stats": state.batch_stats}
            away, _, outputs = terms(trained, negatives, temperature)
            loss = settings.imitate * away + settings.margin_weight * short(outputs, negatives, lessons)
            away, divergence, outputs = terms(trained, positives, temperature)
            loss += hold * (away + settings.preferences * divergence)
            loss += settings.margin_weight * short(outputs, positives, lessons)
            if some:
                away, divergence, _ = terms(trained, outside, temperature)
                loss += keep * (away + settings.preferences * divergence)
            if lessons.cells is not None:
                slack = specification.certain(network, trained, lessons.context, cells)
                loss += lessons.emphasis[2] * settings.certainty * jax.nn.relu(lessons.margin - slack).mean()
            return loss

        loss, gradients = mean(value_and_grad(objective, examples)(state.params))
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TuningState(state.step + 1, params, state.batch_stats, optimizer_state), {"loss": loss}

    def short(outputs: Float[Array, "B K"], lesson: Lesson, lessons: Lessons) -> Float[Array, ""]:
        slack = specification.slack(lessons.context, lesson.tags, outputs)
        return jnp.square(jax.nn.relu(1 - slack / lessons.margin)).mean()

    return step, optimizer
