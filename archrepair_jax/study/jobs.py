"""What a study consists of: arms, by the hash of what matters to them, and jobs, whose arms share what they can."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from archrepair_jax.line import images
from archrepair_jax.line.settings import Settings
from archrepair_jax.study.settings import StudySettings

IRRELEVANT = ("stages", "controls", "methods", "devices", "steps_per_call")  # to an arm; methods but for its own


@dataclasses.dataclass(frozen=True)
class Job:
    """One cell with one seed: a single run, whose methods share the network, the diagnosis and the examples.

    Attributes:
        cell, note, currency: of the cell.
        settings: of the run, with all the cell's methods.
        arms: the hashes of those to compute, by method.
    """

    cell: str
    note: str
    currency: str
    settings: Settings
    arms: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.settings.seed}"

    @property
    def folder(self) -> str:
        """Where its run lives; other settings, of a method too, have another folder."""
        own = images.what_matters(self.settings) | {"methods": dataclasses.asdict(self.settings)["methods"]}
        return f"{self.name}-{digest(own)[:8]}"

    def without(self, known: Collection[str]) -> "Job":
        """But for the arms that are known."""
        return dataclasses.replace(self, arms={name: arm for name, arm in self.arms.items() if arm not in known})

    def of(self, methods: Collection[str]) -> Settings:
        """The settings of a run with some of the methods."""
        first, *others = methods
        repair = dataclasses.replace(self.settings.repair, method=first)
        return dataclasses.replace(self.settings, repair=repair, controls=tuple(others))


def jobs_of(study: StudySettings) -> list[Job]:
    """All jobs in the table's order; two cells may name the same arm."""

    def job(name: str, seed: int) -> Job:
        cell, settings = study.cells[name], study.settings_of(name, seed)
        return Job(name, cell.note, cell.currency, settings, {each: arm(settings, each) for each in cell.methods})

    return [job(name, seed) for name, cell in study.cells.items() for seed in cell.seeds]


def arm(settings: Settings, method: str) -> str:
    """An arm's name: the hash of all settings that its figures depend on. Ours: a file counts by its name alone, since
    it lies elsewhere on every machine.
    """
    config = dataclasses.asdict(settings)
    matters = {name: value for name, value in config.items() if name not in IRRELEVANT}
    matters["repair"] |= {"method": method, "own": dataclasses.asdict(settings.of(method))}
    for section, key in (("data", "path"), ("model", "weights")):
        matters[section] |= {key: pathlib.Path(matters[section][key]).name}
    return digest(matters)[:12]


def digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def missing(jobs: list[Job], known: Collection[str]) -> list[Job]:
    """The jobs that are left, each with the arms that are in no table and in no earlier job."""
    known, left = set(known), []
    for job in jobs:
        if rest := job.without(known).arms:
            left.append(job.without(known))
            known |= set(rest.values())
    return left
