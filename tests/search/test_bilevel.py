"""The architecture gradient, against finite differences, and what a search step changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.search.bilevel import Search, SearchSettings
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices, parallel_steps, replicate
from archrepair_jax.training.tuning import TuningSettings

ONE, EIGHT = choose_devices(1), choose_devices(8)
OPERATIONS = ("sep_conv_3x3", "gated_conv_1x1")


def double(tree):
    return jax.tree.map(lambda leaf: leaf.astype(float) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def stirred(tree, size: float):
    """Random numbers added; a silent operation is not silent then, and its alphas have a gradient."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: leaf + size * rng.uniform(0.5, 1, leaf.shape) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        tree,
    )


def made(optimizer: str, order: int):
    """A search in float64, its silent start, a state in the midst of learning, and its data."""
    tuning = TuningSettings(optimizer=optimizer, learning_rate=0.02, batch_size=16)
    network = tiny_networks.residual_network()
    search, start, data = double(tiny_networks.small_search(network, "stage3_block1", OPERATIONS, tuning, order))
    learning = start.replace(
        weights=stirred(start.weights, 0.3),
        alphas=stirred(start.alphas, 0.5),
        weight_optimizer=stirred(start.weight_optimizer, 1e-2),
    )
    return search, start, learning, data


def gradient_of(search: Search, devices):
    def step(state, data):
        batches = search.draw(data.train, state.step), search.draw(data.validation, state.step)
        return search.alpha_gradient(state, data, *batches), {}

    return lambda state, data: parallel_steps(step, devices, 1)(*replicate((state, data), devices))[0]


def loss_after_a_step(search: Search):
    """L_val(w(alpha), alpha) with w(alpha) = w - step(w, alpha), written out."""

    def step(alphas, given):
        state, data = given
        train, validation = search.draw(data.train, state.step), search.draw(data.validation, state.step)
        weights, *_ = search.descend(state, alphas, data, train)
        loss, _ = search.loss(weights, alphas, state.statistics, data, validation)
        return alphas, {"loss": loss}

    def loss(alphas, given):
        return float(parallel_steps(step, ONE, 1)(*replicate((alphas, given), ONE))[1]["loss"][0])

    return loss


def central_differences(function, alphas, delta=1e-5):
    flat, unflatten = jax.flatten_util.ravel_pytree(alphas)
    moves = delta * np.eye(len(flat))
    slopes = [(function(unflatten(flat + move)) - function(unflatten(flat - move))) / (2 * delta) for move in moves]
    return unflatten(jnp.array(slopes))


def relative(tree, reference) -> float:
    difference, size = (jax.flatten_util.ravel_pytree(t)[0] for t in (jax.tree.map(jnp.subtract, tree, reference), reference))
    return float(jnp.linalg.norm(difference) / jnp.linalg.norm(size))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_second_order_gradient_agrees_with_finite_differences(optimizer):
    with jax.enable_x64(True):
        search, start, learning, data = made(optimizer, order=2)
        exact = gradient_of(search, ONE)
        gradient = jax.device_get(exact(learning, data))
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float64")}

        loss = loss_after_a_step(search)
        differences = central_differences(lambda alphas: loss(alphas, (learning, data)), learning.alphas)
        assert relative(gradient, differences) < 1e-4

        first = jax.device_get(gradient_of(dataclasses.replace, ONE)) if False else None
        at_start = exact(start, data)  # many gradients are zero there: a square root's derivative must not spoil it
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(at_start))


def test_the_second_order_gradient_differs_from_the_first_and_not_among_devices():
    with jax.enable_x64(True):
        search, _, learning, data = made("sgd", order=2)
        one, eight = (jax.device_get(gradient_of(search, devices)(learning, data)) for devices in (ONE, EIGHT))
        assert relative(eight, one) < 1e-8
        search.order = 1
        first = jax.device_get(gradient_of(search, ONE)(learning, data))
        assert relative(first, one) > 1e-2
