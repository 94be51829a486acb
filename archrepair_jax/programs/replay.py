"""Published raw tables as an objective that is looked up, so that a technique is tried in seconds, without training.

They are the neutrality analysis of Kim et al.'s follow-up (2023; MIT): a search in breadth from the faulty program,
with ten accuracies for every program that it kept. A program that it did not keep counts as the worst there is (ours).
"""

import csv
import dataclasses
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import optuna

from archrepair_jax.errors import InputError, one_of
from archrepair_jax.programs import trials
from archrepair_jax.programs.data import Data
from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.space import Space
from archrepair_jax.programs.techniques.contract import Technique, Tried

FAULTY, KEPT = "0", "current_node_param_string"  # the number of the node that a search starts from
NEEDED = ("parent_node_id", "parent_accs", "current_node_accs", "parent_node_param_string", KEPT)

Known = Mapping[tuple[tuple[str, Value], ...], float]


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file says: the faulty program's values, and the mean accuracy of each program by its values."""

    origin: Mapping[str, Value]
    known: Known


def read(path: str | os.PathLike, faulty: Program) -> Table:
    """The table in a tab-separated file, of a program's fields. Raises InputError for a damaged one, or another's."""
    try:
        lines = list(csv.DictReader(pathlib.Path(path).expanduser().read_text("utf-8").splitlines(), delimiter="\t"))
        kinds = {name: type(value) for name, value in faulty.fields.items()}
        known, origin = {}, None
        for line in lines:
            for accuracies, values in ((line[NEEDED[1]], line[NEEDED[3]]), (line[NEEDED[2]], line[KEPT])):
                program = parsed(values, kinds)
                known[key(program)] = float(np.mean([float(each) for each in accuracies.strip("[]").split(",")]))
            if line[NEEDED[0]] == FAULTY:
                origin = parsed(line[NEEDED[3]], kinds)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); check the path") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged or no such table: it is to hold {', '.join(NEEDED)}") from error
    if origin is None:
        raise InputError(f"{path} has no node that comes from the faulty program, which is number {FAULTY}")
    return Table(origin, known)


def parsed(text: str, kinds: Mapping[str, type]) -> dict[str, Value]:
    """Values out of ``name=value,…``."""
    values = dict(pair.split("=") for pair in text.split(","))
    one_of("the table", values, kinds)
    return {name: kinds[name](float(value)) if kinds[name] is not str else value for name, value in values.items()}


def key(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(values.items()))


def replay(table: Table, faulty: Program, data: Data, technique: Technique, evaluations: int, seed: int) -> list[float]:
    """The best accuracy so far after each of so many evaluations; shorter where a technique has no more to propose."""
    values = {name: tuple(sorted({dict(each)[name] for each in table.known})) for name in table.origin}
    space = Space("S0", faulty.changed(table.origin), values, data)
    play = moved if technique.moves else drawn
    found = play(space, table, technique, evaluations, seed)
    return np.maximum.accumulate(found).tolist()


def moved(space: Space, table: Table, technique: Technique, evaluations: int, seed: int) -> list[float]:
    moves, found = technique.moves(space, np.random.default_rng(seed)), []
    try:
        values = next(moves)
        while len(found) < evaluations:
            found.append(table.known.get(key(values), 0.0))
            values = moves.send(Tried(values, found[-1], left=float(evaluations - len(found))))
    except StopIteration:
        pass
    return found


def drawn(space: Space, table: Table, technique: Technique, evaluations: int, seed: int) -> list[float]:
    study, found = optuna.create_study(direction="maximize"), []
    study.enqueue_trial(dict(space.origin))
    for _ in range(evaluations):
        study.sampler = technique.sampler(seed + len(found))
        trial = study.ask(trials.distributions(space))
        found.append(table.known.get(key(trial.params), 0.0))
        study.tell(trial, found[-1])
    return found
