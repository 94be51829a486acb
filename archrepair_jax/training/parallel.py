"""Data parallelism: the one place that knows there are devices.

A step is written for one device's share of the batch and run by ``pmap`` on all of them. State and data are whole on
every device (no leading device axis); each device takes its slice of the batch's indices with ``share`` and every
result passes ``mean`` before it leaves. ``out_axes=None`` does not check that: it returns the first device's value, so
a forgotten ``mean`` is silent (tests/training/test_parallel.py makes it loud). What is not parallel (swarms, surveys,
searches for violations) runs on JAX's default device, which is the first of those chosen; proofs run on the CPU.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from archrepair_jax.errors import InputError
from archrepair_jax.models.cost import count_needed
from archrepair_jax.precision import exact
from archrepair_jax.training.ledger import FORWARD, Cost, metering

AXIS = "batch"  # also named by the networks' batch normalisation

Devices = tuple[jax.Device, ...]


def choose_devices(count: int) -> Devices:
    """``count`` devices, or all of them for 0: the default one, which may be set, and the first of the others like it.

    Raises InputError when there are fewer.
    """
    try:
        (default,) = jnp.zeros(()).devices()
        available = sorted(jax.devices(default.platform), key=lambda device: device != default)
    except (RuntimeError, AssertionError) as error:  # what JAX raises depends on the plugins that are installed
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise InputError(f"JAX finds no device (JAX_PLATFORMS={asked}): unset it, or install what it names") from error
    if not 0 <= count <= len(available):
        raise InputError(
            f"devices={count}, but there are {len(available)}: ask for 0 (all of them) to {len(available)}"
        )
    return tuple(available[: count or len(available)])


def check_batch(batch_size: int, devices: Devices, name: str) -> None:
    """Raises InputError unless every device gets the same number of examples."""
    if batch_size < 1 or batch_size % len(devices):
        raise InputError(f"{name}={batch_size} does not divide among {len(devices)} devices: take a multiple of it")


def replicate(tree: Any, devices: Devices) -> Any:
    """Copies arrays whole to every device, once, so that no call has to."""
    placement = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec())
    return jax.device_put(tree, placement)


def share(indices: Int[Array, "B"]) -> Int[Array, "b"]:
    """This device's part of a batch, inside a parallel step."""
    size = len(indices) // jax.lax.axis_size(AXIS)
    return jax.lax.dynamic_slice_in_dim(indices, jax.lax.axis_index(AXIS) * size, size)


def mean(tree: Any) -> Any:
    """The mean over devices of every leaf, inside a parallel step."""
    return jax.lax.pmean(tree, AXIS)


def call_length(steps: int, at_most: int, devices: Devices, convolutions: bool = True) -> int:
    """How many steps one call runs: the largest divisor of ``steps`` up to ``at_most``, so all calls are alike.

    One of steps with convolutions on CPUs, whose compiler gives these (their gradients above all) a naive form inside a
    loop, some 30 times slower (github.com/jax-ml/jax/issues/12868).
    """
    at_most = 1 if convolutions and devices[0].platform == "cpu" else min(steps, at_most)
    return max(length for length in range(1, at_most + 1) if steps % length == 0)


class ParallelSteps:
    """Runs ``step(state, data) -> (state, metrics)`` ``length`` times in one call on all devices.

    Its inner products are as precise as the device or JAX's flag has them, unless the step itself is ``exact``.

    Called with (replicated) state and data, it gives the new state and the metrics stacked over the steps. No buffers
    are donated: the caller may still need the old state (``Loop`` keeps it when the new one is no longer finite), and
    beside the activations it is small.
    """

    def __init__(self, step: Callable, devices: Devices, length: int):
        self.devices, self.length, self.passes = len(devices), length, 0

        def metered(state, data):
            with metering() as meter:
                out = step(state, data)
            self.passes = meter.passes
            return out

        def many(state, data, _rank):
            if length == 1:  # even a scan of one step is a loop to the CPU's compiler: see call_length
                state, metrics = metered(state, data)
                return state, jax.tree.map(lambda leaf: leaf[None], metrics)
            return jax.lax.scan(lambda carry, _: metered(carry, data), state, length=length)

        mapped = jax.pmap(many, AXIS, in_axes=(None, None, 0), out_axes=None, devices=list(devices))
        ranks = np.arange(len(devices))  # pmap wants one mapped argument
        self._run = lambda state, data: mapped(state, data, ranks)
        self._counts = {}

    def __call__(self, state: Any, data: Any) -> tuple[Any, Any]:
        return self._run(state, data)

    def price(self, state: Any, data: Any) -> Cost:
        """What one step costs on all devices together; it is traced for that, and not again when it runs."""
        leaves, structure = jax.tree.flatten((state, data))
        shapes = structure, tuple(np.shape(leaf) for leaf in leaves)
        if shapes not in self._counts:
            self._counts[shapes] = count_needed(jax.make_jaxpr(self._run)(state, data).jaxpr) // self.length
        return Cost(self.passes, self._counts[shapes]) * self.devices


@functools.lru_cache(maxsize=16)
def parallel_steps(step: Callable, devices: Devices, length: int) -> ParallelSteps:
    """The same step, devices and length give the same object, compiled once."""
    return ParallelSteps(step, devices, length)


class ParallelMap:
    """Applies ``function(constants, batch)``, exactly, to a long array, ``batch_size`` rows a call over all devices.

    Called with constants and an array [N, …], it gives the stacked results [N, …] as a host array; the last batch is
    padded with zeros, and the padding cut off again.
    """

    def __init__(self, function: Callable, devices: Devices, batch_size: int):
        self.function, self.devices = function, devices
        self.size = -(-batch_size // len(devices)) * len(devices)
        self._mapped = jax.pmap(exact(function), AXIS, in_axes=(None, 0), devices=list(devices))

    def __call__(self, constants: Any, array: Any) -> np.ndarray:
        constants, parts = replicate(constants, self.devices), []
        for start in range(0, max(len(array), 1), self.size):  # no rows, too, have results of some shape
            batch = np.asarray(array[start : start + self.size])
            padded = np.concatenate([batch, np.zeros((self.size - len(batch), *batch.shape[1:]), batch.dtype)])
            out = self._mapped(constants, padded.reshape(len(self.devices), -1, *batch.shape[1:]))
            out = np.asarray(out) if out.size else np.zeros(out.shape, out.dtype)  # jax cannot gather empty shards
            parts.append(out.reshape(self.size, *out.shape[2:])[: len(batch)])
        return np.concatenate(parts)

    def price(self, constants: Any, array: Any) -> Cost:
        """What all rows cost: a forward pass each."""
        row = jax.ShapeDtypeStruct((1, *np.shape(array)[1:]), array.dtype)
        return Cost(FORWARD, count_needed(jax.make_jaxpr(self.function)(constants, row).jaxpr)) * len(array)
