"""The ledger refuses what it cannot pay for, and the meter counts what a step's gradients are taken on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given
from hypothesis import strategies as st

from archrepair_jax.training.ledger import Cost, Ledger, Overspent, metering, note_forward, value_and_grad
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import ParallelMap, choose_devices, share

ONE, EIGHT = choose_devices(1), choose_devices(8)
COSTS = st.builds(Cost, st.integers(0, 50), st.integers(0, 50))


class State(struct.PyTreeNode):
    """What a loop counts on."""

    step: jax.Array
    weights: jax.Array


@given(st.integers(0, 40), st.integers(0, 100), st.lists(COSTS, max_size=12))
def test_a_ledger_never_spends_more_than_it_has(sample_gradients, multiply_adds, costs):
    ledger = Ledger(sample_gradients, multiply_adds)
    for cost in costs:
        before = ledger.spent
        if ledger.affords(cost) == 0:
            with pytest.raises(Overspent, match="work asks for"):
                ledger.charge("work", cost)
            assert ledger.spent == before
        else:
            ledger.charge("work", cost)
            assert ledger.spent == before + cost
    assert not sample_gradients or ledger.spent.passes <= 3 * sample_gradients
    assert not multiply_adds or ledger.spent.multiply_adds <= multiply_adds


def test_what_is_kept_is_paid_once():
    ledger = Ledger(100)
    for what in ("train", "train", "validation", "train"):
        ledger.charge_once("the blocks before", what, Cost(30, 7))
    assert ledger.spent == Cost(60, 14)
    with pytest.raises(Overspent, match="the blocks before"):
        ledger.charge_once("the blocks before", "guard", Cost(301))
    with pytest.raises(Overspent):  # what could not be paid is not kept
        ledger.charge_once("the blocks before", "guard", Cost(301))


def test_how_often_a_price_can_be_paid():
    price = Cost(30, 1000)
    assert Ledger(100, 20_000).affords(price) == 10
    assert Ledger(100, 5_500).affords(price) == 5
    assert Ledger(100).affords(price) == 10
    assert Ledger().affords(price) is None
    ledger = Ledger(100)
    with ledger.set_aside(Cost(100)):
        assert ledger.affords(price) == 6
        with pytest.raises(Overspent, match="asks for 80 sample-gradients .* there are 34 and 0 spent or set aside"):
            ledger.charge("the work", Cost(240))
    ledger.charge("the work", Cost(240))
    assert ledger.affords(price) == 2


def gradient_step(size: int, times: int = 1):
    """A step of gradients on ``size`` rows over all devices."""

    def step(state, data):
        rows = data[share(jnp.arange(size))]
        loss = lambda w: ((rows @ w) ** 2).mean()  # noqa: E731
        for _ in range(times):
            value, gradient = jax.lax.pmean(value_and_grad(loss, len(rows))(state), "batch")
        return state - 0.01 * gradient, {"loss": value}

    return step


@pytest.mark.parametrize("devices", [ONE, EIGHT])
def test_a_step_costs_the_same_on_one_and_eight_devices(devices):
    state, data = np.ones((64, 32), np.float32), np.ones((100, 64), np.float32)
    cost = Loop(devices).price(gradient_step(16), state, data)
    assert cost.passes == 3 * 16
    assert cost.multiply_adds == pytest.approx(2 * 16 * 64 * 32, rel=0.05)  # forward, and for the weights
    assert Loop(devices).price(gradient_step(16, times=2), state, data).passes == 2 * 3 * 16


def test_a_loop_books_all_steps_before_the_first_and_runs_none_beyond_its_means():
    weights, data, ran = jnp.ones((64, 32)), np.ones((100, 64), np.float32), []
    inner = gradient_step(16)

    def step(state, data):
        weights, metrics = inner(state.weights, data)
        return state.replace(step=state.step + 1, weights=weights), metrics

    loop, state = Loop(ONE, lambda *progress: ran.append(progress), ledger=Ledger(100)), State(jnp.int32(0), weights)
    assert loop.affords(step, state, data) == 6
    with pytest.raises(Overspent, match="seven asks for 112 sample-gradients"):
        loop.run("seven", step, state, data, steps=7)
    assert not ran
    loop.run("six", step, state, data, steps=6)
    assert ran and loop.ledger.spent.sample_gradients == 96


def test_a_map_costs_a_forward_pass_of_every_row():
    project = ParallelMap(lambda w, x: x @ w, ONE, 8)
    loop = Loop(ONE, ledger=Ledger(10))
    rows = np.ones((20, 4), np.float32)
    assert loop.map("project", project, np.ones((4, 6), np.float32), rows).shape == (20, 6)
    assert loop.ledger.spent == Cost(20, 20 * 4 * 6)
    with pytest.raises(Overspent):
        loop.map("project", project, np.ones((4, 6), np.float32), rows)


def test_a_gradient_of_a_gradient_counts_twice():
    def inner(x):
        return value_and_grad(lambda y: y**3, 5)(x)[1]

    with metering() as meter:
        note_forward(2)
        value_and_grad(inner, 7)(2.0)
    assert meter.passes == 2 + 3 * 7 + 2 * 3 * 5
    value_and_grad(inner, 7)(2.0)  # no meter runs, and nothing is wrong
