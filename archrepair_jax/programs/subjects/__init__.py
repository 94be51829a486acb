"""Faulty training programs by name, of Kim et al., *Repairing DNN Architecture: Are We There Yet?* (ICST 2023)."""

import numpy as np

from archrepair_jax.errors import InputError, one_of
from archrepair_jax.programs.data import Data
from archrepair_jax.programs.subjects.contract import Subject
from archrepair_jax.programs.subjects.synthetic import SYNTHETIC

SUBJECTS: dict[str, Subject] = {**SYNTHETIC}
ABSENT = {  # by the first letter or the name, what their data are
    "R": "the Reuters newswires",
    "U": "the pictures of UnityEyes",
    "D2": "training.csv of the Higgs boson challenge",
    "D3": "the data.csv of question 45442843",
}
DATA_SEED = 42  # the package's: data are the same in every repeat


def subject(name: str) -> Subject:
    """The subject of a name. Raises InputError, which lists the known ones, for another, or one whose data are missing."""
    missing = ABSENT.get(name) or (ABSENT.get(name[:1]) if name[1:].isdecimal() else None)
    if missing:
        raise InputError(f"subject {name} needs {missing}, which are not at hand: choose from {', '.join(SUBJECTS)}")
    one_of("subject", [name], SUBJECTS)
    return SUBJECTS[name]


def data(name: str) -> Data:
    """A subject's data, the same whenever it is asked."""
    return subject(name).make(np.random.default_rng(DATA_SEED))
