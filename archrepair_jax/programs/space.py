"""What a remedy may change: for every field the values it may take, in the published space and in a saner one.

``S0`` is that of Kim et al. (ICST 2023) with its replication package's domains, a learning rate uniform up to 10 among
them. ``S1`` is ours: the same fields with the values that people use, rates by their logarithm, numbers of epochs in
powers of two as far as half of the budget goes, and no loss behind an activation that it cannot take. ``S2`` is ours,
too: layers, normalisations and residual connections are added or removed, and the recipe stays as it is;
``S2_unfrozen`` has both.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from archrepair_jax.errors import InputError, one_of
from archrepair_jax.keys import named
from archrepair_jax.programs.data import Data
from archrepair_jax.programs.ingredients import ACTIVATIONS, INITIALIZERS
from archrepair_jax.programs.layers import NORMS, SKIPS, Value
from archrepair_jax.programs.model import shapes
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.recipe import LOSSES, OPTIMIZERS, SPARSE

STRUCTURAL = ("S2", "S2_unfrozen")
SPACES = ("S0", "S1", *STRUCTURAL)
BATCHES = (16, 32, 64, 128, 256, 512)
PUBLISHED_INITIALIZERS = INITIALIZERS[:13]
HIDDEN = ("relu", "elu", "selu", "tanh", "sigmoid", "hard_sigmoid", "softplus", "softsign")
KERNELS = tuple(name for name in PUBLISHED_INITIALIZERS if name not in ("zeros", "ones", "constant"))
BIASES = ("zeros", "random_normal", "random_uniform", "truncated_normal")
PROBABILITIES = ("categorical_crossentropy", SPARSE, "binary_crossentropy", "kullback_leibler_divergence")
CLASSIFYING = (*(name for name in PROBABILITIES if name != SPARSE), "mean_squared_error", "categorical_hinge")
REGRESSING = ("mean_squared_error", "mean_absolute_error", "logcosh", "mean_squared_logarithmic_error")


class Interval(NamedTuple):
    """Numbers from ``low`` to ``high``, uniform, or their logarithms are."""

    low: float
    high: float
    log: bool = False


Domain = tuple[Value, ...] | Interval


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """Changes of a faulty program; its own values are always among them.

    Attributes:
        name: a key of ``SPACES``.
        faulty: the program.
        domains: by field.
        data: what the programs are for.
    """

    name: str
    faulty: Program
    domains: Mapping[str, Domain]
    data: Data

    def __post_init__(self):
        own = self.faulty.fields
        object.__setattr__(self, "domains", {name: with_own(each, own[name]) for name, each in self.domains.items()})

    @property
    def origin(self) -> dict[str, Value]:
        """The faulty program's values."""
        own = self.faulty.fields
        return {name: own[name] for name in self.domains}

    def program(self, values: Mapping[str, Value]) -> Program:
        return self.faulty.changed(values)

    def holds(self, field: str, value: Value) -> bool:
        """Whether a field may take a value."""
        domain = self.domains[field]
        return domain.low <= value <= domain.high if isinstance(domain, Interval) else value in domain

    def fits(self, program: Program) -> bool:
        """Whether a program makes sense by its layers' sizes, its loss, its outputs and its targets; all do in ``S0``.

        What the faulty program has itself is not refused: other edits may do without changing that.
        """
        if self.name in STRUCTURAL and not built(program, self.data):
            return False
        last, its = (each.layers[each.weighted[-1]].act for each in (program, self.faulty))
        if self.name == "S0" or (last, program.loss) == (its, self.faulty.loss):
            return True
        if self.data.metric == "mae":
            return last in ("linear", its)
        if last == "softmax" and self.data.outputs == 1:
            return False
        return last in ("softmax", "sigmoid") or program.loss not in PROBABILITIES


def with_own(domain: Domain, value: Value) -> Domain:
    """The domain with one value more, if it lacks that."""
    if isinstance(domain, Interval):
        return domain._replace(low=min(domain.low, value), high=max(domain.high, value))
    return domain if value in domain else (*domain, value)


def published(faulty: Program, sizes: tuple[str, ...], key: PRNGKeyArray) -> dict[str, Domain]:
    """``S0``. The numbers of epochs are drawn once a search: powers of a number from 1.1 to 1.3 more or fewer."""
    power = float(jax.random.uniform(named(key, "epochs"), minval=1.1, maxval=1.3))
    epochs = [int(faulty.epochs * power**step) for step in range(5)]
    epochs += [fewer for step in range(5) if (fewer := int(faulty.epochs / power**step)) > 1]
    domains = {
        "loss": tuple(LOSSES),
        "batch_size": BATCHES,
        "optimizer": tuple(OPTIMIZERS),
        "lr": Interval(1e-6, 10.0),
        "epochs": tuple(dict.fromkeys(epochs)),
    }
    for number in range(1, len(faulty.weighted) + 1):
        domains |= {
            f"act{number}": tuple(ACTIVATIONS),
            f"ki{number}": PUBLISHED_INITIALIZERS,
            f"bi{number}": PUBLISHED_INITIALIZERS,
        }
    return domains | resized(faulty, sizes)


def resized(faulty: Program, sizes: tuple[str, ...]) -> dict[str, Domain]:
    """Half, all or double the width, and none to two copies."""
    own = faulty.fields
    return {
        name: (0, 1, 2) if name.startswith("layer") else (max(own[name] // 2, 1), own[name], 2 * own[name])
        for name in sizes
    }


def sane(faulty: Program, data: Data, sizes: tuple[str, ...], times: int) -> dict[str, Domain]:
    """``S1``, for a budget of so many trainings."""
    last, numbers = len(faulty.weighted), data.train.y.ndim == 1
    losses = REGRESSING if data.metric == "mae" else (SPARSE,) if numbers else CLASSIFYING
    outputs = ("linear",) if data.metric == "mae" else ("softmax", "sigmoid", "linear")
    steps = [1, 2] + [2**step for step in range(2, 9) if 2**step <= 4 * times // 2]
    epochs = [max(faulty.epochs * step // 4, 1) for step in (*steps, 4)]
    domains = {
        "loss": losses,
        "batch_size": BATCHES[:4],
        "optimizer": tuple(OPTIMIZERS),
        "lr": Interval(1e-5, 1.0, log=True),
        "epochs": tuple(sorted(set(epochs))),
    }
    for number in range(1, last + 1):
        domains |= {f"act{number}": HIDDEN if number < last else outputs, f"ki{number}": KERNELS, f"bi{number}": BIASES}
    return domains | resized(faulty, sizes)


def structural(faulty: Program, data: Data) -> dict[str, Domain]:
    """``S2``: what hidden layers may have or lose, as far as that fits their sizes."""
    sizes: dict[str, Domain] = {"norm": NORMS, "skip": SKIPS, "layer": (0, 1, 2)}
    fields = [(name, sizes.get(name.rstrip("0123456789"))) for name in faulty.fields]
    return {name: values for name, values in fields if values and built(faulty.changed({name: values[-1]}), data)}


def built(program: Program, data: Data) -> bool:
    """Whether a program's layers fit each other."""
    try:
        shapes(program.layers, data.train.x.shape[1:])
    except (InputError, ValueError):
        return False
    return True


def space(name: str, faulty: Program, data: Data, sizes: tuple[str, ...], times: int, key: PRNGKeyArray) -> Space:
    """A space by its name.

    Args:
        name: one of ``SPACES``; another raises InputError, with their list, as one does in which nothing may change.
        faulty, data, sizes: the subject's.
        times: the budget, in trainings of the faulty program.
        key: decides the numbers of epochs in ``S0``.
    """
    one_of("space", [name], SPACES)
    if times < 1:
        raise InputError(f"budget={times} pays for no training: take 1 or more")
    domains = published(faulty, sizes, key) if name == "S0" else {}
    domains |= structural(faulty, data) if name in STRUCTURAL else {}
    domains |= sane(faulty, data, sizes, times) if name in ("S1", "S2_unfrozen") else {}
    found = {field: each for field, each in domains.items() if field in faulty.fields} | dict(faulty.may_change)
    if not found:
        raise InputError(f"space={name} has nothing to change in this program: take another one")
    return Space(name, faulty, found, data)
