"""The architecture gradient against finite differences, and what the steps of a search change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks
from jax.flatten_util import ravel_pytree

from archrepair_jax.search.bilevel import Search, SearchSettings
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices, parallel_steps, replicate

ONE, EIGHT = choose_devices(1), choose_devices(8)
TUNING = TuningSettings(batch_size=16, learning_rate=0.02)


def map_floats(function, tree):
    return jax.tree.map(lambda leaf: function(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def stirred(tree, size: float):
    """Positive random numbers added: so no operation is silent, and alphas have a gradient."""
    rng = np.random.default_rng(0)
    return map_floats(lambda leaf: leaf + size * rng.uniform(0.5, 1, leaf.shape), tree)


@pytest.fixture(scope="module")
def maps():
    """A search on the last residual block, without inner nodes."""
    network, operations = tiny_networks.residual_network(), ("sep_conv_3x3", "gated_conv_1x1")
    return tiny_networks.small_search(network, "stage3_block1", operations, TUNING, hidden=0)


@pytest.fixture(scope="module")
def vectors():
    """A search on a layer of vectors, with an inner node."""
    return tiny_networks.small_search(tiny_networks.vector_network(), "layer2", ("dense", "bottleneck"), TUNING)


def in_double(kind, optimizer: str, order: int):
    """A search in float64: its silent start, a state in the midst of learning, and its data."""
    template, start, data = kind
    tuning = dataclasses.replace(TUNING, optimizer=optimizer)
    search = Search(template.relaxation, SearchSettings(order=order), tuning)
    start, data = map_floats(lambda leaf: leaf.astype(jnp.float64), (start, data))
    start = start.replace(weight_optimizer=search.weight_optimizer.init(start.weights))
    learning = start.replace(
        weights=stirred(start.weights, 0.3),
        alphas=stirred(start.alphas, 0.5),
        weight_optimizer=stirred(start.weight_optimizer, 1e-2),
    )
    return search, start, learning, data


def batches(search, state, data):
    return search.draw(data.train, state.step), search.draw(data.validation, state.step)


def gradient_of(search: Search, devices):
    """The architecture gradient as a function of state and data."""

    def step(state, data):
        return search.alpha_gradient(state, data, *batches(search, state, data)), {}

    return lambda state, data: jax.device_get(parallel_steps(step, devices, 1)(*replicate((state, data), devices))[0])


def loss_after_a_step(search: Search, state, data):
    """What second order descends, as a function of alphas: L_val(w - step(w, alpha), alpha)."""

    def step(alphas, given):
        state, data = given
        train, validation = batches(search, state, data)
        weights, *_ = search.descend(state, alphas, data, train)
        return alphas, {"loss": search.loss(weights, alphas, state.statistics, data, validation)[0]}

    call = parallel_steps(step, ONE, 1)
    return lambda alphas: float(call(*replicate((alphas, (state, data)), ONE))[1]["loss"][0])


def central_differences(function, alphas, delta: float = 1e-5):
    flat, unflatten = ravel_pytree(alphas)
    moves = delta * np.eye(len(flat))
    return (
        jnp.array([function(unflatten(flat + move)) - function(unflatten(flat - move)) for move in moves]) / delta / 2
    )


def distance(gradient, reference) -> float:
    """Relative to the reference."""
    gradient, reference = ravel_pytree(gradient)[0], ravel_pytree(reference)[0]
    return float(jnp.linalg.norm(gradient - reference) / jnp.linalg.norm(reference))


@pytest.mark.slow
def test_the_second_order_gradient_agrees_with_finite_differences_and_differs_from_the_first(maps):
    with jax.enable_x64(True):
        search, start, learning, data = in_double(maps, "adam", order=2)
        exact = gradient_of(search, ONE)
        gradient = exact(learning, data)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float64")}
        assert (
            distance(gradient, central_differences(loss_after_a_step(search, learning, data), learning.alphas)) < 1e-4
        )
        # at the silent start many weights have no gradient yet, which must not spoil the derivative of their step
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(exact(start, data)))
        first, *_ = in_double(maps, "adam", order=1)
        assert distance(gradient_of(first, ONE)(learning, data), gradient) > 1e-2


@pytest.mark.slow
def test_the_second_order_gradient_with_momentum_and_an_inner_node_is_the_same_on_all_devices(vectors):
    with jax.enable_x64(True):
        search, _, learning, data = in_double(vectors, "sgd", order=2)
        gradient = gradient_of(search, EIGHT)(learning, data)
        assert distance(gradient, gradient_of(search, ONE)(learning, data)) < 1e-8
        assert (
            distance(gradient, central_differences(loss_after_a_step(search, learning, data), learning.alphas)) < 1e-4
        )


def changed(before, after) -> bool:
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), before, after)))


@pytest.mark.slow
def test_weights_alone_learn_in_a_weight_step_and_both_learn_in_a_bilevel_step(maps):
    search, start, data = maps
    warm, history = Loop(ONE).run("warmup", search.weight_step, start, data, steps=20)
    assert history[-1]["loss"] < history[0]["loss"] - 0.05
    assert changed(start.weights, warm.weights) and changed(start.statistics, warm.statistics)
    assert not changed(start.alphas, warm.alphas) and not changed(start.alpha_optimizer, warm.alpha_optimizer)
    found, history = Loop(ONE).run("search", search.bilevel_step, warm, data, steps=20)
    assert changed(warm.weights, found.weights) and changed(warm.alphas, found.alphas)
    assert int(found.step) == 40
    np.testing.assert_array_equal(history[-1]["alphas"]["edge_0_1"], found.alphas["edge_0_1"])


def test_the_original_branch_learns_but_keeps_its_statistics(maps):
    search, start, data = maps
    after, _ = Loop(ONE).run("warmup", search.weight_step, start, data, steps=2)
    assert changed(start.weights["original"], after.weights["original"])
    assert not changed(start.statistics["original"], after.statistics["original"])
    others = [name for name in start.statistics if name != "original"]
    assert all(changed(start.statistics[name], after.statistics[name]) for name in others)
