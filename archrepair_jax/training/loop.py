"""The host's side of a long loop: progress, checkpoints, signals and the stop on a bad loss."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from archrepair_jax.errors import InputError
from archrepair_jax.training.checkpoints import Checkpoints
from archrepair_jax.training.ledger import GRADIENT, Cost, Ledger
from archrepair_jax.training.parallel import Devices, ParallelMap, call_length, parallel_steps, replicate

SAVE_EVERY = 20.0  # seconds of work that a killed run may lose


class Stopped(Exception):
    """The run was asked to stop; everything up to the last call is kept."""


class Diverged(Exception):
    """A loss or a state became NaN or infinite; the last good state is kept. ``method`` says whose, where one's was."""

    def __init__(self, message: str, method: str = ""):
        super().__init__(message)
        self.method = method


class Words(str):
    """What is told of a step, with the ``numbers`` behind it for who draws curves."""

    numbers: Mapping[str, float]


def told(metrics: Mapping[str, Any]) -> Words:
    """Of the loss in words, and of all single numbers."""
    words = Words(f"loss {metrics['loss']:.3f}")
    words.numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
    return words


@dataclasses.dataclass(frozen=True)
class Loop:
    """Runs steps on ``devices``; what the repair methods are given, so that they touch no file and no signal.

    Attributes:
        devices: where steps run.
        report: called with the loop's name, the steps done, their total and ``Words`` on the loss.
        stopping: whether the run was asked to stop.
        folder: where checkpoints go; None keeps nothing.
        steps_per_call: so many steps at most run between two looks at progress, checkpoints and signals.
        ledger: where all work is booked before it runs.
    """

    devices: Devices
    report: Callable[[str, int, int, str], None] = lambda *_: None
    stopping: Callable[[], bool] = lambda: False
    folder: pathlib.Path | None = None
    steps_per_call: int = 10
    ledger: Ledger = dataclasses.field(default_factory=Ledger)

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
            Overspent: when the ledger cannot pay for all steps; none is run.
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
            self.ledger.charge(name, call.price(state, data) * steps)
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
                self.report(name, done, steps, told(history[-1]))
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

    def part(self, name: str, budget: Cost) -> "Loop":
        """The loop of a part of the work, with checkpoints and a budget of its own; whoever asks for it charges it."""
        return dataclasses.replace(
            self,
            folder=self.folder and self.folder / name,
            report=lambda what, *rest: self.report(f"{name}: {what}", *rest),
            ledger=Ledger(max(budget.passes // GRADIENT, bool(budget.passes)), budget.multiply_adds),
        )

    def price(self, step: Callable, state: Any, data: Any) -> Cost:
        """What one step costs."""
        state, data = replicate((state, data), self.devices)  # placed otherwise, it would be traced once more to run
        return parallel_steps(step, self.devices, 1).price(state, data)

    def affords(self, step: Callable, state: Any, data: Any) -> int | None:
        """How many such steps the ledger can pay for; None where nothing limits them."""
        return self.ledger.affords(self.price(step, state, data))

    def map(self, name: str, function: ParallelMap, constants: Any, array: Any) -> np.ndarray:
        """``function(constants, array)``, a forward pass of every row. Raises Overspent if that cannot be paid."""
        self.ledger.charge(name, function.price(constants, array))
        return function(constants, array)

    def call(self, name: str, step: Callable, state: Any, data: Any) -> tuple[Any, Any]:
        """One step without progress and checkpoints. Raises Overspent if it cannot be paid."""
        state, data = replicate((state, data), self.devices)
        self.ledger.charge(name, self.price(step, state, data))
        return parallel_steps(step, self.devices, 1)(state, data)


def steps_left(loop: Loop, step: Callable, state: Any, data: Any) -> int:
    """How many such steps the budget still pays for. Raises InputError when that is none, or has no limit."""
    steps = loop.affords(step, state, data)
    if not steps:
        price = loop.price(step, state, data)
        spent = loop.ledger.spent + loop.ledger.reserve
        raise InputError(
            f"the budget leaves no step to tune: {spent.sample_gradients:,} sample-gradients are spent or set aside, "
            f"and a step takes {price.sample_gradients:,}: raise repair.budget"
        )
    return steps


def not_finite(losses: np.ndarray, state: Any, done: int) -> str:
    """Which step (counted from 1) of a call after ``done`` steps first gave NaN or infinity; empty if none did."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        return f"the loss became {losses[bad[0]]} at step {done + bad[0] + 1}"
    return "" if all_finite(state) else f"the weights became NaN or infinite at step {done + len(losses)}"


@jax.jit
def all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
