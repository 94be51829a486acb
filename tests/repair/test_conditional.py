"""The repair by filters in front of a frozen network, on one small problem of images."""

import dataclasses
import functools
import json

import jax
import jsonschema
import numpy as np
import pytest
import tiny_networks
from tiny_problems import compiled, one_by_one

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.cost import multiply_adds
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair.conditional import CONDITIONAL, ConditionalSettings, position
from archrepair_jax.repair.edits import Inserted, apply, from_json, to_json
from archrepair_jax.repair.method import Plan
from archrepair_jax.repair.problem import Examples, Problem
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.repair.verdict import at_fraction
from archrepair_jax.search.conditional import OF_MAPS
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.view import CLEAN, View

ONE, EIGHT = choose_devices(1), choose_devices(8)
SETTINGS = RepairSettings(budget=400, tuning=TuningSettings(batch_size=16))
OWN = ConditionalSettings(OF_MAPS, learning_rate=3e-2)


@pytest.fixture(scope="module")
def problem(images) -> Problem:
    return images


@functools.cache
def repaired(problem: Problem, devices=ONE, settings: RepairSettings = SETTINGS, own: ConditionalSettings = OWN):
    losses = []
    loop = Loop(devices, lambda *said: losses.append(float(said[-1].split()[-1])), ledger=Ledger(settings.budget))
    repair = CONDITIONAL.run(problem, settings, own, jax.random.key(0), loop)
    return repair, losses, loop.ledger


@pytest.mark.slow
def test_it_learns_with_the_network_frozen(problem):
    repair, losses, ledger = repaired(problem)
    (edit,) = repair.edits
    assert edit == Inserted("input", OWN.genotype(4)) and from_json(json.loads(json.dumps(to_json(repair.edits)))) == (
        edit,
    )
    assert np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])
    for name in problem.network.names:
        before, after = (block_variables(each, name) for each in (problem.variables, repair.variables))
        jax.tree.map(np.testing.assert_array_equal, before, after)
    kept = (block_variables(each, edit.name)["batch_stats"] for each in (repair.start, repair.variables))
    jax.tree.map(np.testing.assert_array_equal, *kept)
    assert 3 * (SETTINGS.budget - SETTINGS.tuning.batch_size) < ledger.spent.passes <= 3 * SETTINGS.budget


@pytest.mark.slow
def test_it_begins_at_the_original_bit_for_bit(problem):
    repair, _, _ = repaired(problem)
    network = apply(problem.network, repair.edits)
    for scores in (compiled, one_by_one):
        before = scores(problem.network, problem.variables, problem)
        np.testing.assert_array_equal(scores(network, at_fraction(repair, 0.0), problem), before)
        assert np.abs(scores(network, repair.variables, problem) - before).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "learning"),
    [("group", {"stem", "block1"}), ("suffix", {"stem", "block1", "head"}), ("network", {"stem", "block1", "head"})],
)
def test_what_learns_beside(problem, what, learning):
    own = dataclasses.replace(OWN, beside=what, operations=("contrast", "film"))
    repair, _, _ = repaired(problem, settings=dataclasses.replace(SETTINGS, budget=200), own=own)
    changed = {
        name
        for name in problem.network.names
        if any(
            (a != b).any()
            for a, b in zip(
                *(jax.tree.leaves(block_variables(each, name)) for each in (problem.variables, repair.variables)),
                strict=True,
            )
        )
    }
    assert changed == learning and f"the {what} behind it learns as well" in CONDITIONAL.story(repair.trace)[0]


@pytest.mark.slow
def test_one_device_or_eight(problem):
    one, eight = (repaired(problem, devices)[0].variables["params"] for devices in (ONE, EIGHT))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one, eight)


def test_the_reference_is_of_clean_passing_examples(problem):
    repair, _, _ = repaired(problem)
    passing = problem.train.images[np.flatnonzero(problem.train.correct[0])] / np.float32(255)
    channels = block_variables(repair.variables, "before_input")["batch_stats"]["channels"]
    np.testing.assert_allclose(channels["mean"], passing.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(channels["var"]), passing.std((1, 2)).mean(0), rtol=1e-3)


@pytest.mark.slow
def test_frozen_blocks_get_no_gradient_of_weights():
    """A step costs what goes forward, and as much again for the inputs' gradients."""
    network = build(ModelSettings("resnet8", widths=(16, 32, 64)), (8, 8, 1), 4)
    variables = tiny_networks.random_variables(network)
    images, labels = tiny_networks.random_examples(network, 32)
    scores = np.asarray(network.apply(variables, images / np.float32(255)))
    examples = Examples(images, labels, scores, (CLEAN, View("contrast", 5)))
    problem = Problem(network, variables, "stem", lambda part: examples, jax.random.key(0))
    _, losses, ledger = repaired(problem, own=ConditionalSettings(hidden=0))
    forward = multiply_adds(network, variables)
    assert ledger.spent.multiply_adds == pytest.approx(2 * forward * 16 * len(losses), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("block", ["block1", "stem", ""])
def test_where_it_stands(problem, block):
    settings = dataclasses.replace(SETTINGS, block=block, budget=160)
    repair, _, ledger = repaired(problem, settings=settings, own=ConditionalSettings(("median",), 0))
    assert repair.edits[0].before == position(problem.network, block) == ("block1" if block == "block1" else "input")
    plan = Plan(settings, OWN, problem.network, "block1", ONE, {"train": 96, "validation": 96, "guard": 96})
    CONDITIONAL.check(plan)
    assert CONDITIONAL.least(plan) <= ledger.spent.passes


def test_what_it_tells(problem):
    repair, _, _ = repaired(problem)
    trace = json.loads(json.dumps(repair.trace))
    jsonschema.validate(trace, {"properties": CONDITIONAL.trace, "additionalProperties": False})
    assert list(trace["gates"]) == ["clean", "contrast-5"] and set(trace["gates"]["clean"]) == set(
        OWN.genotype(4).gated
    )
    first, clean, contrast = CONDITIONAL.story(trace)
    assert "gates with a hidden layer of 16" in first
    assert clean.startswith("mean gates on clean: low_pass ") and contrast.startswith("mean gates on contrast-5: ")


def test_what_does_not_fit_is_refused_before_the_run():
    network = tiny_networks.vector_network()
    plan = Plan(RepairSettings(block="layer2"), ConditionalSettings(), network, "layer2", EIGHT, {"train": 4})
    CONDITIONAL.check(plan)
    with pytest.raises(InputError, match="operations before layer2: median does not fit vectors"):
        CONDITIONAL.check(dataclasses.replace(plan, own=ConditionalSettings(("median",))))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"operations": ("medain",)}, "operations cannot hold 'medain': did you mean median"),
        ({"hidden": -1}, "hidden=-1 is out of range"),
        ({"beside": "stage"}, "beside cannot hold 'stage'"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is out of range"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 is out of range"),
    ],
)
def test_settings_that_make_no_block(wrong, words):
    with pytest.raises(InputError, match=words):
        ConditionalSettings(**wrong)
