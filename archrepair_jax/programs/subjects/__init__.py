"""Faulty training programs by name, of Kim et al., *Repairing DNN Architecture: Are We There Yet?* (ICST 2023)."""

import os
import pathlib

import numpy as np

from archrepair_jax.errors import InputError, one_of
from archrepair_jax.programs.data import Data
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
    """The subject of a name. Raises InputError, which lists the known ones, where there is none or data are missing."""
    missing = ABSENT.get(name) or (ABSENT.get(name[:1]) if name[1:].isdecimal() else None)
    if missing:
        raise InputError(f"subject {name} needs {missing}, which are not at hand: choose from {', '.join(SUBJECTS)}")
    one_of("subject", [name], SUBJECTS)
    return SUBJECTS[name]


def data(name: str, folder: str | os.PathLike = "") -> Data:
    """A subject's data, the same whenever it is asked.

    ``folder`` holds mnist.npz and cifar10.npz. Raises InputError where the file that is needed is not there.
    """
    return subject(name).make(np.random.default_rng(DATA_SEED), pathlib.Path(folder).expanduser())
