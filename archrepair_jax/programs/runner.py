"""Searches, one after the other, each with its row in the table: a row that is there is not computed again."""

import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import Any

import jax

from archrepair_jax.line.work_folder import locked
from archrepair_jax.programs import report, trials
from archrepair_jax.programs.arms import Arm, arms
from archrepair_jax.programs.data import Data
from archrepair_jax.programs.data_faults import data_faults
from archrepair_jax.programs.engine import run as searched
from archrepair_jax.programs.outcome import judged
from archrepair_jax.programs.rows import COLUMNS, NUMBERS, Found, row, spent
from archrepair_jax.programs.search import Search, chosen
from archrepair_jax.programs.settings import ProgramSettings
from archrepair_jax.programs.space import space
from archrepair_jax.programs.subjects import data as data_of
from archrepair_jax.programs.subjects import subject
from archrepair_jax.programs.summary import summary
from archrepair_jax.programs.techniques import TECHNIQUES
from archrepair_jax.programs.wording import sentence
from archrepair_jax.study.execution import compile_once
from archrepair_jax.study.provenance import head, this_machine
from archrepair_jax.study.table import read, write

PROGRAM = "python -m archrepair_jax.main"
Progress = Callable[[str, int, int, str], None]


def run(
    settings: ProgramSettings,
    workdir: str | pathlib.Path,
    progress: Progress = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Searches, judges, and enters a row for every search that has none yet; then writes the report on all.

    Returns:
        ``lines``: a sentence for each search; ``summary``: what they say together; ``table``: where the rows are.

    Raises:
        InputError: for whatever the user can mend.
        Stopped: when asked to stop; the same call goes on from there.
    """
    folder = pathlib.Path(workdir).expanduser()
    path, all_arms = pathlib.Path(settings.table or folder / "table.csv"), arms(settings)
    with locked(folder):
        compile_once(folder.absolute())
        for arm in all_arms:
            table = read(path, COLUMNS, NUMBERS)
            if arm.name not in table.rows:
                own = data_of(arm.subject, settings.data)
                table.rows[arm.name] = row(arm, searched_for(arm, own, settings, folder, progress, stopping))
                table.head = tuple(dict.fromkeys([*table.head, *provenance().splitlines()]))
                write(path, table, [each.name for each in all_arms], COLUMNS)
                jax.clear_caches()  # each holds memory maps, of which a process may have so many
        found = read(path, COLUMNS, NUMBERS).rows
        rows = [found[arm.name] for arm in all_arms]
        known = [found[arm.name] for arm in all_arms if subject(arm.subject).fix is not None]
        report.write(folder, rows, known)
    lines = [f"{each['subject']}, {each['technique']}, seed {each['repeat']}: {each['patch']}" for each in rows]
    return {"lines": lines, "summary": summary(known), "table": str(path)}


def provenance() -> str:
    return head(shlex.join([*PROGRAM.split(), *sys.argv[1:]]), this_machine())


def searched_for(
    arm: Arm, data: Data, settings: ProgramSettings, folder: pathlib.Path, progress: Progress, stopping: Callable
) -> Found:
    own, technique = subject(arm.subject), TECHNIQUES[arm.technique]
    if technique.abstains and (faults := data_faults(own.faulty, data)):
        return Found("abstained", f"the data are wrong, not the program: {'; '.join(faults)}", data.metric)
    where = space(arm.space, own.faulty, data, own.sizes, arm.budget, arm.key("space"))
    url = settings.storage or f"sqlite:///{folder.absolute()}/trials.db"
    storage, study = trials.opened(url, arm.study, {"subject": arm.subject, "space": arm.space})
    search = Search(where, technique, arm.budget, arm.key("search"), storage, study, alone=not settings.storage)
    searched(search, stopping, progress)
    winner, word = chosen(search)
    outcome = judged(own.faulty, own.fixed, winner, data, arm.key("judged"))
    if winner == own.faulty:
        first, *_ = trials.paid(study.get_trials(deepcopy=False))
        if first.user_attrs["status"] == "not finite":
            word += ", and its training does not get finite"
        return Found("no patch", f"{word}: the program stays as it is", data.metric, outcome, spent(search))
    status = "patched" if outcome.repaired else "no repair"
    return Found(status, sentence(own.faulty, outcome, data.metric), data.metric, outcome, spent(search))
