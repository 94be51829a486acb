"""One device or eight: the same numbers, and the same on every one of them."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks
from flax import struct

from archrepair_jax.errors import InputError
from archrepair_jax.repair import architecture
from archrepair_jax.repair.edits import Replaced
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.cell import random_genotype
from archrepair_jax.training import parallel
from archrepair_jax.training.descent import TuningSettings, start_state, tuning_step
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import (
    ParallelMap,
    call_length,
    check_batch,
    choose_devices,
    mean,
    parallel_steps,
    replicate,
    share,
)

ONE, EIGHT = choose_devices(1), choose_devices(8)
TUNING = TuningSettings(batch_size=16)


class Counter(struct.PyTreeNode):
    step: jax.Array
    total: jax.Array


def count_up(state, data):
    seen = data[share(state.step % 2 + jnp.arange(8))]
    total = mean(seen.mean())
    return Counter(state.step + 1, state.total + total), {"loss": total, "step": state.step}


def fresh_counter():
    return Counter(jnp.int32(0), jnp.float32(0))


def differing(tree) -> list[str]:
    """The leaves that are not the same on all devices."""
    return [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if len({np.asarray(shard.data).tobytes() for shard in leaf.addressable_shards}) > 1
    ]


def apart(one, other) -> float:
    """The largest difference of two trees."""
    differences = jax.tree.map(lambda a, b: np.abs(np.asarray(a, float) - np.asarray(b, float)).max(), one, other)
    return max(jax.tree.leaves(differences))


@pytest.fixture(scope="module")
def search():
    """A search on the last residual block."""
    network = tiny_networks.residual_network()
    return tiny_networks.small_search(network, "stage3_block1", ("sep_conv_3x3", "gated_conv_1x1"), TUNING)


@pytest.fixture(scope="module")
def tuning():
    """A step on a whole network that normalises by batches, its first state and its data."""
    network = tiny_networks.plain_network()
    variables, everything = tiny_networks.random_variables(network), dict.fromkeys(network.names, 1.0)
    settings = dataclasses.replace(TUNING, augment=("shift", "flip"))
    state = start_state(variables, everything, settings, 10)
    pool = tiny_networks.image_pool(network, variables, 48)
    return tuning_step(network, everything, settings, train=True), state, (variables, pool)


@pytest.mark.slow
def test_fifty_search_steps_agree_on_one_and_eight_devices(search):
    steps, start, data = search
    one, eight = (Loop(devices).run("search", steps.bilevel_step, start, data, steps=50) for devices in (ONE, EIGHT))
    for part in ("weights", "statistics", "alphas"):
        before, after = getattr(start, part), getattr(one[0], part)
        assert apart(before, after) > 1e-2
        assert apart(after, getattr(eight[0], part)) < 1e-4
    assert apart([entry["loss"] for entry in one[1]], [entry["loss"] for entry in eight[1]]) < 1e-4


@pytest.mark.slow
def test_training_with_batch_statistics_agrees_on_one_and_eight_devices(tuning):
    step, start, data = tuning
    one, eight = (Loop(devices).run("tuning", step, start, data, steps=4)[0] for devices in (ONE, EIGHT))
    assert apart(start.batch_stats, one.batch_stats) > 1e-2
    assert apart((one.params, one.batch_stats), (eight.params, eight.batch_stats)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weight_step", "bilevel_step"])
def test_a_search_step_gives_the_same_on_all_devices(search, name):
    steps, state, data = search
    out = parallel_steps(getattr(steps, name), EIGHT, 1)(*replicate((state, data), EIGHT))
    assert differing(out) == []


def test_a_tuning_step_gives_the_same_on_all_devices(tuning):
    step, state, data = tuning
    assert differing(parallel_steps(step, EIGHT, 1)(*replicate((state, data), EIGHT))) == []


@pytest.mark.slow
def test_recalibration_gives_the_same_on_all_devices(search, monkeypatch):
    steps, _, data = search
    edit = Replaced("stage3_block1", random_genotype(steps.relaxation.space, jax.random.key(0)))
    network, seen = edit.apply(steps.relaxation.network), []
    call = Loop.call
    monkeypatch.setattr(Loop, "call", lambda *arguments: seen.append(call(*arguments)) or seen[-1])
    settings, variables = (
        RepairSettings(tuning=TUNING, recalibration_batches=2),
        tiny_networks.random_variables(network),
    )
    statistics = architecture.Recalibration(network, variables, "stage3_block1", settings)
    statistics.measure(variables, data.train, Loop(EIGHT))
    assert len(seen) == 2
    assert differing(seen) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "fixture", "wrong"),
    [
        ("archrepair_jax.search.bilevel", "search", (".alphas['edge_0_2']", ".weights['original']['conv1']['kernel']")),
        ("archrepair_jax.training.descent", "tuning", (".params['head']['linear']['kernel']", "[1]['loss']")),
    ],
)
def test_a_forgotten_mean_is_noticed(room, fixture, wrong, request, monkeypatch):
    steps, state, data = request.getfixturevalue(fixture)
    step = steps.bilevel_step if fixture == "search" else steps
    monkeypatch.setattr(f"{room}.mean", lambda tree: tree)
    # a new function, since the right one may be compiled already
    found = differing(parallel_steps(lambda *arguments: step(*arguments), EIGHT, 1)(*replicate((state, data), EIGHT)))
    assert all(any(leaf.endswith(name) for leaf in found) for name in wrong)


def test_each_device_takes_its_own_part_of_a_batch():
    parts = jax.pmap(lambda _: share(jnp.arange(16)), parallel.AXIS)(jnp.zeros(8))
    np.testing.assert_array_equal(parts.reshape(-1), np.arange(16))


@pytest.mark.parametrize("devices", [ONE, EIGHT], ids=["one", "eight"])
def test_a_loop_leaves_the_callers_state_and_data_alone(devices):
    state, data = fresh_counter(), jnp.arange(12.0)
    first, _ = Loop(devices).run("first", count_up, state, data, steps=3)
    again, _ = Loop(devices).run("again", count_up, state, data, steps=3)
    assert int(state.step) == 0
    assert float(first.total) == float(again.total) == 3.5 + 4.5 + 3.5


def test_several_steps_a_call_are_the_same_as_one_by_one():
    start, data = replicate((fresh_counter(), jnp.arange(12.0)), EIGHT)
    state, metrics = start, []
    for _ in range(3):
        state, entry = parallel_steps(count_up, EIGHT, 1)(state, data)
        metrics.append(entry)
    many, stacked = parallel_steps(count_up, EIGHT, 3)(start, data)
    assert apart(many, state) == 0
    assert apart(stacked, jax.tree.map(lambda *leaves: np.concatenate(leaves), *metrics)) == 0
    assert stacked["step"].tolist() == [0, 1, 2]


def test_the_same_step_is_compiled_once(search):
    steps, _, _ = search
    assert parallel_steps(steps.weight_step, ONE, 1) is parallel_steps(steps.weight_step, ONE, 1)
    assert parallel_steps(steps.weight_step, ONE, 1) is not parallel_steps(steps.weight_step, EIGHT, 1)
    assert parallel_steps(steps.weight_step, ONE, 1) is not parallel_steps(steps.bilevel_step, ONE, 1)


@pytest.mark.parametrize("rows", [1, 7, 8, 19])
def test_a_map_over_rows_pads_and_cuts_off_again(rows):
    array = np.arange(rows * 2, dtype=np.uint8).reshape(rows, 2)
    doubled = ParallelMap(lambda factor, x: x * factor, EIGHT, 8)(np.float32(2), array)
    np.testing.assert_array_equal(doubled, array * 2.0)


def test_devices_are_chosen_in_order_and_refused_when_missing():
    assert choose_devices(0) == EIGHT
    assert choose_devices(3) == EIGHT[:3]
    for count in (-1, 9):
        with pytest.raises(InputError, match=f"devices={count}, but there are 8"):
            choose_devices(count)


def test_the_default_device_is_chosen_first():
    others = [device for device in EIGHT if device != EIGHT[3]]
    with jax.default_device(EIGHT[3]):
        assert choose_devices(1) == (EIGHT[3],)
        assert choose_devices(0) == (EIGHT[3], *others)
    with jax.default_device("cpu"):
        assert choose_devices(0) == EIGHT


def test_a_batch_must_divide_among_the_devices():
    check_batch(16, EIGHT, "batch_size")
    for size in (0, 4, 12):
        with pytest.raises(InputError, match=f"batch_size={size} does not divide among 8 devices"):
            check_batch(size, EIGHT, "batch_size")


@pytest.mark.slow
def test_calls_are_alike_and_single_on_cpus():
    accelerator = mock.Mock(spec=jax.Device, platform="gpu")
    assert call_length(100, 10, ONE) == 1
    assert [call_length(steps, 10, (accelerator,)) for steps in (100, 14, 7, 13)] == [10, 7, 7, 1]


def test_results_without_a_single_number_come_from_all_devices():
    """The gates of a block that has none, say: jax itself cannot gather those of several devices."""
    empty = ParallelMap(lambda _, x: x[:, :0], choose_devices(0), 16)((), np.zeros((20, 3), np.float32))
    assert empty.shape == (20, 0)
