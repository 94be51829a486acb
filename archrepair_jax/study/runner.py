"""One study: what its table lacks is computed, and every finished job goes into the table at once."""

import contextlib
import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import Any

from archrepair_jax.errors import InputError
from archrepair_jax.line.work_folder import locked
from archrepair_jax.study.execution import Outcome
from archrepair_jax.study.jobs import jobs_of, missing
from archrepair_jax.study.launcher import launch
from archrepair_jax.study.provenance import head
from archrepair_jax.study.settings import StudySettings
from archrepair_jax.study.summary import summary
from archrepair_jax.study.table import Table, read, write

PROGRAM = "python -m archrepair_jax.main"


def enter(table: Table, outcome: Outcome) -> None:
    """Adds a job's rows to a table, and to its head where they come from."""
    table.rows |= {row["arm"]: row for row in outcome.rows}
    own = head(shlex.join([*PROGRAM.split(), *sys.argv[1:]]), outcome.machine)
    table.head = tuple(dict.fromkeys([*table.head, *own.splitlines()]))


def run(
    study: StudySettings,
    workdir: str | pathlib.Path,
    progress: Callable[[str, int, int, str], None] = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Computes the arms that have no row yet, and writes the table after every job.

    A row is never computed twice, wherever its table came from; a setting that changes makes another arm, with a row of
    its own, and rows that the study no longer names stay. Arms beyond a kill are found in ``workdir``.

    Args:
        study: what to do.
        workdir: one folder a job, and a cache of what was compiled.
        progress: called with a task's name, jobs done, their total and a word.
        stopping: whether to save and stop, looked at between steps.

    Returns:
        ``table``, where it is, and ``summary``, lines on what it says of this study.

    Raises:
        InputError: for whatever the user can mend; where it is one job's, after all others are done.
        ChildProcessError: after all others are done, for jobs that did not end.
        Stopped: when asked to stop.
    """
    jobs, folder = jobs_of(study), pathlib.Path(workdir).expanduser().absolute()
    with locked(workdir):
        table, lost = read(study.table), []
        left = missing(jobs, table.rows)
        order, done = list(dict.fromkeys(arm for job in jobs for arm in job.arms.values())), len(jobs) - len(left)

        def tell() -> None:
            progress("jobs", done, len(jobs), f"{sum(arm in table.rows for arm in order)} rows")

        tell()
        with contextlib.closing(launch(left, folder, study.processes, stopping)) as outcomes:
            for outcome in outcomes:
                if outcome.error:
                    lost.append(outcome)
                else:
                    enter(table, outcome)
                    write(study.table, table, order)
                done += 1
                tell()
    if lost:
        told = f"{len(lost)} of {len(jobs)} jobs are not in the table: " + "; ".join(
            f"{outcome.job.name}: {outcome.error}" for outcome in lost
        )
        raise (InputError if any(isinstance(each.error, InputError) for each in lost) else ChildProcessError)(told)
    return {"table": study.table, "summary": summary(jobs, table.rows)}
