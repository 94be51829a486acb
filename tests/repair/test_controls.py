"""The controls that a block search must beat, each by what it alone does, on one small problem of images."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_networks
from flax import linen as nn
from tiny_problems import compiled, of_images, one_by_one

from archrepair_jax.errors import InputError
from archrepair_jax.models import wrap as wrapping
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.edits import apply
from archrepair_jax.repair.fine_tuning import GroupTuningSettings, RateSettings
from archrepair_jax.repair.method import Plan
from archrepair_jax.repair.problem import Problem, logits
from archrepair_jax.repair.relative_gradients import RelativeGradientSettings, relative_norms
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.repair.verdict import at_fraction
from archrepair_jax.repair.weight_average import WeightAverageSettings
from archrepair_jax.training.batches import draw_batch, repair_loss
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import AXIS, choose_devices

ONE, EIGHT = choose_devices(1), choose_devices(8)
SETTINGS = RepairSettings(budget=200, tuning=TuningSettings(batch_size=16, learning_rate=1e-2))


@pytest.fixture(scope="module")
def problem() -> Problem:
    network = tiny_networks.residual_network()
    scores = {"stem": 0.1, "stage1_block1": 0.2, "stage2_block1": -0.3}  # stage 3 is excluded
    variables = tiny_networks.random_variables(network)
    return of_images(network, variables, "stage1_block1", suspiciousness=scores)


def repaired(problem: Problem, method: str, own=None, devices=ONE, budget: int = SETTINGS.budget):
    loop = Loop(devices, ledger=Ledger(budget))
    repair = METHODS[method].run(problem, SETTINGS, own or METHODS[method].settings(), jax.random.key(0), loop)
    assert loop.ledger.spent.passes <= loop.ledger.limit.passes
    return repair, loop.ledger


def plan(network, method: str, own=None, block: str = "stage1_block1", **more) -> Plan:
    rows = {"train": 64, "validation": 64, "guard": 64}
    return Plan(SETTINGS, own or METHODS[method].settings(), network, block, ONE, rows, **more)


def changed(before, after) -> set[str]:
    """The blocks with other parameters."""

    def same(name: str) -> bool:
        return jax.tree.all(jax.tree.map(np.array_equal, before["params"][name], after["params"][name]))

    return {name for name in before["params"] if not same(name)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "block", "learns"),
    [
        ("", "stage1_block1", {"stem", "stage1_block1"}),
        ("", "stage3_block1", {"stage3_block1"}),
        ("", "head", {"head"}),
        ("stage2+stage3", "stem", {"stage2_block1", "stage3_block1"}),
    ],
)
def test_a_group_learns_and_nothing_else(problem, group, block, learns):
    repair, _ = repaired(dataclasses.replace(problem, block=block), "fine_tune_group", GroupTuningSettings(0.0, group))
    assert changed(problem.variables, repair.variables) == set(repair.trace["blocks"]) == learns
    jax.tree.map(np.testing.assert_array_equal, problem.variables["batch_stats"], repair.variables["batch_stats"])


@pytest.mark.slow
@pytest.mark.parametrize("named", ["", "stem+stage1"])
def test_a_group_that_was_made_already_is_the_group(problem, named):
    network, variables = regroup(problem.network, problem.variables, ("stem+stage1",))
    grouped = of_images(network, variables, "stem+stage1")
    repair, _ = repaired(grouped, "fine_tune_group", GroupTuningSettings(0.0, named))
    assert changed(variables, repair.variables) == {"stem+stage1"}


def test_a_group_that_there_is_not_is_refused(problem):
    with pytest.raises(InputError, match="the group 'stage7' cannot hold 'stage7': name neighbours"):
        METHODS["fine_tune_group"].check(plan(problem.network, "fine_tune_group", GroupTuningSettings(0.0, "stage7")))


@pytest.mark.slow
def test_a_rate_of_its_own_replaces_that_of_all_and_zero_does_not(problem):
    def head(rate: float) -> np.ndarray:
        repair, _ = repaired(problem, "fine_tune_last", RateSettings(rate))
        return np.asarray(repair.variables["params"]["head"]["linear"]["kernel"])

    np.testing.assert_array_equal(head(0.0), head(SETTINGS.tuning.learning_rate))
    moved = [
        np.abs(head(rate) - problem.variables["params"]["head"]["linear"]["kernel"]).max() for rate in (1e-2, 1e-4)
    ]
    assert moved[0] > 10 * moved[1] > 0


@pytest.mark.slow
def test_relative_norms_are_those_of_the_loss_at_the_original_weights(problem):
    network, variables = problem.network, problem.variables
    loop = Loop(ONE, ledger=Ledger(200))
    factors = relative_norms(problem, SETTINGS.tuning, 2, loop)
    assert loop.ledger.spent.passes == 3 * 2 * 16 and max(factors.values()) == 1 and "input" not in factors
    pool = problem.pools["train", "input"]

    def loss(params):
        batches = [jax.vmap(lambda _, i=i: draw_batch(pool, i, 16, 0.5), axis_name=AXIS)(np.zeros(1)) for i in range(2)]
        ones = [jax.tree.map(lambda leaf: leaf[0], batch) for batch in batches]
        logits = [network.span(variables | {"params": params}, each.inputs, 0, len(network.blocks))[0] for each in ones]
        return sum(map(repair_loss, logits, ones, (1.0, 1.0)))

    def norm(tree) -> float:
        return float(np.sqrt(sum(np.square(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(tree))))

    gradient = jax.grad(loss)(variables["params"])
    ratios = {name: norm(gradient[name]) / norm(own) for name, own in variables["params"].items()}
    for name, factor in factors.items():
        assert factor == pytest.approx(ratios[name] / max(ratios.values()), rel=1e-3)


@pytest.mark.slow
def test_eight_devices_measure_what_one_does(problem):
    one, eight = (
        relative_norms(problem, SETTINGS.tuning, 2, Loop(devices, ledger=Ledger())) for devices in (ONE, EIGHT)
    )
    assert one == pytest.approx(eight, rel=1e-3)


@pytest.mark.slow
def test_a_block_of_zeros_stays_and_the_others_learn(problem):
    """Its relative norm is no number."""
    block = "stage1_block1"
    zeros = jax.tree.map(np.zeros_like, problem.variables["params"][block])
    variables = problem.variables | {"params": problem.variables["params"] | {block: zeros}}
    repair, _ = repaired(of_images(problem.network, variables, "stem"), "auto_rgn")
    assert repair.trace["factors"][block] == 0
    assert changed(variables, repair.variables) == variables["params"].keys() - {block}


@pytest.mark.slow
def test_what_is_not_suspicious_or_not_ranked_stays(problem):
    repair, _ = repaired(problem, "spectrum_rgn")
    assert changed(problem.variables, repair.variables) == {"stem", "stage1_block1"}
    auto, _ = repaired(problem, "auto_rgn")
    assert changed(problem.variables, auto.variables) == problem.variables["params"].keys()
    factors, measured = repair.trace["factors"], auto.trace["factors"]
    assert factors["stem"] == pytest.approx(measured["stem"] / 2) and factors["stage2_block1"] == factors["head"] == 0
    assert factors["stage1_block1"] == measured["stage1_block1"]
    largest = max(measured, key=measured.get)
    assert METHODS["auto_rgn"].story(auto.trace)[0].startswith(f"learning rates, the largest first: {largest} × 1, ")


def test_without_a_ranking_the_spectrum_is_refused(problem):
    METHODS["spectrum_rgn"].check(plan(problem.network, "spectrum_rgn"))
    with pytest.raises(InputError, match="needs the blocks ranked: add localize to stages"):
        METHODS["spectrum_rgn"].check(plan(problem.network, "spectrum_rgn", localized=False))
    for scores, words in (({}, "needs the blocks ranked"), ({"stem": -1.0}, "none would learn")):
        with pytest.raises(InputError, match=words):
            repaired(dataclasses.replace(problem, suspiciousness=scores), "spectrum_rgn")


@pytest.mark.slow
def test_the_average_is_the_mixture_that_validation_likes_best(problem):
    own = WeightAverageSettings(3e-2, (0.25, 0.5, 1.0))
    repair, ledger = repaired(problem, "weight_average", own, budget=400)
    accuracies = {each["fraction"]: each["accuracy"] for each in repair.trace["validation"]}
    best = repair.trace["fraction"]
    assert list(accuracies) == [0.0, 0.25, 0.5, 1.0] and accuracies[best] == max(accuracies[f] for f in own.fractions)
    for fraction, variables in ((0.0, repair.start), (best, repair.variables)):
        right = (
            logits(problem.network, variables, problem.validation.images, ONE).argmax(-1) == problem.validation.labels
        )
        assert accuracies[fraction] == pytest.approx(right.mean())
    whole = repaired(problem, "weight_average", WeightAverageSettings(3e-2, (1.0,)), budget=400 - 64 * 2 // 3)[0]
    expected = at_fraction(dataclasses.replace(whole, start=problem.variables), best)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.02), repair.variables, expected)
    (said,) = METHODS["weight_average"].story(repair.trace)
    assert said.startswith(f"{100 * best:.0f} % of the way to the tuned weights was taken: ")
    assert 3 * (400 - 16) < ledger.spent.passes


@pytest.mark.parametrize(
    ("fractions", "words"), [((), "fractions is empty"), ((0.0,), "fractions=0.0 is out of range")]
)
def test_fractions_that_are_none(fractions, words):
    with pytest.raises(InputError, match=words):
        WeightAverageSettings(fractions=fractions)


@pytest.mark.slow
def test_statistics_are_those_of_the_mixture_and_weights_stay(problem):
    repair, ledger = repaired(problem, "batch_statistics", devices=EIGHT)
    assert ledger.spent.passes == 64  # every train example once
    jax.tree.map(np.testing.assert_array_equal, problem.variables["params"], repair.variables["params"])
    assert jax.tree.structure(problem.variables["batch_stats"]) == jax.tree.structure(repair.variables["batch_stats"])
    inputs = problem.train.images / np.float32(255)
    stem = block_variables(problem.variables, "stem")
    x, _ = problem.network.span(problem.variables, inputs, 0, 1)
    y = nn.Conv(4, (3, 3), padding=1, use_bias=False).apply({"params": stem["params"]["conv1"]}, x)
    found = block_variables(repair.variables, "stem")["batch_stats"]["bn1"]
    np.testing.assert_allclose(found["mean"], y.mean((0, 1, 2)), rtol=1e-3, atol=1e-4)  # the first layer's exactly
    assert (found["var"] > 0.7 * y.var((0, 1, 2))).all() and (found["var"] < 1.001 * y.var((0, 1, 2))).all()
    one, _ = repaired(problem, "batch_statistics")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one.variables, repair.variables)


def test_a_small_budget_measures_what_it_pays_for(problem):
    _, ledger = repaired(problem, "batch_statistics", budget=11)  # 33 passes: two batches of four
    assert ledger.spent.passes == 32


class Foreign(nn.Module):
    """Its normalisation forgets slowly, as flax has it."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.99)(x)
        return nn.Dense(4)(x.mean((1, 2)))


@pytest.mark.slow
def test_statistics_do_not_depend_on_a_modules_momentum():
    network, variables = wrapping.wrap(
        Foreign(), Foreign().init(jax.random.key(0), np.zeros((1, 8, 8, 1)), True), (8, 8, 1)
    )
    problem = of_images(network, variables, "model")
    repair, _ = repaired(problem, "batch_statistics")
    (norm,) = repair.variables["batch_stats"]["model"]["module"].values()
    np.testing.assert_allclose(norm["mean"], (problem.train.images / np.float32(255)).mean((0, 1, 2)), rtol=1e-3)


def test_a_network_without_statistics_is_refused():
    with pytest.raises(InputError, match="no batch statistics in this network: take fine_tune_network"):
        METHODS["batch_statistics"].check(plan(tiny_networks.vector_network(), "batch_statistics", block="layer2"))
    METHODS["batch_statistics"].check(plan(tiny_networks.plain_network(), "batch_statistics", block="block1"))


@pytest.mark.slow
def test_a_convolution_in_front_learns_alone(problem):
    repair, ledger = repaired(problem, "inserted_convolution")
    (edit,) = repair.edits
    assert edit.genotype.operations == ("residual_conv",) and changed(problem.variables, repair.variables) == set()
    network = apply(problem.network, repair.edits)
    for scores in (compiled, one_by_one):
        before = scores(problem.network, problem.variables, problem)
        np.testing.assert_array_equal(scores(network, repair.start, problem), before)
        assert np.abs(scores(network, repair.variables, problem) - before).max() > 1e-2
    assert 3 * (SETTINGS.budget - 16) < ledger.spent.passes
    (said,) = METHODS["inserted_convolution"].story(repair.trace)
    assert said.endswith(f"{1 * 9 * 12 + 12 + 12 * 9 + 1} added parameters")


def test_vectors_cannot_be_convolved():
    vectors = plan(tiny_networks.vector_network(), "inserted_convolution", block="layer2")
    settings = dataclasses.replace(SETTINGS, block="layer2")
    with pytest.raises(InputError, match="needs maps, and vectors enter layer2"):
        METHODS["inserted_convolution"].check(dataclasses.replace(vectors, repair=settings))


@pytest.mark.parametrize("batches", [0, -1])
def test_a_gradient_needs_a_batch(batches):
    with pytest.raises(InputError, match="batches=.* is out of range"):
        RelativeGradientSettings(batches=batches)
