"""The budget of a repair, in two currencies, and the meter that reads what a step costs off its trace.

An example that goes forward through blocks is one *pass*; a gradient is three, since its backward half is twice the
work of the forward one, and one *sample-gradient* is the three together, however many blocks it goes through.
*Multiply-adds* tell what really ran: they are counted in the traced program (``models.cost.count``), forward and
backward, so that blocks whose inputs are computed once are paid once, and frozen blocks cost no gradient of weights.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax

FORWARD, GRADIENT = 1, 3  # passes an example

_METER: contextvars.ContextVar["Meter | None"] = contextvars.ContextVar("meter", default=None)


class Overspent(Exception):
    """A method asked for more than its budget holds; nothing of what it asked for was run."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What some work costs.

    Attributes:
        passes: of examples; three are a sample-gradient.
        multiply_adds: of all devices together.
    """

    passes: int = 0
    multiply_adds: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.passes + other.passes, self.multiply_adds + other.multiply_adds)

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.passes * times, self.multiply_adds * times)

    def share(self, part: float) -> "Cost":
        """A part of it, rounded down; a limited currency stays so."""
        return Cost(*(each and max(1, int(part * each)) for each in (self.passes, self.multiply_adds)))

    @property
    def sample_gradients(self) -> int:
        """Rounded up."""
        return -(-self.passes // GRADIENT)


class Ledger:
    """What was spent, and how much there is; what spends it charges it.

    Args:
        sample_gradients, multiply_adds: the budget; 0 for no limit.

    Attributes:
        limit, spent: so far.
        reserve: what is kept back for later.
        kept: what was paid for once and needs no second payment.
    """

    def __init__(self, sample_gradients: int = 0, multiply_adds: int = 0):
        self.limit = Cost(GRADIENT * sample_gradients, multiply_adds)
        self.spent = self.reserve = Cost()
        self.kept: set[Hashable] = set()

    @property
    def left(self) -> Cost:
        """What is neither spent nor set aside; 0 of a currency that nothing limits."""
        taken = self.spent + self.reserve
        units = ((getattr(self.limit, unit), getattr(taken, unit)) for unit in ("passes", "multiply_adds"))
        return Cost(*(limit and max(1, limit - gone) for limit, gone in units))

    def affords(self, price: Cost) -> int | None:
        """How many times ``price`` can still be paid; None where nothing limits it."""
        taken = self.spent + self.reserve
        times = [
            max(getattr(self.limit, unit) - getattr(taken, unit), 0) // getattr(price, unit)
            for unit in ("passes", "multiply_adds")
            if getattr(self.limit, unit) and getattr(price, unit)
        ]
        return min(times, default=None)

    def charge(self, name: str, cost: Cost) -> None:
        """Books ``cost`` before the work is done. Raises Overspent, which names the work, if it cannot be paid."""
        if self.affords(cost) == 0:
            taken = self.spent + self.reserve
            raise Overspent(
                f"{name} asks for {cost.sample_gradients:,} sample-gradients and {cost.multiply_adds:,} multiply-adds; "
                f"of {self.limit.sample_gradients:,} and {self.limit.multiply_adds or 'any number of'} there are "
                f"{taken.sample_gradients:,} and {taken.multiply_adds:,} spent or set aside"
            )
        self.spent += cost

    def charge_once(self, name: str, what: Hashable, cost: Cost) -> None:
        """As ``charge``, unless ``what`` was paid before: its result is kept."""
        if what not in self.kept:
            self.charge(name, cost)
            self.kept.add(what)

    @contextlib.contextmanager
    def set_aside(self, cost: Cost) -> Iterator[None]:
        """Inside ``with``, so much cannot be spent: it is needed afterwards."""
        self.reserve += cost
        try:
            yield
        finally:
            self.reserve += cost * -1


@dataclasses.dataclass
class Meter:
    """Passes that one device makes in one step; a gradient inside another is differentiated too, and counts twice."""

    passes: int = 0
    inside: bool = False

    def note(self, passes: int) -> None:
        self.passes += passes * (2 if self.inside else 1)


@contextlib.contextmanager
def metering() -> Iterator[Meter]:
    """What is traced inside is noted on the meter."""
    token = _METER.set(Meter())
    try:
        yield _METER.get()
    finally:
        _METER.reset(token)


def note_forward(examples: int) -> None:
    """Tells the meter, if there is one, of so many examples' forward pass on this device."""
    if meter := _METER.get():
        meter.note(FORWARD * examples)


def value_and_grad(objective: Callable, examples: int, *, has_aux: bool = False) -> Callable:
    """``jax.value_and_grad`` of an objective on so many examples of this device, which the meter is told of."""

    def run(*arguments: Any) -> Any:
        meter = _METER.get() or Meter()
        meter.note(GRADIENT * examples)
        outer, meter.inside = meter.inside, True
        try:
            return jax.value_and_grad(objective, has_aux=has_aux)(*arguments)
        finally:
            meter.inside = outer

    return run
