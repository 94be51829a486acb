"""Searches, one after the other, each with its row in the table: a row that is there is not computed again."""

import hashlib
import json
import math
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from archrepair_jax import __version__
from archrepair_jax.keys import named
from archrepair_jax.line.work_folder import locked
from archrepair_jax.programs import trials
from archrepair_jax.programs.data import Data
from archrepair_jax.programs.data_faults import data_faults
from archrepair_jax.programs.engine import run as searched
from archrepair_jax.programs.outcome import Outcome, judged
from archrepair_jax.programs.search import Search, chosen
from archrepair_jax.programs.settings import ProgramSettings
from archrepair_jax.programs.space import space
from archrepair_jax.programs.subjects import data as data_of
from archrepair_jax.programs.subjects import subject
from archrepair_jax.programs.summary import summary
from archrepair_jax.programs.techniques import TECHNIQUES
from archrepair_jax.programs.wording import measured, sentence
from archrepair_jax.study.execution import compile_once
from archrepair_jax.study.provenance import head, this_machine
from archrepair_jax.study.table import Row, read, write

NUMBERS = (
    *("metric_faulty", "metric_fixed", "metric_patched", "ir", "edits_raw", "edits_minimal"),
    *("evaluations", "sample_gradients", "seconds", "compile_seconds", "searcher_seconds"),
)
COLUMNS = ("arm", "subject", "space", "budget", "technique", "repeat", *NUMBERS, "status", "patch")
PROGRAM = "python -m archrepair_jax.main"
Progress = Callable[[str, int, int, str], None]


class Arm(NamedTuple):
    """One search, by what its figures depend on."""

    subject: str
    space: str
    budget: int
    technique: str
    repeat: int

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps([*self, __version__]).encode()).hexdigest()[:12]

    def key(self, what: str) -> PRNGKeyArray:
        """Its own; what is ``judged`` has the same seeds for all techniques."""
        return named(jax.random.key(self.repeat), f"{self.subject}-{what}")


def run(
    settings: ProgramSettings,
    workdir: str | pathlib.Path,
    progress: Progress = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Searches, judges, and enters a row for every search that has none yet.

    Returns:
        ``lines``: a sentence for each search; ``summary``: what they say together; ``table``: where the rows are.

    Raises:
        InputError: for whatever the user can mend.
        Stopped: when asked to stop; the same call goes on from there.
    """
    folder = pathlib.Path(workdir).expanduser()
    path = pathlib.Path(settings.table or folder / "table.csv")
    lines = []
    with locked(folder):
        compile_once(folder.absolute())
        for arm in arms(settings):
            table = read(path, COLUMNS, NUMBERS)
            if arm.name not in table.rows:
                own = data_of(arm.subject, settings.data)
                table.rows[arm.name] = row(arm, own, searched_for(arm, own, settings, folder, progress, stopping))
                table.head = tuple(dict.fromkeys([*table.head, *provenance().splitlines()]))
                write(path, table, [each.name for each in arms(settings)], COLUMNS)
                jax.clear_caches()  # each holds memory maps, of which a process may have so many
            lines.append(f"{arm.subject}, {arm.technique}, seed {arm.repeat}: {table.rows[arm.name]['patch']}")
    rows = read(path, COLUMNS, NUMBERS).rows
    return {"lines": lines, "summary": summary([rows[arm.name] for arm in arms(settings)]), "table": str(path)}


def provenance() -> str:
    return head(shlex.join([*PROGRAM.split(), *sys.argv[1:]]), this_machine())


def arms(settings: ProgramSettings) -> list[Arm]:
    return [
        Arm(name, settings.space, settings.budget, technique, settings.seed + repeat)
        for name in settings.all_subjects
        for repeat in range(settings.repeats)
        for technique in settings.all_techniques
    ]


def searched_for(
    arm: Arm, data: Data, settings: ProgramSettings, folder: pathlib.Path, progress: Progress, stopping: Callable
) -> tuple[str, Outcome | None, Mapping[str, float], str]:
    """How a search ended, what it came to, what it spent, and a sentence."""
    own, technique = subject(arm.subject), TECHNIQUES[arm.technique]
    if technique.abstains and (faults := data_faults(own.faulty, data)):
        return "abstained", None, {}, f"the data are wrong, not the program: {'; '.join(faults)}"
    url = settings.storage or f"sqlite:///{folder.absolute()}/trials.db"
    storage, study = trials.opened(url, f"{'-'.join(map(str, arm))}", {"subject": arm.subject, "space": arm.space})
    where = space(arm.space, own.faulty, data, own.sizes, arm.budget, arm.key("space"))
    search = Search(where, technique, arm.budget, arm.key("search"), storage, study, alone=not settings.storage)
    searched(search, stopping, progress)
    winner, word = chosen(search)
    outcome = judged(own.faulty, own.fixed, winner, data, arm.key("judged"))
    if winner == own.faulty:
        first, *_ = trials.paid(study.get_trials(deepcopy=False))
        if first.user_attrs["status"] == "not finite":
            word += ", and its training does not get finite"
        return "no patch", outcome, spent(search), f"{word}: the program stays as it is"
    return "patched", outcome, spent(search), sentence(own.faulty, outcome, data.metric)


def spent(search: Search) -> dict[str, float]:
    """On the search alone; judging costs every technique the same."""
    paid = [trial.user_attrs for trial in trials.paid(search.study.get_trials(deepcopy=False))]
    seconds = {
        name: sum(each["seconds"][key] for each in paid)
        for name, key in (
            ("seconds", "seconds"),
            ("compile_seconds", "compile_seconds"),
            ("searcher_seconds", "thinking"),
        )
    }
    return {
        "evaluations": len(paid),
        "sample_gradients": math.ceil(sum(each["passes"] for each in paid) / 3),
        **{name: round(value, 1) for name, value in seconds.items()},
    }


def row(arm: Arm, data: Data, found: tuple[str, Outcome | None, Mapping[str, float], str]) -> Row:
    """The table's row. Metrics as one reads them; an empty cell was not measured, or is not finite."""
    status, outcome, cost, patch = found
    cells: dict[str, Any] = {"arm": arm.name, **arm._asdict(), **cost, "status": status, "patch": patch}
    if outcome:
        faulty = subject(arm.subject).faulty
        cells |= {
            "metric_faulty": measured(outcome.faulty, data.metric),
            "metric_fixed": measured(outcome.fixed, data.metric),
            "metric_patched": measured(outcome.patched, data.metric),
            "ir": outcome.rate if subject(arm.subject).fix else None,
            "edits_raw": len(faulty.edits(outcome.program)),
            "edits_minimal": len(faulty.edits(outcome.smallest)),
        }
    return {name: written(cells.get(name)) for name in COLUMNS}


def written(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return str(round(value, 5)) if isinstance(value, float) else str(value)
