"""What a subject is."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from archrepair_jax.programs.data import Data
from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.program import Program


@dataclasses.dataclass(frozen=True)
class Subject:
    """A faulty program with the fix that is known.

    Attributes:
        faulty: the program.
        fix: what the fix changes in it; empty where no program on these data can be right, None where nobody knows one.
        make: its data from random numbers and a folder of files; raises InputError where one is missing.
        sizes: the widths and numbers of copies that the paper's space searches.
        source: where it comes from.
        reduced: how it is smaller than there; empty for full size.
    """

    faulty: Program
    fix: Mapping[str, Value] | None
    make: Callable[[np.random.Generator, pathlib.Path], Data]
    sizes: tuple[str, ...] = ()
    source: str = ""
    reduced: str = ""

    @property
    def fixed(self) -> Program:
        return self.faulty.changed(self.fix or {})
