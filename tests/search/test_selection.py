"""From a relaxed block to a decided one: which architecture is chosen, and that nothing learned is lost."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.models.network import block_variables
from archrepair_jax.repair.edits import Replaced
from archrepair_jax.repair.problem import Repair
from archrepair_jax.repair.verdict import at_fraction
from archrepair_jax.search import selection
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings, SearchState
from archrepair_jax.search.cell import (
    FoundBlock,
    Genotype,
    RelaxedBlock,
    Space,
    candidate_name,
    edge_name,
    full_masks,
    make_space,
    mixing_weights,
    uniform_alphas,
)
from archrepair_jax.search.operations import ORIGINAL
from archrepair_jax.search.relaxation import InPlace
from archrepair_jax.search.selection import by_perturbation, inherit, largest_alpha, silenced
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices

ONE = choose_devices(1)
SPACE = Space(1, ("conv_1x1", "sep_conv_3x3", "blur_conv_3x3"), 4, 1)


def undecided():
    """A search over ``SPACE`` that has learned nothing: equal alphas, no weights and no examples."""
    network = tiny_networks.residual_network()
    relaxed = RelaxedBlock(dict(network.blocks)["stage1_block1"], SPACE)
    search = Search(InPlace(network, "stage1_block1", relaxed), SearchSettings(), TuningSettings())
    state = SearchState(jnp.int32(0), {}, {}, uniform_alphas(SPACE), (), ())
    return search, state, SearchData({"params": {}, "batch_stats": {}}, full_masks(SPACE), None, None)


def test_the_largest_alpha_of_every_edge_is_taken():
    search, start, _ = undecided()
    alphas = {
        "edge_0_1": jnp.array([-1.0, -3.0, -2.0]), "edge_0_2": jnp.array([0.1, 0.2, 0.3, 0.4]),
        "edge_1_2": jnp.array([0.0, 5.0, -5.0]),
    }  # fmt: skip
    genotype = largest_alpha(search, start.replace(alphas=alphas))
    assert dict(genotype) == {(0, 1): "conv_1x1", (0, 2): "blur_conv_3x3", (1, 2): "sep_conv_3x3"}
    assert dict(largest_alpha(search, start))[SPACE.direct] == ORIGINAL


@pytest.mark.parametrize("seed", range(3))
def test_the_candidate_whose_absence_hurts_most_stays_alone(seed, monkeypatch):
    needed = {(0, 1): "sep_conv_3x3", (0, 2): "blur_conv_3x3", (1, 2): "conv_1x1"}
    asked = []

    def planted(state, masks):
        asked.append({name: mask.tolist() for name, mask in masks.items()})
        missing = sum(masks[edge_name(e)][SPACE.candidates(e).index(name)] == 0 for e, name in needed.items())
        return 1.0 + float(missing)

    monkeypatch.setattr(selection, "validation_judge", lambda *_: planted)
    search, start, data = undecided()
    settings = SearchSettings(projection_steps=0)
    genotype, state, losses = by_perturbation(search, start, data, settings, jax.random.key(seed), Loop(ONE))
    assert dict(genotype) == needed and state is start
    assert {name: np.argmax(values) for name, values in losses.items()} == {"0->1": 1, "0->2": 3, "1->2": 0}
    assert len(asked) == 3 + 4 + 3  # every candidate is taken out once
    assert all(sum(values) == max(values) + len(values) - 1 for values in losses.values())
    # the edges decided before stay as they were decided, and one candidate is missing from the one in question
    *decided, last = (edge_name(tuple(map(int, arrow.split("->")))) for arrow in losses)
    assert [sum(asked[-1][name]) for name in decided] == [1, 1]
    assert sum(asked[-1][last]) == len(asked[-1][last]) - 1


def test_edges_are_decided_in_random_order(monkeypatch):
    monkeypatch.setattr(selection, "validation_judge", lambda *_: lambda *_: 0.0)
    decide = functools.partial(by_perturbation, *undecided(), SearchSettings(projection_steps=0))
    orders = {tuple(decide(jax.random.key(seed), Loop(ONE))[2]) for seed in range(8)}
    assert len(orders) > 2


@pytest.mark.slow
def test_a_real_search_keeps_the_branch_that_the_network_needs():
    network = tiny_networks.vector_network()
    search, start, data = tiny_networks.small_search(
        network, "layer2", ("dense", "gated_dense"), TuningSettings(batch_size=16, preserve=5.0)
    )
    settings = SearchSettings(projection_steps=1, selection_examples=32)
    genotype, state, losses = by_perturbation(search, start, data, settings, jax.random.key(0), Loop(ONE))
    assert dict(genotype)[search.relaxation.space.direct] == ORIGINAL
    without = losses["0->2"]
    assert without[0] > max(without[1:]) + 0.1
    assert int(state.step) == 3
    # what was taken out of the first edge has learned nothing since
    first, *_ = losses
    edge = tuple(map(int, first.split("->")))
    out = set(search.relaxation.space.candidates(edge)) - {dict(genotype)[edge]}
    assert out
    for name in out:
        before, after = (weights[candidate_name(edge, name)] for weights in (start.weights, state.weights))
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), before, after))


KINDS = {
    "maps": (tiny_networks.residual_network, "stage3_block1", ("sep_conv_3x3", "gated_conv_1x1")),
    "vectors": (tiny_networks.vector_network, "layer2", ("dense", "gated_dense")),
}


@functools.cache
def searched(kind):
    """A network, its variables, an input of the searched block, and the block with everything learned at random."""
    make, block, operations = KINDS[kind]
    network = make()
    variables = tiny_networks.random_variables(network)
    images, _ = tiny_networks.random_examples(network, 5)
    x, _ = network.span(variables, images / np.float32(255), 0, network.index(block))
    relaxed = RelaxedBlock(dict(network.blocks)[block], make_space(network, variables, block, 1, operations))
    mixture = full_masks(relaxed.space)
    learned = tiny_networks.random_leaves(
        jax.eval_shape(functools.partial(relaxed.init, train=False), jax.random.key(0), x, mixture=mixture), seed=1
    )
    return network, variables, block, x, relaxed, learned


def template_of(found, x):
    return jax.eval_shape(functools.partial(found.init, train=False), jax.random.key(0), x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keeps_original", [True, False])
def test_a_found_block_computes_what_the_decided_mixture_does(kind, keeps_original):
    *_, x, relaxed, learned = searched(kind)
    space, rng = relaxed.space, np.random.default_rng(2)
    alphas = {name: jnp.asarray(rng.normal(size=a.shape), jnp.float32) for name, a in uniform_alphas(space).items()}
    choices = {(0, 1): space.operations[0], (0, 2): space.operations[1], (1, 2): space.operations[1]}
    if keeps_original:  # which goes in whole, as it is in an even mixture
        alphas["edge_0_2"], choices[0, 2] = jnp.zeros(3), ORIGINAL
    genotype = Genotype(space, tuple(choices[edge] for edge in space.edges))
    found = FoundBlock(relaxed.original, genotype)
    state = SearchState(jnp.int32(0), learned["params"], learned["batch_stats"], alphas, (), ())
    template = {name: part for name, part in template_of(found, x).items() if name in ("params", "batch_stats")}
    inherited = inherit(state, genotype, template)
    assert jax.tree.map(jnp.shape, inherited) == jax.tree.map(jnp.shape, template)

    masks = {
        edge_name(edge): jnp.array([float(name == choice) for name in space.candidates(edge)])
        for edge, choice in genotype
    }
    expected = relaxed.apply(learned, x, False, mixing_weights(alphas, masks))
    np.testing.assert_allclose(found.apply(inherited, x, False), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_silencing_leads_back_to_the_original_and_the_line_from_there_to_the_repair(kind):
    network, variables, block, x, relaxed, _ = searched(kind)
    operation = relaxed.space.operations[0]
    genotype = Genotype(relaxed.space, (operation, ORIGINAL, operation))
    edit = Replaced(block, genotype)
    repaired = edit.apply(network)
    learned = tiny_networks.random_variables(repaired, seed=1)
    silent = silenced(block_variables(learned, block), block_variables(variables, block), genotype)
    start = {name: variables[name] | {block: silent[name]} for name in variables}
    end = {name: variables[name] | {block: learned[name][block]} for name in variables}
    repair = Repair((edit,), end, start)

    images, _ = tiny_networks.random_examples(network, 5)
    outputs = [np.asarray(repaired.apply(at_fraction(repair, f), images / np.float32(255))) for f in (0.0, 0.5, 1.0)]
    np.testing.assert_array_equal(outputs[0], network.apply(variables, images / np.float32(255)))
    np.testing.assert_array_equal(outputs[2], repaired.apply(end, images / np.float32(255)))
    assert all(np.abs(outputs[1] - outputs[i]).max() > 1e-2 for i in (0, 2))


def test_there_is_no_way_back_without_the_original():
    *_, relaxed, _ = searched("vectors")
    genotype = Genotype(relaxed.space, ("dense",) * 3)
    assert silenced({"params": {}, "batch_stats": {}}, {"params": {}}, genotype) is None


def test_a_block_that_keeps_nothing_but_the_original_can_be_silenced_too():
    _, variables, block, x, relaxed, _ = searched("vectors")
    genotype = Genotype(dataclasses.replace(relaxed.space, hidden=0), (ORIGINAL,))
    found = FoundBlock(relaxed.original, genotype)
    original = block_variables(variables, block)
    learned = {"params": tiny_networks.random_leaves(template_of(found, x)["params"], seed=1)}  # no statistics at all
    silent = silenced(learned, original, genotype)
    np.testing.assert_array_equal(found.apply(silent, x, False), relaxed.original.apply(original, x, False))
