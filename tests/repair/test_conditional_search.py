"""The search for a block that looks at its input, on small problems of images and of vectors."""

import dataclasses
import json

import jax
import jsonschema
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.errors import InputError
from archrepair_jax.models.cost import multiply_adds
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair.conditional_search import SEARCH
from archrepair_jax.repair.conditional_space import RANDOM, ConditionalSearchSettings, affordable
from archrepair_jax.repair.edits import Inserted, apply
from archrepair_jax.repair.halving import Finalist, ranked
from archrepair_jax.repair.method import Plan
from archrepair_jax.repair.problem import logits
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.repair.verdict import at_fraction
from archrepair_jax.search.bilevel import SearchSettings
from archrepair_jax.search.conditional import Filters
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import Cost, Ledger, Overspent
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices

ONE, EIGHT = choose_devices(1), choose_devices(8)
SETTINGS = RepairSettings(budget=700, tuning=TuningSettings(batch_size=16))
OWN = ConditionalSearchSettings(
    ("low_pass", "contrast"),
    positions=("input", "block1"),
    learning_rate=3e-2,
    search=SearchSettings(warmup_steps=3, steps=5, selection_examples=32),
    finalists=1,
    halving_steps=2,
    added_multiply_adds=10.0,
    added_parameters=10.0,
)


def searched(problem, devices=ONE, own=OWN, method=SEARCH, budget=SETTINGS.budget):
    done = {}
    loop = Loop(devices, lambda name, step, *_: done.update({name: step}), ledger=Ledger(budget))
    return method.run(problem, dataclasses.replace(SETTINGS, budget=budget), own, jax.random.key(0), loop), done, loop


@pytest.fixture(scope="module")
def found(images):
    return searched(images)


@pytest.mark.slow
def test_it_finds_a_block_and_spends_its_budget(images, found):
    repair, done, loop = found
    (edit,) = repair.edits
    assert edit.before in OWN.positions and set(edit.genotype.operations) <= set(OWN.operations)
    assert list(done)[:2] == ["warmup", "search"] and list(done)[-1] == "tuning"
    rounds = [name for name in done if name.startswith(("halving", "beside"))]
    assert rounds == ["halving0-0", "halving0-1", "beside0-0", "beside0-1"]
    batch = 3 * SETTINGS.tuning.batch_size
    assert loop.ledger.limit.passes - batch < loop.ledger.spent.passes <= loop.ledger.limit.passes


@pytest.mark.slow
def test_it_begins_at_the_original_bit_for_bit(images, found):
    repair, _, _ = found
    before = logits(images.network, images.variables, images.guard.images, ONE)
    network = apply(images.network, repair.edits)
    np.testing.assert_array_equal(logits(network, at_fraction(repair, 0.0), images.guard.images, ONE), before)


@pytest.mark.slow
def test_what_it_tells(images, found):
    trace = json.loads(json.dumps(found[0].trace))
    jsonschema.validate(trace, {"properties": SEARCH.trace, "additionalProperties": False})
    assert trace["operations"]["positions"] == ["input", "block1"]
    assert {name: len(losses) for name, losses in trace["selection"].items()} == {"input": 2, "block1": 2}
    places, mates = trace["halving"]
    assert [each["before"] for each in places] == ["input", "block1"]
    assert {each["before"] for each in mates} == {trace["before"]}
    better = min(mates, key=lambda each: each["loss"])
    assert (trace["filters"], trace["beside"]) == (better["filters"], better["beside"])
    assert any("validation loss in the halving" in line for line in SEARCH.story(trace))


def finalist(before, losses, beside="nothing"):
    return Finalist(Inserted(before, Filters(("contrast",))), beside, {}, np.array(losses))


def test_another_position_has_to_be_better_by_more_than_chance():
    first, noisy = finalist("stem", [1.0, 1.0, 1.0, 1.0]), finalist("head", [0.0, 2.0, 0.0, 1.8])
    clear = finalist("head", [0.8, 0.9, 0.7, 0.8])
    assert ranked([first, noisy])[0] is first and noisy.losses.mean() < first.losses.mean()
    assert ranked([first, clear])[0] is clear
    assert ranked([noisy, first])[0] is noisy  # who led before holds the place
    assert ranked([finalist("head", [1.0, 0.0]), finalist("head", [0.9, 0.0], "group")])[0].beside == "group"
    assert ranked([finalist("stem", [1.0]), finalist("head", [0.9])])[0].edit.before == "head"  # one tells no noise


@pytest.mark.slow
def test_one_device_or_eight(images, found):
    eight, _, _ = searched(images, EIGHT)
    assert eight.edits == found[0].edits and eight.trace["beside"] == found[0].trace["beside"]
    one, eight = (block_variables(each.variables, found[0].edits[0].name)["params"] for each in (found[0], eight))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3), one, eight)


@pytest.mark.slow
def test_the_least_that_it_says_is_what_it_needs(problem):
    views = {part: len(problem.examples(part).labels) for part in ("train", "validation", "guard")}
    own = dataclasses.replace(OWN, operations=("film",), positions=("layer2",), beside=("nothing",), finalists=1)
    plan = Plan(SETTINGS, own, problem.network, "layer2", ONE, views)
    least = Cost(SEARCH.least(plan)).sample_gradients
    searched(problem, own=own, budget=least + 60)
    with pytest.raises((Overspent, InputError)):
        searched(problem, own=own, budget=least - 60)


@pytest.mark.slow
def test_vectors_are_searched_too(problem):
    own = dataclasses.replace(OWN, operations=(), positions=("layer2",), beside=("nothing", "suffix"))
    repair, _, _ = searched(problem, own=own)
    assert set(repair.edits[0].genotype.operations) <= {"film", "bottleneck"}


@pytest.mark.slow
def test_a_random_genotype_is_of_the_same_space(images):
    repairs = [searched(images, own=OWN, method=RANDOM, budget=200)[0] for _ in range(2)]
    assert repairs[0].edits == repairs[1].edits  # of one key
    (edit,) = repairs[0].edits
    assert edit.before in OWN.positions and set(edit.genotype.operations) <= set(OWN.operations)
    assert repairs[0].trace["beside"] in OWN.beside


@pytest.mark.slow
def test_what_a_block_may_add_is_limited():
    network = tiny_networks.residual_network()
    edit = Inserted("stem", Filters(("sep_conv_5x5", "residual_conv")))
    shapes = [jax.eval_shape(each.init, jax.random.key(0)) for each in (network, edit.apply(network))]
    before, after = multiply_adds(network, shapes[0]), multiply_adds(edit.apply(network), shapes[1])
    share = after / before - 1
    limit = dataclasses.replace(OWN, added_multiply_adds=1.01 * share)
    assert affordable(network, edit, limit)
    assert not affordable(network, edit, dataclasses.replace(limit, added_multiply_adds=0.99 * share))
    assert not affordable(network, edit, dataclasses.replace(limit, added_parameters=0.0))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"beside": ()}, "beside is empty"),
        ({"beside": ("all",)}, "beside cannot hold 'all'"),
        ({"operations": ("medain",)}, "did you mean median"),
        ({"finalists": 0}, "finalists=0 is out of range"),
        ({"added_parameters": -1.0}, "added_parameters=-1.0 is out of range"),
    ],
)
def test_settings_that_make_no_search(wrong, words):
    with pytest.raises(InputError, match=words):
        ConditionalSearchSettings(**wrong)


def test_a_position_that_there_is_not_is_refused():
    network = tiny_networks.plain_network()
    plan = Plan(SETTINGS, dataclasses.replace(OWN, positions=("blokc1",)), network, "block1", ONE, {"train": 4})
    with pytest.raises(InputError, match="positions cannot hold 'blokc1': did you mean block1"):
        SEARCH.check(plan)
