"""New faulty programs from a healthy one, with operators of DeepCrime (Humbatova, Jahangirova, Tonella; ISSTA 2021).

Of its 24 operators, ten that change a program and three that spoil data; names are the paper's codes.
Which value a mutant gets is drawn here among the values that Keras has, and not searched for, as there, until it kills.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from archrepair_jax.errors import one_of
from archrepair_jax.programs.data import Data, Split
from archrepair_jax.programs.ingredients import ACTIVATIONS, INITIALIZERS
from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.recipe import LOSSES, OPTIMIZERS

Changes = dict[str, Value]


def drawn(program: Program, prefix: str, values: tuple[Value, ...], random: np.random.Generator) -> Changes:
    """Another value for one of the fields whose names are the prefix and a number."""
    own = program.fields
    fields = [name for name in own if name.rstrip("0123456789") == prefix]
    places = [(name, value) for name in fields for value in values if value != own[name]]
    name, value = places[random.integers(len(places))]
    return {name: value}


def another(program: Program, field: str, values: tuple[Value, ...], random: np.random.Generator) -> Changes:
    others = [value for value in values if value != program.fields[field]]
    return {field: others[random.integers(len(others))]}


OPERATORS: Mapping[str, Callable[[Program, np.random.Generator], Changes]] = {
    "ACH": lambda program, random: drawn(program, "act", tuple(ACTIVATIONS), random),
    "ARM": lambda program, random: drawn(program, "act", ("linear",), random),
    "WCI": lambda program, random: drawn(program, "ki", INITIALIZERS[:13], random),
    "RAW": lambda program, random: drawn(program, "kr", ("l1", "l2", "l1_l2"), random),
    "RCD": lambda program, random: drawn(program, "drop", (0.125, 0.25, 0.75, 1.0), random),
    "LCH": lambda program, random: another(program, "loss", tuple(LOSSES), random),
    "OCH": lambda program, random: another(program, "optimizer", tuple(OPTIMIZERS), random),
    "HLR": lambda program, random: {"lr": program.lr * 10.0 ** random.choice([-3, -2, 1, 2])},
    "HBS": lambda program, random: another(program, "batch_size", (32, 64, 256, 512), random),
    "HNE": lambda program, random: {"epochs": max(program.epochs // int(random.choice([8, 16, 32])), 1)},
}


def mutant(healthy: Program, code: str, seed: int) -> Program:
    """A mutant of a program by an operator; equal seeds give equal ones.

    Raises InputError for an operator that is unknown or has nothing to change in this program, with those that have.
    """
    prefixes = {name.rstrip("0123456789") for name in healthy.fields}
    needed = {"RCD": "drop"}
    one_of("operator", [code], [name for name in OPERATORS if needed.get(name, "loss") in prefixes])
    return healthy.changed(OPERATORS[code](healthy, np.random.default_rng(seed)))


def _labels(data: Data, share: float, random: np.random.Generator) -> Split:
    y = data.train.y.copy()
    some = random.permutation(len(y))[: int(share * len(y))]
    y[some] = y[random.permutation(some)]
    return Split(data.train.x, y)


def _noise(data: Data, share: float, random: np.random.Generator) -> Split:
    x = data.train.x
    return Split(x + random.normal(0, share * 100 * x.std(), x.shape).astype(x.dtype), data.train.y)


def _one_class(data: Data, share: float, random: np.random.Generator) -> Split:
    y = np.repeat(data.train.y[random.integers(len(data.train))][None], len(data.train), 0)
    return Split(data.train.x, y)


DATA_OPERATORS = {"TCL": _labels, "TAN": _noise, "TUD": _one_class}
HEAVY = 0.8


def data_mutant(data: Data, code: str, seed: int) -> Data:
    """Data whose examples to learn from are spoilt: labels shuffled (TCL), noise added (TAN), one label alone (TUD)."""
    one_of("operator", [code], DATA_OPERATORS)
    return dataclasses.replace(data, train=DATA_OPERATORS[code](data, HEAVY, np.random.default_rng(seed)))
