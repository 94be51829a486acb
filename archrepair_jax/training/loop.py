"""The host's side of a long loop: progress, checkpoints, signals and the stop on a bad loss."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from archrepair_jax.training.checkpoints import Checkpoints
from archrepair_jax.training.parallel import Devices, call_length, parallel_steps, replicate

SAVE_EVERY = 20.0  # seconds of work that a killed run may lose


class Stopped(Exception):
    """The run was asked to stop; everything up to the last call is kept."""


class Diverged(Exception):
    """A loss or a state became NaN or infinite; the last good state is kept."""


@dataclasses.dataclass(frozen=True)
class Loop:
    """Runs steps on ``devices``; what the repair methods are given, so that they touch no file and no signal.

    Attributes:
        devices: where steps run.
        report: called with the loop's name, the steps done, their total and a word on the loss.
        stopping: whether the run was asked to stop.
        folder: where checkpoints go; None keeps nothing.
        steps_per_call: so many steps at most run between two looks at progress, checkpoints and signals.
    """

    devices: Devices
    report: Callable[[str, int, int, str], None] = lambda *_: None
    stopping: Callable[[], bool] = lambda: False
    folder: pathlib.Path | None = None
    steps_per_call: int = 10

    def run(
        self, name: str, step: Callable, state: Any, data: Any, *, steps: int, convolutions: bool = True
    ) -> tuple[Any, list[dict]]:
        """Runs ``step(state, data) -> (state, metrics)`` for ``steps`` steps; ``state.step`` counts on.

        Continues from this loop's checkpoint where there is one. All calls have one length (``call_length``), so that a
        step is traced once. ``convolutions`` tells whether the step has any.

        Returns:
            The last state, and one entry a call: ``{"step": …, **metrics of its last step}``.

        Raises:
            Stopped: after saving, when asked to.
            Diverged: when ``metrics["loss"]`` or the state is not finite; names the step, after saving the state before
                this call.
        """
        if not steps:
            return state, []
        first, history = int(state.step), []
        state, data = replicate((state, data), self.devices)
        checkpoints = Checkpoints(self.folder / name) if self.folder else None
        try:
            if checkpoints and (kept := checkpoints.restore(state)):
                state, history = kept
            done = saved = int(state.step) - first
            # what is left may come from calls of another length
            length = math.gcd(call_length(steps, self.steps_per_call, self.devices, convolutions), steps - done)
            call, last_save = parallel_steps(step, self.devices, length), time.monotonic()
            while done < steps:
                good, (state, metrics) = state, call(state, data)
                metrics = jax.tree.map(np.asarray, metrics)
                if trouble := not_finite(metrics["loss"], state, done):
                    if checkpoints and done > saved:
                        checkpoints.save(done, good, history)
                    raise Diverged(
                        f"{name}: {trouble}; the last good state is kept: "
                        "lower the learning rate and start again in a new work folder"
                    )
                done += length
                history.append({"step": done, **jax.tree.map(lambda leaf: leaf[-1].tolist(), metrics)})
                self.report(name, done, steps, f"loss {history[-1]['loss']:.3f}")
                stopping = self.stopping()
                if checkpoints and (done == steps or stopping or time.monotonic() - last_save > SAVE_EVERY):
                    checkpoints.save(done, state, history)
                    saved, last_save = done, time.monotonic()
                if stopping:
                    raise Stopped(f"{name}: stopped after step {done} of {steps}")
        finally:
            if checkpoints:
                checkpoints.close()
        return state, history


def not_finite(losses: np.ndarray, state: Any, done: int) -> str:
    """Which step (counted from 1) of a call after ``done`` steps first gave NaN or infinity; empty if none did."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        return f"the loss became {losses[bad[0]]} at step {done + bad[0] + 1}"
    return "" if all_finite(state) else f"the weights became NaN or infinite at step {done + len(losses)}"


@jax.jit
def all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
