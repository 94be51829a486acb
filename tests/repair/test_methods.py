"""All repair methods on one small problem: what they spend, what they change, and how often they are traced."""

import collections
import dataclasses
import functools
import json

import chex
import jax
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair import METHODS, architecture
from archrepair_jax.repair.architecture import install, put, recalibrate, search_cost, tune_found
from archrepair_jax.repair.guard import at_fraction
from archrepair_jax.repair.imitation.tuning import ImitationTuningSettings
from archrepair_jax.repair.problem import block_pools, logits
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search import selection
from archrepair_jax.search.bilevel import SearchSettings
from archrepair_jax.search.cell import Genotype, Space, genotype_from_json, make_space, random_genotype
from archrepair_jax.search.operations import ORIGINAL
from archrepair_jax.training import loop as loops
from archrepair_jax.training.batches import draw
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import AXIS, choose_devices, parallel_steps
from archrepair_jax.training.swarm import SwarmSettings

ONE = choose_devices(1)
SEARCH = SearchSettings(
    operations=("dense", "gated_dense"), warmup_steps=4, steps=5, projection_steps=2, selection_examples=16
)
SETTINGS = RepairSettings(
    budget=520,
    recalibration_batches=3,
    search=SEARCH,
    tuning=TuningSettings(batch_size=8, learning_rate=0.01),
    imitation_tuning=ImitationTuningSettings(chunk=16, swarm=SwarmSettings(particles=4, iterations=9)),
)


@pytest.fixture(scope="module")
def traced_once():
    """Every step of every loop, wrapped so that a second trace of the same step fails the test."""
    chex.clear_trace_counter()
    names = []

    @functools.cache
    def counted(step):
        names.append(step.__name__)
        return chex.assert_max_traces(step, n=1)

    with pytest.MonkeyPatch.context() as patch:
        for room in (loops, selection, architecture):
            patch.setattr(room, "parallel_steps", lambda step, *rest: parallel_steps(counted(step), *rest))
        yield names


@pytest.fixture(scope="module")
def repairs(problem, traced_once):
    """Each method's repair, the steps its loops did, and the steps that were compiled."""
    done = {}
    for name, method in METHODS.items():
        steps = {}
        loop = Loop(ONE, report=lambda loop, step, *_, steps=steps: steps.update({loop: step}))
        traced_once.clear()
        chex.clear_trace_counter()
        done[name] = method(problem, SETTINGS, jax.random.key(0), loop), steps, list(traced_once)
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


@pytest.mark.parametrize("method", METHODS)
def test_a_method_spends_its_budget_to_within_one_batch(repairs, method):
    repair, _, _ = repairs[method]
    assert SETTINGS.budget - SETTINGS.tuning.batch_size < repair.sample_gradients <= SETTINGS.budget


def test_what_is_counted_is_what_was_done(repairs):
    batch = SETTINGS.tuning.batch_size
    for method in ("fine_tune_block", "fine_tune_network", "random_architecture"):
        repair, steps, _ = repairs[method]
        assert list(steps) == ["tuning"]
        assert repair.sample_gradients == steps["tuning"] * batch
    repair, steps, _ = repairs["imitation_retraining"]
    assert steps == {"imitation": repair.sample_gradients / batch}
    assert repairs["imitation_tuning"][0].sample_gradients == 43 * 4 * 9 / 3  # examples, particles, iterations, passes
    repair, steps, _ = repairs["architecture_search"]
    assert list(steps) == ["warmup", "search", "projection0", "projection1", "projection2", "tuning"]
    judged = SEARCH.selection_examples * sum(map(len, repair.details["selection"].values()))
    passes = sum(steps.values()) + steps["search"]  # a bilevel step learns alphas and weights
    assert repair.sample_gradients == passes * batch + judged


def test_every_step_is_traced_once_a_run(repairs):
    steps = {method: collections.Counter(names) for method, (_, _, names) in repairs.items()}
    assert steps["architecture_search"] == {"weight_step": 1, "bilevel_step": 1, "judge": 1, "step": 2}
    assert steps["random_architecture"] == {"step": 2}  # tuning and recalibration
    for method in ("fine_tune_block", "fine_tune_network", "imitation_retraining"):
        assert steps[method] == {"step": 1}


def test_a_second_trace_would_be_noticed(problem):
    chex.clear_trace_counter()
    step = chex.assert_max_traces(lambda state, data: (state + data, {}), n=1)
    parallel_steps(step, ONE, 1)(np.float32(0), np.float32(1))
    with pytest.raises(AssertionError, match="traced > 1"):
        parallel_steps(step, ONE, 1)(np.zeros(2, np.float32), np.float32(1))


def test_a_method_changes_what_it_says(repairs, problem):
    changed = {method: differing(problem, repair) for method, (repair, _, _) in repairs.items()}
    assert changed.pop("fine_tune_network") == changed.pop("imitation_retraining") == {"layer1", "layer2", "head"}
    assert changed.pop("imitation_tuning") == {"layer2", "head"}  # which took in the factors on what feeds them
    assert set(map(frozenset, changed.values())) == {frozenset({"layer2"})}
    for method in ("fine_tune_block", "fine_tune_network", "imitation_retraining"):
        assert repairs[method][0].network is problem.network


def test_every_repair_begins_at_the_original(repairs, problem):
    images = problem.guard.images
    for method, (repair, _, _) in repairs.items():
        if repair.start is None:
            assert ORIGINAL not in repair.variables["params"]["layer2"]
            continue
        scores = logits(repair.network, at_fraction(repair, 0.0), images, ONE)
        np.testing.assert_allclose(scores, problem.guard.logits, rtol=1e-5, atol=1e-5, err_msg=method)
        assert np.abs(logits(repair.network, repair.variables, images, ONE) - scores).max() > 1e-3


def test_the_problem_is_left_as_it_was(repairs, problem):
    scores = logits(problem.network, problem.variables, problem.guard.images, ONE)
    np.testing.assert_allclose(scores, problem.guard.logits, rtol=1e-5, atol=1e-5)


def test_a_search_tells_what_it_found_in_json(repairs, problem):
    repair, _, _ = repairs["architecture_search"]
    details = json.loads(json.dumps(repair.details, sort_keys=True))
    genotype = genotype_from_json(details["genotype"])
    assert install(problem.network, "layer2", genotype) == repair.network
    assert [entry["step"] for entry in details["alphas"]] == [0, 1, 2, 3, 4, 5]
    first, last = details["alphas"][0]["edges"], details["alphas"][-1]["edges"]
    assert {edge: len(names) for edge, names in details["operations"].items()} == {"0->1": 2, "0->2": 3, "1->2": 2}
    for edge, names in details["operations"].items():
        np.testing.assert_allclose(first[edge], 1 / len(names), rtol=1e-6)  # even before the search
        assert sum(last[edge]) == pytest.approx(1, rel=1e-5)
    assert first != last
    genotype = genotype_from_json(repairs["random_architecture"][0].details["genotype"])
    assert dict(genotype)[genotype.space.direct] == ORIGINAL


def test_a_budget_too_small_is_refused_before_any_work(problem):
    def refuse(*_):
        raise AssertionError("work was done")

    loop = Loop(ONE, report=refuse)
    space = Space(1, SEARCH.operations, 8, 1)
    for method, budget, need in (
        ("architecture_search", 100, search_cost(SEARCH, space, 8) + 8),
        ("fine_tune_block", 7, 8),
        ("fine_tune_network", 7, 8),
        ("imitation_retraining", 7, 8),
        ("random_architecture", 7, 8),
    ):
        with pytest.raises(InputError, match=f"repair.budget={budget} leaves no step .* {need}"):
            METHODS[method](problem, dataclasses.replace(SETTINGS, budget=budget), jax.random.key(0), loop)

    with pytest.raises(InputError, match="repair.budget=23 is too small .*: raise it to 24 or more"):
        METHODS["imitation_tuning"](problem, dataclasses.replace(SETTINGS, budget=23), jax.random.key(0), loop)


def test_the_cost_of_a_search_by_hand():
    space = Space(1, ("dense", "gated_dense"), 8, 1)  # three edges with 2, 3 and 2 candidates
    by_alpha = dataclasses.replace(SEARCH, selection="alpha")
    assert search_cost(by_alpha, space, 8) == (4 + 2 * 5) * 8
    assert search_cost(dataclasses.replace(by_alpha, order=2), space, 8) == (4 + 4 * 5) * 8
    assert search_cost(SEARCH, space, 8) == (4 + 2 * 5 + 3 * 2) * 8 + 7 * 16


def test_recalibration_measures_new_operations_over_train_batches(problem):
    train, _ = block_pools(problem, ONE)
    space = make_space(problem.network, problem.variables, "layer2", 0, ("dense",))
    network = install(problem.network, "layer2", Genotype(space, ("dense",)))
    fresh = block_variables(network.init(jax.random.key(0)), "layer2")
    variables = put(problem.variables, "layer2", fresh)
    after = recalibrate(network, variables, "layer2", train, SETTINGS, Loop(ONE))
    assert jax.tree.all(jax.tree.map(np.array_equal, after["params"], variables["params"]))
    batches = [
        jax.vmap(lambda _, i=i: draw(train, i, 8, SETTINGS.tuning.failing_share), axis_name=AXIS)(np.zeros(1)).inputs[0]
        for i in range(SETTINGS.recalibration_batches)
    ]
    (name, norm), *_ = after["batch_stats"]["layer2"].items()
    outputs = [np.asarray(batch @ fresh["params"][name]["linear"]["kernel"]) for batch in batches]
    np.testing.assert_allclose(norm["norm"]["mean"], np.mean([y.mean(0) for y in outputs], 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm["norm"]["var"], np.mean([y.var(0) for y in outputs], 0), rtol=1e-4, atol=1e-5)


def test_a_search_that_keeps_the_original_alone_still_gives_a_repair(problem):
    """A layer of vectors has no statistics, and a block that is the original alone brings none."""
    train, _ = block_pools(problem, ONE)
    space = make_space(problem.network, problem.variables, "layer2", 0, ("dense",))
    genotype = random_genotype(space, jax.random.key(0))
    assert genotype.choices == (ORIGINAL,)
    network = install(problem.network, "layer2", genotype)
    own = {"params": {ORIGINAL: problem.variables["params"]["layer2"]}}
    settings = dataclasses.replace(SETTINGS, budget=24)
    variables = put(problem.variables, "layer2", own)
    repair = tune_found(problem, network, variables, genotype, train, 0, settings, Loop(ONE))
    scores = logits(network, at_fraction(repair, 0.0), problem.guard.images, ONE)
    np.testing.assert_allclose(scores, problem.guard.logits, rtol=1e-5, atol=1e-5)
