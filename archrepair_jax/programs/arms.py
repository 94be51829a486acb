"""One search by what its figures depend on, as data."""

import hashlib
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from archrepair_jax import __version__
from archrepair_jax.keys import named
from archrepair_jax.programs.model import Model
from archrepair_jax.programs.settings import ProgramSettings
from archrepair_jax.programs.subjects import data as data_of
from archrepair_jax.programs.subjects import subject


class Arm(NamedTuple):
    """One search, by what its figures depend on.

    Attributes:
        mark: the fingerprint of a program that is no part of the benchmark, of which the version says enough.
    """

    subject: str
    space: str
    budget: int
    technique: str
    repeat: int
    mark: str = ""

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps([*self, __version__]).encode()).hexdigest()[:12]

    @property
    def study(self) -> str:
        """What the store of trials calls it."""
        return "-".join(str(each) for each in self if each != "")

    def key(self, what: str) -> PRNGKeyArray:
        """Its own; what is ``judged`` has the same seeds for all techniques."""
        return named(jax.random.key(self.repeat), f"{self.subject}-{what}")


def arms(settings: ProgramSettings) -> list[Arm]:
    marks = {name: fingerprint(name, settings.data) for name in settings.all_subjects}
    return [
        Arm(name, settings.space, settings.budget, technique, settings.seed + repeat, mark)
        for name, mark in marks.items()
        for repeat in range(settings.repeats)
        for technique in settings.all_techniques
    ]


def fingerprint(name: str, folder: str) -> str:
    """What figures of somebody's own program depend on beside its name: its compiled code, its fields and its data."""
    own = subject(name)
    if own.fix is not None:
        return ""
    data = data_of(name, folder)

    def outputs(key: PRNGKeyArray, x: jax.Array) -> Any:
        return Model(own.faulty.layers).init_with_output({"params": key, "dropout": key}, x, train=True)

    example = jax.ShapeDtypeStruct((1, *data.train.x.shape[1:]), jnp.float32)
    code = jax.jit(outputs).lower(jax.random.key(0), example).as_text()
    found = hashlib.sha256(json.dumps([code, own.faulty.fields, own.faulty.may_change, data.metric]).encode())
    for split in (data.train, data.validation, data.holdout):
        found.update(split.x.tobytes() + split.y.tobytes())
    return found.hexdigest()[:12]
