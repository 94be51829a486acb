"""All repair methods on one small problem: what they spend, what they change, and how often they are traced."""

import collections
import dataclasses
import functools
import json

import chex
import jax
import jsonschema
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.architecture import Recalibration, put, search_passes, tune_found
from archrepair_jax.repair.edits import Replaced, apply, from_json, to_json
from archrepair_jax.repair.imitation import methods as imitation
from archrepair_jax.repair.method import Plan
from archrepair_jax.repair.problem import logits, pool
from archrepair_jax.repair.settings import RepairSettings, SpaceSettings
from archrepair_jax.repair.verdict import at_fraction
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings
from archrepair_jax.search.cell import Genotype, RelaxedBlock, Space, full_masks, make_space, random_genotype
from archrepair_jax.search.operations import ORIGINAL
from archrepair_jax.search.relaxation import InPlace
from archrepair_jax.training import loop as loops
from archrepair_jax.training.batches import draw_batch
from archrepair_jax.training.descent import TuningSettings, start_state, tuning_step
from archrepair_jax.training.ledger import Ledger, Overspent
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import AXIS, choose_devices, parallel_steps
from archrepair_jax.training.swarm import SwarmSettings

ONE = choose_devices(1)
SPACE = SpaceSettings(operations=("dense", "gated_dense"))
SETTINGS = RepairSettings(
    budget=520,
    recalibration_batches=3,
    space=SPACE,
    tuning=TuningSettings(batch_size=8, learning_rate=0.01),
)
SEARCH = SearchSettings(warmup_steps=4, steps=5, projection_steps=2, selection_examples=16)
SWARM = SwarmSettings(particles=4, iterations=9)
ELSEWHERE = (
    "conditional",
    "conditional_group",
    "conditional_search",
    "random_conditional",
    "auto",
    "inserted_convolution",
    "batch_statistics",
)
VECTORS = {name: each for name, each in METHODS.items() if each.scope != "region" and name not in ELSEWHERE}
OWN = {name: method.settings() for name, method in VECTORS.items()} | {
    "reconstruction": SEARCH,
    "imitation_tuning": imitation.TuningSettings(chunk=16, swarm=SWARM),
}


def loop_of(budget: int = SETTINGS.budget, multiply_adds: int = 0, **more) -> Loop:
    return Loop(ONE, ledger=Ledger(budget, multiply_adds), **more)


@pytest.fixture(scope="module")
def repairs(problem):
    """Each method's repair, the steps its loops did, the steps that were traced, and its ledger.

    A second trace of the same step fails.
    """
    traced, done = [], {}

    @functools.cache
    def counted(step):
        traced.append(step.__name__)
        return chex.assert_max_traces(step, n=1)

    for name in OWN:
        steps = {}
        loop = loop_of(report=lambda loop, step, *_, steps=steps: steps.update({loop: step}))
        traced.clear()
        counted.cache_clear()  # methods may share a step
        chex.clear_trace_counter()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loops, "parallel_steps", lambda step, *rest: parallel_steps(counted(step), *rest))
            repair = METHODS[name].run(problem, SETTINGS, OWN[name], jax.random.key(0), loop)
        done[name] = repair, steps, list(traced), loop.ledger
    return done


def differing(problem, repair) -> set[str]:
    """The blocks whose variables are not the original's."""
    before, after = problem.variables["params"], repair.variables["params"]
    return {
        name
        for name in after
        if jax.tree.structure(before[name]) != jax.tree.structure(after[name])
        or not all(jax.tree.leaves(jax.tree.map(np.array_equal, before[name], after[name])))
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", OWN)
def test_a_method_spends_its_budget_to_within_one_batch(repairs, method):
    _, _, _, ledger = repairs[method]
    batch = 3 * SETTINGS.tuning.batch_size
    assert ledger.limit.passes - max(batch, 4 * 9 + 2) < ledger.spent.passes <= ledger.limit.passes


@pytest.mark.slow
def test_what_is_booked_is_what_was_done(repairs):
    batch, train, validation = SETTINGS.tuning.batch_size, 64, 40  # the last two are two views each
    spent = {method: ledger.spent.passes for method, (_, _, _, ledger) in repairs.items()}
    steps = {method: steps for method, (_, steps, _, _) in repairs.items()}
    for method in ("fine_tune_block", "fine_tune_network", "random_architecture"):
        assert list(steps[method]) == ["tuning"]
    assert spent["fine_tune_network"] == 3 * batch * steps["fine_tune_network"]["tuning"]
    assert spent["fine_tune_block"] == train + 3 * batch * steps["fine_tune_block"]["tuning"]
    assert spent["fine_tune_last"] == train + 3 * batch * steps["fine_tune_last"]["tuning"]
    assert spent["fine_tune_group"] == train + 3 * batch * steps["fine_tune_group"]["tuning"]
    for method in ("auto_rgn", "spectrum_rgn"):
        assert steps[method].keys() == {"gradients", "tuning"} and steps[method]["gradients"] == OWN[method].batches
        assert spent[method] == 3 * batch * sum(steps[method].values())
    mixtures = len(OWN["weight_average"].fractions) * validation
    assert spent["weight_average"] == 3 * batch * steps["weight_average"]["tuning"] + mixtures
    statistics = SETTINGS.recalibration_batches * batch
    assert spent["random_architecture"] == train + statistics + 3 * batch * steps["random_architecture"]["tuning"]
    assert spent["imitation_retraining"] == train + 3 * batch * steps["imitation_retraining"]["imitation"]
    assert spent["imitation_tuning"] == 41 * (4 * 9 + 2)  # examples, and what each costs
    repair, done, _, _ = repairs["reconstruction"]
    assert list(done) == ["warmup", "search", "projection0", "projection1", "projection2", "tuning"]
    judged = SEARCH.selection_examples * sum(map(len, repair.trace["selection"].values()))
    gradients = sum(done.values()) + done["search"]  # a bilevel step learns alphas and weights
    assert spent["reconstruction"] == train + validation + 3 * batch * gradients + judged + statistics


@pytest.mark.slow
def test_multiply_adds_are_what_a_count_by_hand_says(problem):
    """Of layers so wide that products of single elements, in losses and activations, do not matter.

    A gradient of a layer's weights costs what the layer does, and so does the one for its input, which the first layer
    that learns needs none of.
    """
    model = ModelSettings("mlp", widths=(256, 128))
    network = build(model, (4, 4, 1), 4)
    wide = dataclasses.replace(problem, network=network, variables=tiny_networks.random_variables(network), pools={})
    layers, batch, seen = {"layer1": 16 * 256, "layer2": 256 * 128, "head": 128 * 4}, SETTINGS.tuning.batch_size, {}

    def spent(method: str) -> int:
        loop = loop_of(report=lambda loop, step, *_: seen.update({loop: step}))
        METHODS[method].run(wide, SETTINGS, OWN[method], jax.random.key(0), loop)
        return loop.ledger.spent.multiply_adds

    everything = spent("fine_tune_network")
    whole = 3 * sum(layers.values()) - layers["layer1"]
    assert everything == pytest.approx(batch * whole * seen["tuning"], rel=0.05)
    one = spent("fine_tune_block")
    block = 2 * layers["layer2"] + 2 * layers["head"]  # the frozen head: forward, and for its input
    assert one == pytest.approx(64 * layers["layer1"] + batch * block * seen["tuning"], rel=0.05)
    measured = spent("auto_rgn")
    assert measured == pytest.approx(batch * whole * (seen["tuning"] + OWN["auto_rgn"].batches), rel=0.05)
    averaged, mixtures = spent("weight_average"), 40 * len(OWN["weight_average"].fractions)
    assert averaged == pytest.approx(batch * whole * seen["tuning"] + mixtures * sum(layers.values()), rel=0.05)
    head = spent("fine_tune_last")
    before = layers["layer1"] + layers["layer2"]
    assert head == pytest.approx(64 * before + batch * 2 * layers["head"] * seen["tuning"], rel=0.05)
    assert spent("imitation_tuning") == 41 * (4 * 9 + 2) * sum(layers.values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tuning", "weight_step", "bilevel_step", "second order", "statistics"])
def test_multiply_adds_are_what_the_compiler_says(kind):
    """Where its count is honest: of inner products it counts multiplication and addition, and of all else some more."""
    network = build(ModelSettings("mlp", widths=(256, 256)), (4, 4, 1), 4)
    variables, tuning = tiny_networks.random_variables(network), TuningSettings(batch_size=256)
    index = network.index("layer2")
    examples = tiny_networks.image_pool(network, variables, 300)
    inputs, _ = network.span(variables, examples.inputs / np.float32(255), 0, index)
    examples = examples.replace(inputs=inputs)
    space = make_space(network, variables, "layer2", 1, SPACE.operations)
    if kind == "tuning":
        rates = {"layer2": 1.0}
        step = tuning_step(network, rates, tuning, train=False)
        state, data = start_state(variables, rates, tuning, 4), (variables, examples)
    elif kind == "statistics":
        edit = Replaced("layer2", random_genotype(space, jax.random.key(0)))
        repaired = edit.apply(network)
        fresh = tiny_networks.random_variables(repaired)
        statistics = Recalibration(repaired, fresh, "layer2", dataclasses.replace(SETTINGS, tuning=tuning))
        step, state, data = statistics.step, statistics.start, (block_variables(fresh, "layer2"), examples)
    else:
        relaxed = RelaxedBlock(dict(network.blocks)["layer2"], space)
        relaxation = InPlace(network, "layer2", relaxed)
        search = Search(relaxation, SearchSettings(order=2 if kind == "second order" else 1), tuning)
        own = block_variables(variables, "layer2")
        state = search.start(relaxation.start(own, inputs[:1], jax.random.key(0)))
        others = examples.replace(key=jax.random.key(9))  # what is computed of equal batches, a compiler computes once
        data = SearchData(variables, full_masks(space), examples, others)
        step = search.weight_step if kind == "weight_step" else search.bilevel_step
    compiled = jax.pmap(lambda _: step(state, data), AXIS).lower(np.zeros(1)).compile()
    operations = compiled.cost_analysis()["flops"]
    assert loop_of().price(step, state, data).multiply_adds == pytest.approx(operations / 2, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("method", OWN)
def test_multiply_adds_end_a_method_too(repairs, problem, method):
    _, _, _, ledger = repairs[method]
    half = loop_of(multiply_adds=round(0.8 * ledger.spent.multiply_adds))
    METHODS[method].run(problem, SETTINGS, OWN[method], jax.random.key(0), half)
    assert half.ledger.spent.multiply_adds <= half.ledger.limit.multiply_adds
    assert half.ledger.spent.passes < ledger.spent.passes


def test_every_step_is_traced_once_a_run(repairs):
    """Imitation twice: how many steps the budget pays for, which decides its learning rates, is asked of one step."""
    steps = {method: collections.Counter(names) for method, (_, _, names, _) in repairs.items()}
    assert steps["reconstruction"] == {"weight_step": 1, "bilevel_step": 1, "judge": 1, "step": 2}
    assert steps["random_architecture"] == {"step": 2}  # the first is of the statistics
    for method in ("fine_tune_block", "fine_tune_group", "fine_tune_network", "weight_average"):
        assert steps[method] == {"step": 1}
    assert steps["imitation_retraining"] == {"step": 2}
    assert steps["auto_rgn"] == {"step": 2}  # the first is of the gradients


def test_a_second_trace_would_be_noticed(problem):
    chex.clear_trace_counter()
    step = chex.assert_max_traces(lambda state, data: (state + data, {}), n=1)
    parallel_steps(step, ONE, 1)(np.float32(0), np.float32(1))
    with pytest.raises(AssertionError, match="traced > 1"):
        parallel_steps(step, ONE, 1)(np.zeros(2, np.float32), np.float32(1))


def test_a_method_changes_what_it_says(repairs, problem):
    changed = {method: differing(problem, repair) for method, (repair, *_) in repairs.items()}
    for method in ("fine_tune_network", "imitation_retraining", "auto_rgn", "weight_average"):
        assert changed.pop(method) == {"layer1", "layer2", "head"}
    assert changed.pop("fine_tune_last") == {"head"}
    assert changed.pop("fine_tune_group") == {"layer1", "layer2"}
    assert changed.pop("imitation_tuning") == {"layer2", "head"}  # which took in the factors on what feeds them
    assert set(map(frozenset, changed.values())) == {frozenset({"layer2"})}
    assert {"spectrum_rgn", "fine_tune_block"} <= changed.keys()  # the other blocks are not suspicious
    for method in OWN.keys() - {"reconstruction", "random_architecture", "imitation_tuning"}:
        assert repairs[method][0].edits == ()


def test_every_repair_begins_at_the_original(repairs, problem):
    images = problem.guard.images
    for method, (repair, *_) in repairs.items():
        if repair.start is None:
            assert ORIGINAL not in repair.variables["params"]["layer2"]
            continue
        network = apply(problem.network, repair.edits)
        scores = logits(network, at_fraction(repair, 0.0), images, ONE)
        np.testing.assert_allclose(scores, problem.guard.logits, rtol=1e-5, atol=1e-5, err_msg=method)
        assert np.abs(logits(network, repair.variables, images, ONE) - scores).max() > 1e-3


def test_the_problem_is_left_as_it_was(repairs, problem):
    scores = logits(problem.network, problem.variables, problem.guard.images, ONE)
    np.testing.assert_allclose(scores, problem.guard.logits, rtol=1e-5, atol=1e-5)


def test_a_search_tells_what_it_found_in_json(repairs, problem):
    repair, *_ = repairs["reconstruction"]
    details = json.loads(json.dumps(repair.trace, sort_keys=True))
    assert from_json(json.loads(json.dumps(to_json(repair.edits)))) == repair.edits
    (edit,) = repair.edits
    assert edit.block == "layer2"
    assert [entry["step"] for entry in details["alphas"]] == [0, 1, 2, 3, 4, 5]
    first, last = details["alphas"][0]["edges"], details["alphas"][-1]["edges"]
    assert {edge: len(names) for edge, names in details["operations"].items()} == {"0->1": 2, "0->2": 3, "1->2": 2}
    for edge, names in details["operations"].items():
        np.testing.assert_allclose(first[edge], 1 / len(names), rtol=1e-6)  # even before the search
        assert sum(last[edge]) == pytest.approx(1, rel=1e-5)
    assert first != last
    genotype = repairs["random_architecture"][0].edits[0].genotype
    assert dict(genotype)[genotype.space.direct] == ORIGINAL


@pytest.mark.parametrize("method", OWN)
def test_what_a_method_tells_fits_its_schema(repairs, method):
    trace, schema = json.loads(json.dumps(repairs[method][0].trace)), METHODS[method].trace
    jsonschema.validate(trace, {"properties": schema, "additionalProperties": False, "required": list(schema)})
    assert all(isinstance(line, str) for line in METHODS[method].story(trace))


@pytest.mark.slow
@pytest.mark.parametrize("method", OWN)
def test_the_least_that_a_method_says_is_what_it_needs(problem, method):
    plan = Plan(SETTINGS, OWN[method], problem.network, "layer2", ONE, {"train": 64, "validation": 40, "guard": 40})
    least = METHODS[method].least(plan)
    assert METHODS[method].check(plan) is None
    loop = loop_of(-(-least // 3))
    METHODS[method].run(problem, SETTINGS, OWN[method], jax.random.key(0), loop)
    assert least <= loop.ledger.spent.passes <= loop.ledger.limit.passes
    with pytest.raises((InputError, Overspent)):
        METHODS[method].run(problem, SETTINGS, OWN[method], jax.random.key(0), loop_of((least - 3) // 3))


def test_the_passes_of_a_search_by_hand():
    space = Space(1, ("dense", "gated_dense"), 8, 1)  # three edges with 2, 3 and 2 candidates
    by_alpha = dataclasses.replace(SEARCH, selection="alpha")
    assert search_passes(by_alpha, space, 8) == 3 * (4 + 2 * 5) * 8
    assert search_passes(dataclasses.replace(by_alpha, order=2), space, 8) == 3 * (4 + 4 * 5) * 8
    assert search_passes(SEARCH, space, 8) == 3 * (4 + 2 * 5 + 3 * 2) * 8 + 7 * 16


@pytest.mark.slow
def test_recalibration_measures_new_operations_over_train_batches(problem):
    train = pool(problem, "train", "layer2", Loop(ONE))
    space = make_space(problem.network, problem.variables, "layer2", 0, ("dense",))
    network = Replaced("layer2", Genotype(space, ("dense",))).apply(problem.network)
    fresh = block_variables(network.init(jax.random.key(0)), "layer2")
    variables = put(problem.variables, "layer2", fresh)
    after = Recalibration(network, variables, "layer2", SETTINGS).measure(variables, train, Loop(ONE))
    assert jax.tree.all(jax.tree.map(np.array_equal, after["params"], variables["params"]))
    batches = [
        jax.vmap(lambda _, i=i: draw_batch(train, i, 8, SETTINGS.tuning.failing_share), axis_name=AXIS)(
            np.zeros(1)
        ).inputs[0]
        for i in range(SETTINGS.recalibration_batches)
    ]
    (name, norm), *_ = after["batch_stats"]["layer2"].items()
    outputs = [np.asarray(batch @ fresh["params"][name]["linear"]["kernel"]) for batch in batches]
    np.testing.assert_allclose(norm["norm"]["mean"], np.mean([y.mean(0) for y in outputs], 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm["norm"]["var"], np.mean([y.var(0) for y in outputs], 0), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_search_that_keeps_the_original_alone_still_gives_a_repair(problem):
    """A layer of vectors has no statistics, and a block that is the original alone brings none."""
    train = pool(problem, "train", "layer2", Loop(ONE))
    space = make_space(problem.network, problem.variables, "layer2", 0, ("dense",))
    genotype = random_genotype(space, jax.random.key(0))
    assert genotype.choices == (ORIGINAL,)
    own = {"params": {ORIGINAL: problem.variables["params"]["layer2"]}}
    variables = put(problem.variables, "layer2", own)
    repair = tune_found(problem, variables, genotype, train, SETTINGS, loop_of(24))
    scores = logits(apply(problem.network, repair.edits), at_fraction(repair, 0.0), problem.guard.images, ONE)
    np.testing.assert_allclose(scores, problem.guard.logits, rtol=1e-5, atol=1e-5)
