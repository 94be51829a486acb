"""What a study can be told, as frozen settings; a config file holds the same as a ConfigDict."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.line import settings as images
from archrepair_jax.line.settings import Settings, as_config, as_dataclass

TASK = "study"
CURRENCIES = SAMPLE_GRADIENTS, MULTIPLY_ADDS = "sample_gradients", "multiply_adds"
DECIDED = {"seed": "seeds", "repair.method": "methods", "controls": "methods", "stages": "methods"}  # by the cell


@dataclasses.dataclass(frozen=True)
class Cell:
    """Settings that several methods and seeds share.

    Attributes:
        changes: what differs from the study's base, as nested sections: ``{"data": {"labels": 100}}``.
        seeds, methods: one arm each for every pair; the first method is what the others are compared with.
        currency: of the budget: ``multiply_adds`` where ``repair.multiply_adds`` limits it, else ``sample_gradients``.
        note: for the table.
    """

    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[str, ...] = ("reconstruction", "fine_tune_network")
    currency: str = SAMPLE_GRADIENTS
    note: str = ""

    def __post_init__(self):
        one_of("methods", self.methods, images.known())
        one_of("seeds", self.seeds, self.seeds)  # none twice
        one_of("currency", [self.currency], CURRENCIES)
        for name in ("seeds", "methods"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty: name one or more")
        for key in flatten_dict(dict(self.changes), sep="."):
            if key in DECIDED:
                raise InputError(f"changes cannot hold {key}: say it in {DECIDED[key]}")


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """One study.

    Attributes:
        task: says that this is one.
        table: the CSV that gets the rows, and says which are there already.
        processes: how many jobs run at once, each on its share of the cores; 0 for one a core. Take 1 where there is
            an accelerator: a job uses all ``devices`` that its settings name.
        base: a run over images, of which every cell says what differs.
        cells: by name, whose alphabetical order is the table's (a ConfigDict keeps no other).
    """

    task: str = TASK
    table: str = ""
    processes: int = 0
    base: Settings = Settings()
    cells: Mapping[str, Cell] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        one_of("task", [self.task], [TASK])
        within("processes", self.processes, 0)
        for name in self.cells:
            if not re.fullmatch(r"[\w-]+", name):
                raise InputError(f"cells cannot hold {name!r}: a cell also names a folder, so take letters and digits")

    def settings_of(self, name: str, seed: int) -> Settings:
        """Of one run of a cell, with all its methods. Raises InputError where there is none like that."""
        cell = self.cells[name]
        first, *others = cell.methods
        config = merged(merged(dataclasses.asdict(self.base), cell.changes), {"repair": {"method": first}})
        stages = images.STAGES[1:] if config["repair"]["block"] else images.STAGES  # a named block is not localized
        decided = {"seed": seed, "controls": tuple(others), "stages": stages}
        try:
            found = images.from_config(ConfigDict(config | decided))
        except InputError as error:
            raise InputError(f"cells.{name}: {error}") from error
        if (found.repair.multiply_adds > 0) != (cell.currency == MULTIPLY_ADDS):
            raise InputError(
                f"cells.{name}.currency={cell.currency}, but repair.multiply_adds={found.repair.multiply_adds}: "
                f"say {MULTIPLY_ADDS} where that limits the budget, and {SAMPLE_GRADIENTS} where it is 0"
            )
        return found


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries with what ``changes`` holds in place of what was there."""
    return {**base} | {
        key: merged(base[key], value) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) else value
        for key, value in changes.items()
    }


def default_config() -> ConfigDict:
    """The defaults, for a config file to change; ``with config.unlocked()`` it adds ``config.cells``."""
    return as_config(StudySettings())


def from_config(config: ConfigDict) -> StudySettings:
    """The settings that a config holds. Raises InputError for a key, a type or a value that no study can have."""
    values = config.to_dict()
    base, cells = images.from_config(ConfigDict(values.pop("base", {}))), {}
    for name, own in values.pop("cells", {}).items():
        cells[name] = as_dataclass(Cell, own, f"cells.{name}.", changes=own.pop("changes", {}))
    study = as_dataclass(StudySettings, values, base=base, cells=cells)
    if not study.table:
        raise InputError("table is empty: name the CSV that gets the rows, as --config.table=results/mine.csv")
    if not cells:
        raise InputError("cells is empty: a study needs one or more")
    for name, cell in cells.items():
        for seed in cell.seeds:
            study.settings_of(name, seed)
    return study
