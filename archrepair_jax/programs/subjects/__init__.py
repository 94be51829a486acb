"""Faulty training programs by name, of Kim et al., *Repairing DNN Architecture: Are We There Yet?* (ICST 2023)."""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from archrepair_jax.errors import InputError, one_of
from archrepair_jax.programs.data import Data
from archrepair_jax.programs.model import shapes
from archrepair_jax.programs.mutants import DATA_OPERATORS, OPERATORS, data_mutant, mutant
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.subjects.contract import Subject
from archrepair_jax.programs.subjects.images import IMAGES
from archrepair_jax.programs.subjects.synthetic import SYNTHETIC

SUBJECTS: dict[str, Subject] = {**SYNTHETIC, **IMAGES}
ABSENT = {  # by the first letter or the name, what their data are
    "R": "the Reuters newswires",
    "U": "the pictures of UnityEyes",
    "D2": "training.csv of the Higgs boson challenge",
    "D3": "the data.csv of question 45442843",
}
DATA_SEED = 42  # the package's: data are the same in every repeat


def subject(name: str) -> Subject:
    """The subject of a name; ``D8-ACH-3`` is the mutant of D8's fixed program by the operator ACH and seed 3.

    Raises InputError, which lists the known ones, for another, or one whose data are missing.
    """
    if name in SUBJECTS:
        return SUBJECTS[name]
    base, *made = name.split("-")
    missing = ABSENT.get(base) or (ABSENT.get(base[:1]) if base[1:].isdecimal() else None)
    if missing:
        raise InputError(f"subject {name} needs {missing}, which are not at hand: choose from {', '.join(SUBJECTS)}")
    one_of("subject", [base], SUBJECTS)
    return mutated(SUBJECTS[base], made)


def mutated(base: Subject, made: list[str]) -> Subject:
    """A subject's fixed program, or its data, spoilt by an operator and a seed."""
    if len(made) != 2 or not made[1].isdecimal():
        raise InputError(f"subject cannot end in {'-'.join(made)!r}: a mutant is SUBJECT-OPERATOR-SEED, as D8-ACH-3")
    code, seed, healthy = made[0], int(made[1]), base.fixed
    one_of("operator", [code], (*OPERATORS, *DATA_OPERATORS))
    source = f"a mutant by DeepCrime's operator {code}"
    if code in DATA_OPERATORS:

        def spoilt(random: np.random.Generator, folder: pathlib.Path) -> Data:
            return data_mutant(base.make(random, folder), code, seed)

        return Subject(healthy, {}, spoilt, base.sizes, source, base.reduced)
    faulty = mutant(healthy, code, seed)
    fix = {edit.field: edit.after for edit in faulty.edits(healthy)}
    return Subject(faulty, fix, base.make, base.sizes, source, base.reduced)


def data(name: str, folder: str | os.PathLike = "") -> Data:
    """A subject's data, the same whenever it is asked.

    ``folder`` holds mnist.npz and cifar10.npz. Raises InputError where the file that is needed is not there.
    """
    return subject(name).make(np.random.default_rng(DATA_SEED), pathlib.Path(folder).expanduser())


def bring(name: str, program: Program, make: Callable[[], Data]) -> str:
    """Lets a search find a program of somebody's own by a name, which it gives back.

    Args:
        name: of letters, numbers and underscores.
        program: the one that is bad.
        make: its data, the same whenever it is asked; only its last split decides nothing.
    """
    if not name.isidentifier():
        raise InputError(f"{name!r} cannot name a program: take letters, numbers and underscores")

    def made(random: np.random.Generator, folder: pathlib.Path) -> Data:
        data = make()
        shape = data.train.x.shape[1:]
        try:
            (_, outputs), _ = shapes(program.layers, shape)
        except Exception as error:  # whatever a module of somebody's own raises
            reason = str(error).splitlines()[0]
            raise InputError(f"{name} cannot be built for inputs of shape {shape}: {reason}") from error
        if outputs.shape != (1, data.outputs):
            raise InputError(f"{name} gives outputs {outputs.shape} for one example, and its data have {data.outputs}")
        return data

    SUBJECTS[name] = Subject(program, None, made, source="somebody's own")
    return name
