"""What the first epochs of a training show: gradients, dead and saturated units, constant layers, the loss's course.

The quantities are those that AutoTrainer (Zhang et al., ICSE 2021) and DeepLocalize's kin look at; the ways of
measuring them here are ours. One batch of training examples is looked at, which is charged as a gradient of each.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.programs.model import Model
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.training import QUICKLY, Run, objective, structure
from archrepair_jax.training.ledger import GRADIENT, Cost

EXAMPLES = 32
BOUNDS = {  # of activations that saturate
    "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0)
}  # fmt: skip
NEAR = 0.02  # a share of an activation's range
TAIL = 4  # the last of so many parts of a loss curve


@functools.lru_cache(maxsize=256)
def probe(program: Program) -> Callable:
    """Gradients, and what every layer with weights gives out, of a structure on one batch."""

    def look(params: dict, kept: dict, x: jax.Array, y: jax.Array) -> tuple[dict, dict]:
        batch, key = (x, y, jnp.ones(len(x))), jax.random.key(0)
        gradients, _ = jax.grad(lambda own: objective(program, own, kept, batch, key), has_aux=True)(params)
        _, seen = Model(program.layers).apply({"params": params, **kept}, x, mutable=["intermediates"])
        return gradients, seen["intermediates"]

    return jax.jit(look, compiler_options=QUICKLY)


def observe(run: Run) -> dict[str, Any]:
    """What a training shows now, as JSON.

    Returns:
        ``finite``: whether all losses and outputs are. ``gradients``: of each layer with weights, the kernel's norm.
        ``zeros``: which share of all kernels' gradients is exactly zero. ``dead``, ``saturated``: per layer, the share
        of units that are zero on all examples, and of outputs at the ends of their range. ``constant``: per layer,
        whether it gives the same for all examples. ``first``, ``last``, ``falling``,
        ``swings``: the loss at first and now, which share of what it fell by fell in the last quarter, and in which
        share of epochs it rose by a thirtieth.
    """
    size = min(EXAMPLES, run.size)
    run.ledger.charge("observation", Cost(GRADIENT, run.gradient) * size)
    params, _, kept = run.state
    gradients, seen = jax.device_get(probe(structure(run.program))(params, kept, run.x[:size], run.y[:size]))
    layers = [run.program.layers[place] for place in run.program.weighted]
    kernels = [of_kernels(gradients, number) for number in range(1, len(layers) + 1)]
    outputs = [seen[f"layer{number}"][0].reshape(size, -1) for number in range(1, len(layers) + 1)]
    every = np.concatenate(kernels)
    first, last, falling = course(run.curve)
    return {
        "finite": run.finite and bool(np.isfinite(every).all() and np.isfinite(outputs[-1]).all()),
        "gradients": [plain(np.linalg.norm(each.astype(np.float64))) for each in kernels],
        "zeros": plain((every == 0).mean()) if every.size else 0.0,
        "dead": [plain((np.abs(each).max(0) == 0).mean()) for each in outputs],
        "saturated": [plain(saturated(each, layer.act)) for each, layer in zip(outputs, layers, strict=True)],
        "constant": [bool((np.ptp(each, 0) <= 1e-6 * (1 + np.abs(each).max())).all()) for each in outputs],
        "first": plain(first),
        "last": plain(last),
        "falling": plain(falling),
        "swings": plain(np.mean(np.diff(run.curve) > np.abs(run.curve[:-1]) / 30)) if len(run.curve) > 1 else 0.0,
    }


def of_kernels(gradients: dict, number: int) -> np.ndarray:
    """The gradients of a layer's kernels in one row, of a module those of all kernels inside."""
    own = {name: each for name, each in gradients.items() if name.startswith(f"layer{number}_")}
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(own) if leaf.ndim > 1] or [np.zeros(0)])


def plain(value: float | np.floating) -> float | None:
    """For JSON, which knows no NaN."""
    return round(float(value), 6) if np.isfinite(value) else None


def saturated(outputs: np.ndarray, act: str) -> float:
    """The share of outputs at either end of their activation's range; 0 for one without."""
    if act not in BOUNDS:
        return 0.0
    low, high = BOUNDS[act]
    near = NEAR * (high - low)
    return float(((outputs < low + near) | (outputs > high - near)).mean())


def course(curve: list[float]) -> tuple[float, float, float]:
    """A loss curve's first and last value, and the share of its fall that lies in its last quarter."""
    if not curve:
        return np.nan, np.nan, np.nan
    first, last = curve[0], curve[-1]
    before = curve[-max(len(curve) // TAIL, 1) - 1] if len(curve) > 1 else first
    return first, last, (before - last) / max(abs(first - last), 1e-12)
