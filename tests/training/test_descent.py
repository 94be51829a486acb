"""Gradient descent on a span of blocks: what learns, what stays, and how."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_networks

from archrepair_jax.training.descent import (
    OPTIMIZERS,
    TuningSettings,
    first_block,
    make_optimizer,
    merge,
    start_state,
    tuning_step,
)
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices

ONE = choose_devices(1)


def same(one, other) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


def tuned(rates, *, train, steps=12, **settings):
    network = tiny_networks.plain_network()
    variables = tiny_networks.random_variables(network)
    settings = TuningSettings(batch_size=16, learning_rate=0.02, preserve=0.0, failing_share=0.75, **settings)
    pool = tiny_networks.image_pool(network, variables, 16)
    # the inputs are those of the first block that learns
    pool = pool.replace(
        inputs=network.span(variables, pool.inputs / np.float32(255), 0, first_block(network, rates))[0]
    )
    step = tuning_step(network, rates, settings, train=train)
    start = start_state(variables, rates, settings, steps)
    state, history = Loop(ONE).run("t", step, start, (variables, pool), steps=steps)
    return variables, merge(variables, state), history


@pytest.mark.slow
def test_a_block_alone_learns_and_its_statistics_stay():
    before, after, history = tuned({"block1": 1.0}, train=False, optimizer="adam")
    assert history[-1]["loss"] < history[0]["loss"] - 0.05
    assert [name for name in before["params"] if not same(before["params"][name], after["params"][name])] == ["block1"]
    assert same(before["batch_stats"], after["batch_stats"])


@pytest.mark.slow
def test_statistics_follow_the_batches_when_training():
    before, after, history = tuned({"block1": 1.0, "head": 1.0}, train=True, optimizer="sgd")
    assert history[-1]["loss"] < history[0]["loss"] - 0.05
    assert same(before["params"]["stem"], after["params"]["stem"])
    assert not same(before["params"]["head"], after["params"]["head"])
    assert same(before["batch_stats"]["stem"], after["batch_stats"]["stem"])
    assert not same(before["batch_stats"]["block1"], after["batch_stats"]["block1"])


@pytest.mark.slow
def test_blocks_that_are_no_neighbours_learn_at_rates_of_their_own():
    before, after, history = tuned({"stem": 0.1, "head": 1.0}, train=True, optimizer="adam", steps=1)
    assert same(before["params"]["block1"], after["params"]["block1"])
    assert same(before["batch_stats"]["block1"], after["batch_stats"]["block1"])
    assert not same(before["batch_stats"]["stem"], after["batch_stats"]["stem"])
    moved = {
        name: max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        for name in ("stem", "head")
        for pair in [(before["params"][name], after["params"][name])]
    }
    assert moved["stem"] == pytest.approx(moved["head"] / 10, rel=1e-3)  # Adam's first step is the rate itself


@pytest.mark.slow
def test_one_rate_for_all_is_the_plain_optimizer():
    params = {"a": {"w": jnp.array([1.0, -2.0])}, "b": {"w": jnp.array([3.0])}}
    gradients = jax.tree.map(lambda x: x / 7, params)
    settings = TuningSettings(optimizer="sgd", learning_rate=0.1, weight_decay=0.01)
    updates = []
    for rates in (None, {"a": 1.0, "b": 1.0}):
        optimizer = make_optimizer(settings, 4, rates)
        updates.append(optimizer.update(gradients, optimizer.init(params), params)[0])
    assert same(*updates)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_falls_to_zero_and_large_gradients_are_clipped(name):
    settings = TuningSettings(optimizer=name, learning_rate=0.1)
    optimizer = make_optimizer(settings, 4)
    params = {"w": jnp.ones(4)}
    sizes = []
    for gradient in (1e6, 1e3):
        state = optimizer.init(params)
        updates, _ = optimizer.update({"w": jnp.full(4, gradient)}, state, params)
        sizes.append(float(jnp.linalg.norm(updates["w"])))
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-5)  # both are cut to norm 5
    state, steps = optimizer.init(params), []
    for _ in range(5):
        updates, state = optimizer.update({"w": jnp.ones(4)}, state, params)
        steps.append(float(jnp.abs(updates["w"]).max()))
    assert steps[0] > steps[3] > steps[4] == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_descends_as_optax_does_along_a_cosine(name):
    params, rate = {"w": jnp.array([0.5, -2.0, 1.0])}, optax.cosine_decay_schedule(0.1, 5)
    theirs = {
        "adam": optax.adamw(rate, weight_decay=0.01, eps_root=1e-16),
        "sgd": optax.chain(optax.add_decayed_weights(0.01), optax.sgd(rate, momentum=0.9, nesterov=True)),
    }[name]
    ours = make_optimizer(TuningSettings(optimizer=name, learning_rate=0.1, weight_decay=0.01), 5)
    ends = []
    for optimizer in (ours, theirs):
        state, now = optimizer.init(params), params
        for _ in range(4):
            updates, state = optimizer.update(jax.tree.map(lambda x: x / 3, now), state, now)
            now = optax.apply_updates(now, updates)
        ends.append(now)
    chex.assert_trees_all_close(*ends, rtol=1e-6)


def test_descents_of_any_length_share_a_step():
    network, settings = tiny_networks.plain_network(), TuningSettings()
    steps = [tuning_step(network, {name: 1.0}, settings, train=False) for name in ("block1", "block1", "head")]
    assert steps[0] is steps[1] and steps[0] is not steps[2]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_pulls_to_zero(name):
    optimizer = make_optimizer(TuningSettings(optimizer=name, weight_decay=0.1), 4)
    params = {"w": jnp.array([2.0, -2.0])}
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    assert updates["w"][0] < 0 < updates["w"][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_can_be_differentiated_where_a_gradient_is_zero(name):
    """As second-order search does; many weights of a silent operation have no gradient yet."""
    optimizer = make_optimizer(dataclasses.replace(TuningSettings(), optimizer=name), 4)
    params = {"w": jnp.ones(3)}

    def moved(x):
        gradients = {"w": jnp.array([1.0, 0.0, 2.0]) * x}
        return optimizer.update(gradients, optimizer.init(params), params)[0]["w"].sum()

    assert np.isfinite(jax.grad(moved)(0.7))
