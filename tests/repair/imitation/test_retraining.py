"""Behaviour imitation by training: what is imitated, what is kept, and that every part of the loss is heard."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import planar_network

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.specification import CLASSIFICATION, label_slack
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.repair.imitation.retraining import ImitationRetrainingSettings, make_lessons, retrain, targets
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.loop import Loop

MEAN, FIRST = (ImitationRetrainingSettings(neighbours=3, reduce=reduce) for reduce in ("mean", "first"))
pytestmark = pytest.mark.slow
LEARN = ImitationRetrainingSettings(
    neighbours=5,
    imitate=1.0,
    hold=1.0,
    outside=1.0,
    preferences=0.0,
    margin=0.5,
    steps=150,
    learning_rate=3e-3,
    batch_size=64,
)
LOOP = Loop(tuple(jax.devices()[:1]), steps_per_call=50)


def slack(tags, y):
    return np.asarray(label_slack(None, jnp.asarray(tags), jnp.asarray(y)))


def make_cases(network, variables, count: int = 200) -> Cases:
    """Half of the inputs with the smallest logit margin between two decisions are said to be wrong."""
    x = np.random.default_rng(0).uniform(-2, 2, (4 * count, 2)).astype(np.float32)
    y = np.asarray(network.apply(variables, x))
    decisions, second = y.argmax(-1), np.argsort(y, -1)[:, -2]
    wrong = np.zeros(len(x), bool)
    wrong[np.argsort(slack(decisions, y))[:40]] = True
    labels = np.where(wrong, second, decisions).astype(np.int32)
    part = [Samples(x[rows], labels[rows]) for rows in (np.flatnonzero(wrong), np.flatnonzero(~wrong)[:count])]
    return Cases(*part, Samples(x[-count:], labels[-count:]), None)


OUTPUTS = st.lists(st.lists(st.integers(-50, 50).map(float), min_size=3, max_size=3), min_size=4, max_size=12)


@settings(deadline=None, max_examples=50)
@given(OUTPUTS, OUTPUTS)
def test_targets_are_right_and_made_of_the_nearest(negatives, positives):
    """Of whatever positives: a target is the mean of the three nearest right ones, or the nearest; never wrong."""
    negatives, positives = np.array(negatives), np.array(positives)
    tags = np.zeros(len(negatives), int)
    right = positives[slack(np.zeros(len(positives), int), positives) > 0]
    was_right = slack(tags, negatives) > 0
    if not len(right):
        if not was_right.all():
            with pytest.raises(InputError, match="nothing to imitate"):
                targets(tags, negatives, positives, slack, MEAN)
        return
    for learn in (MEAN, FIRST):
        found = targets(tags, negatives, positives, slack, learn)
        assert (slack(tags, found) > 0).all()
        np.testing.assert_array_equal(found[was_right], negatives[was_right])
        for target, own in zip(found[~was_right], negatives[~was_right], strict=True):
            distances = np.linalg.norm(right - own, axis=1)
            near = right[distances <= np.sort(distances)[min(3, len(right)) - 1] + 1e-9]
            assert (target >= near.min(0) - 1e-9).all() and (target <= near.max(0) + 1e-9).all()
            if learn is FIRST:
                assert np.linalg.norm(target - own) <= distances.min() + 1e-9


def test_a_mean_that_is_wrong_gives_way_to_the_nearest():
    """Two ways of being right, whose mean is wrong."""
    positives = np.array([[1.0, 0.9, -9.0], [1.0, 0.9, -9.0], [0.1, -9.0, 0.0]])

    def picky(tags, y):
        return np.where(np.isclose(np.asarray(y)[:, None], positives).all(-1).any(-1), 1.0, -1.0)

    found = targets(np.zeros(1, int), np.array([[0.0, 1.0, -9.0]]), positives, picky, MEAN)
    np.testing.assert_array_equal(found, positives[:1])


def test_without_negatives_there_is_nothing_to_repair():
    with pytest.raises(InputError, match="there are no negatives"):
        targets(np.zeros(0, int), np.zeros((0, 3)), np.zeros((4, 3)), slack, MEAN)


def test_each_kind_keeps_its_own_behaviour():
    """The released code of the method mixed its batches up; here, each kind of example carries its own targets."""
    network, variables = planar_network(3, stretch=3.0)
    cases = make_cases(network, variables)
    lessons = make_lessons(Original(network, variables, CLASSIFICATION), cases, LEARN, jax.random.key(0), LOOP)
    for lesson, samples in ((lessons.positives, cases.positives), (lessons.outside, cases.outside)):
        np.testing.assert_array_equal(lesson.inputs, samples.inputs)
        np.testing.assert_allclose(lesson.behaviour, network.apply(variables, samples.inputs), atol=1e-6)
    assert (slack(lessons.negatives.tags, lessons.negatives.behaviour) > 0).all()
    assert (slack(cases.negatives.tags, network.apply(variables, cases.negatives.inputs)) <= 0).all()
    expected = LEARN.margin * np.median(slack(cases.positives.tags, network.apply(variables, cases.positives.inputs)))
    assert float(lessons.margin) == pytest.approx(expected, rel=1e-5)


def test_what_is_to_be_kept_is_kept():
    """By emphasis, so that nothing is compiled anew."""
    network, variables = planar_network(3, stretch=3.0)
    cases = make_cases(network, variables)
    inputs = cases.positives.inputs, cases.outside.inputs

    def drifts(emphasis) -> list[float]:
        weighted = cases.replace(emphasis=(*emphasis, 1.0))
        repaired = retrain(Original(network, variables, CLASSIFICATION), weighted, LEARN, jax.random.key(3), LOOP)
        away = (network.apply(repaired, x) - network.apply(variables, x) for x in inputs)
        return [float(jnp.square(distance).mean()) for distance in away]

    free = drifts((0.0, 0.0))
    assert drifts((20.0, 0.0))[0] < 0.5 * free[0]
    assert drifts((0.0, 20.0))[1] < 0.5 * free[1]


def test_a_margin_is_asked_for():
    network, variables = planar_network(3, stretch=3.0)
    cases, key = make_cases(network, variables), jax.random.key(5)

    def least(**changes) -> float:
        learn = dataclasses.replace(LEARN, **changes)
        repaired = retrain(Original(network, variables, CLASSIFICATION), cases, learn, key, LOOP)
        return float(np.quantile(slack(cases.negatives.tags, network.apply(repaired, cases.negatives.inputs)), 0.2))

    assert least(margin_weight=1.0) > least(margin_weight=0.0)


def test_the_head_learns_from_behaviour_before_it():
    network, variables = planar_network(3, stretch=3.0)
    cases = make_cases(network, variables)
    learn = dataclasses.replace(LEARN, behaviour="head")
    original = Original(network, variables, CLASSIFICATION)
    lessons = make_lessons(original, cases, learn, jax.random.key(0), LOOP)
    assert lessons.negatives.behaviour.shape == (40, 16) and lessons.negatives.outputs.shape == (40, 3)
    assert (slack(lessons.negatives.tags, lessons.negatives.outputs) > 0).all()
    repaired = retrain(Original(network, variables, CLASSIFICATION), cases, learn, jax.random.key(6), LOOP)
    now = slack(cases.negatives.tags, network.apply(repaired, cases.negatives.inputs))
    assert (now > 0).mean() > 0.3


def test_one_device_and_eight_agree():
    network, variables = planar_network(3, stretch=3.0)
    cases, key = make_cases(network, variables), jax.random.key(7)
    learn = dataclasses.replace(LEARN, steps=10)
    one, eight = (
        retrain(Original(network, variables, CLASSIFICATION), cases, learn, key, Loop(tuple(jax.devices()[:count])))
        for count in (1, 8)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, eight)


def test_examples_outside_may_be_missing():
    network, variables = planar_network(3, stretch=3.0)
    cases = make_cases(network, variables)
    cases = cases.replace(outside=jax.tree.map(lambda array: array[:0], cases.outside))
    repaired = retrain(Original(network, variables, CLASSIFICATION), cases, LEARN, jax.random.key(8), LOOP)
    assert (slack(cases.negatives.tags, network.apply(repaired, cases.negatives.inputs)) > 0).mean() > 0.5
