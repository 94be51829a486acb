"""What a search for a better program can be told, as frozen settings; a config file holds the same as a ConfigDict."""

import dataclasses

from ml_collections import ConfigDict

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.line.settings import as_config, as_dataclass
from archrepair_jax.programs.space import SPACES
from archrepair_jax.programs.subjects import subject

TASK = "programs"


def known_techniques() -> tuple[str, ...]:
    """Their names. Raises InputError where Optuna is not installed."""
    try:
        from archrepair_jax.programs.techniques import TECHNIQUES
    except ModuleNotFoundError as error:
        raise InputError(f"this needs {error.name}: python -m pip install 'archrepair-jax[programs]'") from error
    return tuple(TECHNIQUES)


@dataclasses.dataclass(frozen=True)
class ProgramSettings:
    """One search, or a table of many.

    Attributes:
        task: says that this is one.
        subject, technique: the faulty program, and how to look for a better one.
        subjects, techniques: several of them, instead of the two above.
        space: ``S0``, as published, ``S1``, or ``S2`` and ``S2_unfrozen``, with changes of structure.
        budget: in trainings of the faulty program.
        seed, repeats: searches with the seeds ``seed``, ``seed + 1``, …, so many of them.
        data: the folder of mnist.npz and cifar10.npz.
        storage: where trials are kept, as a URL of SQLAlchemy's; several workers may share one. Empty for a file in the
            work folder, which one process at a time works in.
        table: the CSV that gets a row a search; empty for one in the work folder.
    """

    task: str = TASK
    subject: str = "D6"
    technique: str = "guided"
    subjects: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    space: str = "S1"
    budget: int = 20
    seed: int = 0
    repeats: int = 1
    data: str = ""
    storage: str = ""
    table: str = ""

    def __post_init__(self):
        one_of("task", [self.task], [TASK])
        for name in self.all_subjects:
            subject(name)
        one_of("subjects", self.subjects, self.subjects)  # none twice
        one_of("techniques" if self.techniques else "technique", self.all_techniques, known_techniques())
        one_of("space", [self.space], SPACES)
        within("seed", self.seed, 0, 2**31)
        within("repeats", self.repeats, 1, 1000)
        if self.budget < 1:
            raise InputError(f"budget={self.budget} pays for no training: take 1 or more")

    @property
    def all_subjects(self) -> tuple[str, ...]:
        return self.subjects or (self.subject,)

    @property
    def all_techniques(self) -> tuple[str, ...]:
        return self.techniques or (self.technique,)


def default_config() -> ConfigDict:
    """The defaults, for a config file to change; keys and types are fixed."""
    return as_config(ProgramSettings())


def from_config(config: ConfigDict) -> ProgramSettings:
    """The settings that a config holds. Raises InputError for a key, a type or a value that no run can have."""
    return as_dataclass(ProgramSettings, config.to_dict())
