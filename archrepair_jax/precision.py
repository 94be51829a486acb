"""How precise arithmetic is, where that must depend neither on the device nor on JAX's flags.

By default TPUs and newer GPUs round the factors of a float32 inner product to bfloat16 or TF32, that is, to two or
three digits: a margin of 1e-3 drowns in that. So whatever a threshold or an argmax looks at is ``exact``: the outputs
of networks, margins, bounds, the cost of a swarm. Steps of descent are not, unless margins or bounds are in their loss:
batches are noisier than rounding, and exact products take those devices several passes.
"""

import contextlib
from collections.abc import Iterator

import jax

from archrepair_jax.errors import InputError

# a decorator: inner products that a function traces, and those of their gradients, keep all digits of float32
exact = jax.default_matmul_precision("highest")


@contextlib.contextmanager
def float64_on_cpu() -> Iterator[None]:
    """Inside, and in this thread only, JAX computes as proofs suppose: in float64, and on the CPU, which really has it.

    Give it arrays of numpy; others stay on the device where they are. Raises InputError as ``cpu`` does.
    """
    with jax.default_device(cpu()), jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def cpu() -> jax.Device:
    """The CPU, which is there beside any accelerator. Raises InputError where JAX was told to leave it out."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        asked = jax.config.jax_platforms
        raise InputError(f"proofs run on the CPU, which JAX_PLATFORMS={asked} leaves out: add ,cpu to it") from error
