"""What a technique is: a sampler of Optuna's, or moves of its own, by one contract."""

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler

from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.space import Space

Values = Mapping[str, Value]


@dataclasses.dataclass(frozen=True)
class Tried:
    """How a trial ended.

    Attributes:
        values: of the fields.
        score: on the validation examples, the higher the better; of one that was stopped early its last.
        stopped: early.
        looks: the scores before the end, by the share of the training that was done.
        symptoms: what was seen in training, where a technique observes it.
        left: of the budget after it, in trainings of the faulty program.
    """

    values: Values
    score: float
    stopped: bool = False
    looks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    symptoms: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left: float = 0.0


Moves = Generator[Values, Tried, None]


@dataclasses.dataclass(frozen=True)
class Technique:
    """A way to look for a better program.

    Attributes:
        words: what it is, in a few.
        sampler: makes Optuna's sampler from a seed; or else
        moves: gives, one after the other, values to try, and is sent how each went. It draws from the generator of
            random numbers alone, so that a killed search is replayed from its trials.
        pruner: makes what stops trials early.
        looks: shares of a training after which it is scored, and may be stopped.
        observes: whether symptoms are looked for at every look, at the price of a few gradients.
        fresh: runs on fresh seeds that a program needs before it may be chosen.
        abstains: whether it looks at the data first, and leaves a program alone that cannot be to blame.
    """

    words: str
    sampler: Callable[[int], BaseSampler] | None = None
    moves: Callable[[Space, np.random.Generator], Moves] | None = None
    pruner: Callable[[], BasePruner] = NopPruner
    looks: tuple[float, ...] = ()
    observes: bool = False
    fresh: int = 0
    abstains: bool = False
