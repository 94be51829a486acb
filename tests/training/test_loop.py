"""Long loops: what they keep, what stops them, and how they go on."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks
from flax import struct

from archrepair_jax.training import loop as loops
from archrepair_jax.training.checkpoints import Checkpoints
from archrepair_jax.training.descent import TuningSettings, start_state, tuning_step
from archrepair_jax.training.loop import Diverged, Loop, Stopped
from archrepair_jax.training.parallel import choose_devices

ONE = choose_devices(1)


class Toy(struct.PyTreeNode):
    step: jax.Array
    value: jax.Array


def toy(step=0):
    return Toy(jnp.int32(step), jnp.float32(step))


def grow(state, data):
    """Counts; the loss is what ``data`` holds for the step, and infinity there reaches the state one step early."""
    value = jnp.where(jnp.isinf(data[state.step + 1]), jnp.inf, state.value + 1)
    return Toy(state.step + 1, value), {"loss": jnp.where(jnp.isinf(data[state.step]), 0, data[state.step])}


def losses(steps=12, **bad):
    """Finite losses, with others at the steps (counted from 0) that ``bad`` names."""
    return jnp.arange(steps + 1.0).at[np.array([int(k[1:]) for k in bad], int)].set(jnp.array(list(bad.values())))


def stop_after(looks):
    """Whether to stop: yes from the ``looks``-th time it is asked."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= looks


@pytest.fixture
def calls_of(monkeypatch):
    """Sets how many steps one call runs, which is one on CPUs."""
    return lambda length: monkeypatch.setattr(loops, "call_length", lambda *_: length)


def test_the_history_has_one_entry_a_call_and_progress_is_reported(calls_of):
    calls_of(4)
    told = []
    state, history = Loop(ONE, report=lambda *words: told.append(words)).run("toy", grow, toy(), losses(), steps=12)
    assert int(state.step) == 12
    assert history == [{"step": 4, "loss": 3.0}, {"step": 8, "loss": 7.0}, {"step": 12, "loss": 11.0}]
    assert told == [("toy", n, 12, f"loss {n - 1:.3f}") for n in (4, 8, 12)]


def test_steps_are_counted_from_where_the_state_is():
    state, history = Loop(ONE).run("toy", grow, toy(5), losses(), steps=3)
    assert int(state.step) == 8
    assert [entry["step"] for entry in history] == [1, 2, 3]


def test_no_steps_change_nothing():
    start = toy()
    state, history = Loop(ONE).run("toy", grow, start, losses(), steps=0)
    assert (state is start, history) == (True, [])


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("value", [np.nan, -np.nan])
def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_last_good_state(length, value, calls_of, tmp_path):
    calls_of(length)
    with pytest.raises(Diverged, match=r"toy: the loss became nan at step 7; the last good state is kept"):
        Loop(ONE, folder=tmp_path).run("toy", grow, toy(), losses(s6=value), steps=12)
    kept = kept_in(tmp_path / "toy")
    last_good = 6 // length * length
    assert (int(kept[0].step), float(kept[0].value)) == (last_good, last_good)
    assert kept[1][-1]["step"] == last_good


@pytest.mark.parametrize("steps", [12, 8])
def test_a_state_that_is_not_finite_is_never_kept_nor_returned(steps, tmp_path):
    with pytest.raises(Diverged, match="the weights became NaN or infinite at step 8"):
        Loop(ONE, folder=tmp_path).run("toy", grow, toy(), losses(s8=np.inf), steps=steps)
    assert float(kept_in(tmp_path / "toy")[0].value) == 7


def test_without_a_folder_nothing_is_kept_but_a_bad_loss_still_stops():
    with pytest.raises(Diverged, match="step 1;"):
        Loop(ONE).run("toy", grow, toy(), losses(s0=np.nan), steps=12)


def test_a_finished_loop_is_not_run_again(tmp_path):
    first = Loop(ONE, folder=tmp_path).run("toy", grow, toy(), losses(), steps=6)
    told = []
    again = Loop(ONE, report=lambda *words: told.append(words), folder=tmp_path).run(
        "toy", grow, toy(), losses(s0=np.nan), steps=6
    )
    assert (int(again[0].step), again[1], told) == (6, first[1], [])


def test_loops_of_different_names_keep_different_states(tmp_path):
    loop = Loop(ONE, folder=tmp_path)
    state, _ = loop.run("warmup", grow, toy(), losses(), steps=2)
    state, _ = loop.run("search", grow, state, losses(), steps=3)
    assert int(state.step) == 5
    assert [int(kept_in(tmp_path / name)[0].step) for name in ("warmup", "search")] == [2, 5]


def test_a_stop_is_kept_at_once_and_another_length_of_calls_may_go_on(calls_of, tmp_path):
    calls_of(3)
    with pytest.raises(Stopped, match="toy: stopped after step 3 of 12"):
        Loop(ONE, stopping=stop_after(1), folder=tmp_path).run("toy", grow, toy(), losses(), steps=12)
    assert int(kept_in(tmp_path / "toy")[0].step) == 3
    calls_of(12)
    state, history = Loop(ONE, folder=tmp_path).run("toy", grow, toy(), losses(), steps=12)
    assert int(state.step) == 12
    assert [entry["step"] for entry in history] == [3, 6, 9, 12]


def test_whoever_asks_to_stop_is_heard_once_a_call(tmp_path):
    with pytest.raises(Stopped, match="after step 2"):
        Loop(ONE, stopping=stop_after(2), folder=tmp_path).run("toy", grow, toy(), losses(), steps=12)
    assert int(kept_in(tmp_path / "toy")[0].step) == 2


@functools.cache
def training():
    network = tiny_networks.vector_network()
    variables = tiny_networks.random_variables(network)
    settings = TuningSettings(batch_size=8, augment=("flip",))
    rates = dict.fromkeys(network.names, 1.0)
    step = chex.assert_max_traces(tuning_step(network, rates, settings, train=False), n=1)
    data = variables, tiny_networks.image_pool(network, variables, 20)
    return step, start_state(variables, rates, settings, 7), data


@pytest.mark.slow
def test_a_stopped_run_ends_in_the_same_bits_as_one_that_was_not_and_traces_nothing_anew(tmp_path):
    step, start, data = training()
    through, through_history = Loop(ONE).run("training", step, start, data, steps=7)
    for looks in (2, 3):
        with pytest.raises(Stopped):
            Loop(ONE, stopping=stop_after(looks), folder=tmp_path).run("training", step, start, data, steps=7)
    resumed, resumed_history = Loop(ONE, folder=tmp_path).run("training", step, start, data, steps=7)
    assert resumed_history == through_history
    assert jax.tree.structure(resumed) == jax.tree.structure(through)
    for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(through), strict=True):
        assert (ours.dtype, np.asarray(ours).tobytes()) == (theirs.dtype, np.asarray(theirs).tobytes())


def kept_in(folder):
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints.restore(toy())
    finally:
        checkpoints.close()
