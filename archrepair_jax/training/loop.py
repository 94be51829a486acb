"""The host's side of a long loop: progress, checkpoints, signals and the stop on a bad loss."""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from archrepair_jax.training.checkpoints import Checkpoints
from archrepair_jax.training.parallel import Devices, call_length, parallel_steps, replicate

SAVE_EVERY = 20.0  # seconds of work that a killed run may lose


class Stopped(Exception):
    """The run was asked to stop; everything up to the last call is kept."""


class Diverged(Exception):
    """A loss became NaN or infinite; the last good state is kept."""


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

    def run(self, name: str, step: Callable, state: Any, data: Any, *, steps: int) -> tuple[Any, list[dict]]:
        """Runs ``step(state, data) -> (state, metrics)`` for ``steps`` steps; ``state.step`` counts on.

        Continues from this loop's checkpoint where there is one. All calls have one length (``call_length``), so that a
        step is traced once.

        Returns:
            The last state, and one entry a call: ``{"step": …, **metrics of its last step}``.

        Raises:
            Stopped: after saving, when asked to.
            Diverged: when ``metrics["loss"]`` is not finite; names the step.
        """
        if not steps:
            return state, []
        first, length = int(state.step), call_length(steps, self.steps_per_call, self.devices)
        call, data = parallel_steps(step, self.devices, length), replicate(data, self.devices)
        state, history = replicate(state, self.devices), []
        checkpoints = Checkpoints(self.folder / name) if self.folder else None
        try:
            if checkpoints and (kept := checkpoints.restore(state)):
                state, history = kept
            done = saved = int(state.step) - first
            last_save = time.monotonic()
            while done < steps:
                state, metrics = call(state, data)
                metrics = jax.tree.map(np.asarray, metrics)
                check_finite(name, metrics["loss"], done)
                done += length
                history.append({"step": done, **jax.tree.map(lambda leaf: leaf[-1].tolist(), metrics)})
                self.report(name, done, steps, f"loss {history[-1]['loss']:.3f}")
                due = done == steps or self.stopping() or time.monotonic() - last_save > SAVE_EVERY
                if checkpoints and due and done > saved:
                    checkpoints.save(done, state, history)
                    saved, last_save = done, time.monotonic()
                if self.stopping():
                    raise Stopped(f"{name}: stopped after step {done} of {steps}")
        finally:
            if checkpoints:
                checkpoints.close()
        return state, history


def check_finite(name: str, losses: np.ndarray, done: int) -> None:
    """Raises Diverged, naming the first step (counted from 1) whose loss is not finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        raise Diverged(
            f"{name}: the loss became {losses[bad[0]]} at step {done + bad[0] + 1}; the last good state is kept: "
            "lower the learning rate and start again in a new work folder"
        )
