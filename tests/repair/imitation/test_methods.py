"""Behaviour imitation as methods: which examples it is given, what it leaves in the network, and that it repairs."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Scale
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.edits import Scaled, apply
from archrepair_jax.repair.guard import accept
from archrepair_jax.repair.imitation import methods as imitation_methods
from archrepair_jax.repair.imitation.methods import check_tuning
from archrepair_jax.repair.method import Plan
from archrepair_jax.repair.problem import Examples, Problem, Repair, logits
from archrepair_jax.repair.settings import GuardSettings, RepairSettings
from archrepair_jax.repair.verdict import at_fraction, taken
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.training.swarm import SwarmSettings
from archrepair_jax.views.view import CLEAN

LOOP = Loop(choose_devices(1))
SETTINGS = RepairSettings(budget=9600, tuning=TuningSettings(batch_size=32))
OWN = {
    "imitation_tuning": imitation_methods.TuningSettings(
        neurons=16, broken=0.5, chunk=32, swarm=SwarmSettings(particles=10, iterations=12, velocity=0.5)
    ),
    "imitation_retraining": imitation_methods.RetrainingSettings(learning_rate=5e-3),
}


def repaired_by(method: str, problem: Problem, settings: RepairSettings = SETTINGS) -> Repair:
    loop = dataclasses.replace(LOOP, ledger=Ledger(settings.budget))
    return METHODS[method].run(problem, settings, OWN[method], jax.random.key(1), loop)


def repairable(network) -> Problem:
    """Labels are what the same network says with other weights in its head, so that a few factors would repair it."""
    variables = tiny_networks.random_variables(network)
    images, _ = tiny_networks.random_examples(network, 700)
    before = np.array(logits(network, variables, images, LOOP.devices))
    variables["params"]["head"]["linear"]["bias"] -= before.mean(0)  # so that no class is always the best
    before -= before.mean(0)
    labels = (before * np.array([3.0, 1.0, 1.0, -1.0])).argmax(-1).astype(np.int32)
    parts = [slice(0, 400), slice(400, 450), slice(450, 700)]
    examples = {
        name: Examples(images[part], labels[part], before[part], (CLEAN,))
        for name, part in zip(("train", "validation", "guard"), parts, strict=True)
    }
    return Problem(network, variables, "block1", examples.__getitem__, jax.random.key(0))


@pytest.fixture(scope="module")
def problem() -> Problem:
    return repairable(tiny_networks.plain_network())


@pytest.fixture(scope="module")
def repairs(problem):
    return {method: repaired_by(method, problem) for method in OWN}


def right(network, variables, examples) -> float:
    scores = logits(network, variables, examples.images, LOOP.devices)
    return (scores.argmax(-1) == examples.labels).mean()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["imitation_tuning", "imitation_retraining"])
def test_what_fails_is_repaired_on_other_examples_too(problem, repairs, method):
    repair = repairs[method]
    for examples in (problem.train, problem.guard):
        before = right(problem.network, problem.variables, examples)
        assert right(apply(problem.network, repair.edits), repair.variables, examples) > before + 0.1


def test_scales_that_stay_are_edits(problem, repairs):
    repair = repairs["imitation_tuning"]
    assert repair.edits == (Scaled("stem"),)  # what block1 gives out, the head takes in
    assert dict(apply(problem.network, repair.edits).blocks)["stem_scale"] == Scale()
    factors = {(neuron["block"], neuron["channel"]): neuron["factor"] for neuron in repair.trace["neurons"]}
    assert len(factors) == OWN["imitation_tuning"].neurons
    scale = repair.variables["params"]["stem_scale"]["scale"]
    np.testing.assert_allclose(scale, [factors.get(("stem", channel), 1.0) for channel in range(len(scale))])


def test_a_part_of_the_way_is_a_part_of_the_factors(problem, repairs):
    repair = repairs["imitation_tuning"]
    network = apply(problem.network, repair.edits)
    scores = logits(network, at_fraction(repair, 0.0), problem.guard.images, LOOP.devices)
    np.testing.assert_allclose(scores, problem.guard.logits, atol=1e-4)
    whole, half = (at_fraction(repair, part)["params"]["stem_scale"]["scale"] for part in (1.0, 0.5))
    np.testing.assert_allclose(half, 1 + (whole - 1) / 2, rtol=1e-6)


def test_a_rejected_repair_leaves_no_scale(problem, repairs):
    impossible = dataclasses.replace(problem.guard, labels=problem.guard.logits.argmax(-1).astype(np.int32))
    strict = dataclasses.replace(
        problem, examples=lambda part: impossible
    )  # nothing fails, so that nothing can be fixed
    verdict = accept(strict, repairs["imitation_tuning"], GuardSettings(), LOOP)
    assert verdict.decision == "unchanged"
    edits, variables = taken(problem.variables, repairs["imitation_tuning"], verdict)
    assert edits == () and variables is problem.variables


@pytest.fixture
def given(problem, monkeypatch):
    """The cases that a method hands to its style, with ``SETTINGS`` changed."""

    def run(method: str, problem=problem, **changes):
        seen = []

        def look(*arguments):
            seen.extend(argument for argument in arguments if isinstance(argument, imitation_methods.Cases))
            raise InterruptedError

        for style in ("retrain", "tune_neurons"):
            monkeypatch.setattr(imitation_methods, style, look)
        with pytest.raises(InterruptedError):
            repaired_by(method, problem, dataclasses.replace(SETTINGS, **changes))
        return seen[0]

    return run


@pytest.mark.slow
def test_negatives_fail_and_positives_pass(problem, given):
    for method in ("imitation_tuning", "imitation_retraining"):
        cases = given(method)
        for samples, passes in ((cases.negatives, False), (cases.positives, True)):
            images = np.asarray(samples.inputs)
            images = images / np.float32(255) if images.dtype == np.uint8 else images
            scores = problem.network.apply(problem.variables, images)
            assert len(images) and ((scores.argmax(-1) == samples.tags) == passes).all()
        assert len(cases.outside.tags) == 0


def test_the_swarm_sees_as_many_examples_as_it_can_pay_for(given):
    cases = given("imitation_tuning", budget=1017)  # 3,051 forward passes, 122 of them an example
    assert (len(cases.negatives.tags), len(cases.positives.tags)) == (12, 13)
    cases = given("imitation_tuning", budget=1017, tuning=TuningSettings(failing_share=0.2))
    assert (len(cases.negatives.tags), len(cases.positives.tags)) == (5, 20)


def test_images_stay_uint8_where_all_of_them_are_kept(given):
    cases = given("imitation_retraining")
    assert cases.negatives.inputs.dtype == cases.positives.inputs.dtype == np.uint8


def test_failing_examples_of_a_class_without_passing_ones_are_left_out(problem, given):
    train = problem.train
    scores = train.logits - 100 * (np.arange(4) == 3)  # class 3 is never the network's answer
    changed = dataclasses.replace(problem, examples=lambda part: dataclasses.replace(train, logits=scores))
    cases = given("imitation_retraining", changed)
    assert 3 in train.labels and 3 not in cases.negatives.tags
    assert {0, 1, 2} >= set(np.unique(cases.negatives.tags)) <= set(np.unique(cases.positives.tags))


def test_a_swarm_that_cannot_be_is_refused_beforehand():
    network = tiny_networks.plain_network()  # 4, 8 and 4 channels
    rows = {"train": 400, "validation": 50, "guard": 250}
    plan = Plan(SETTINGS, OWN["imitation_tuning"], network, "block1", LOOP.devices, rows)
    check_tuning(plan)

    def wanted(**changes):
        check_tuning(dataclasses.replace(plan, own=dataclasses.replace(plan.own, **changes)))

    wanted(neurons=12, outputs=False)
    with pytest.raises(InputError, match="cannot choose 17 of 16 neurons"):
        wanted(neurons=17)
    with pytest.raises(InputError, match="cannot choose 13 of 12 neurons"):
        wanted(neurons=13, outputs=False)


def test_a_budget_for_less_than_two_examples_is_refused(problem):
    with pytest.raises(InputError, match="too small for a swarm to see two examples: each costs 41 sample-gradients"):
        repaired_by("imitation_tuning", problem, dataclasses.replace(SETTINGS, budget=81))
