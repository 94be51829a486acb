"""One study: what its table lacks is computed, and every finished job goes into the table at once."""

import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import Any

from archrepair_jax.errors import InputError
from archrepair_jax.line.work_folder import locked
from archrepair_jax.study.jobs import jobs_of, missing
from archrepair_jax.study.launcher import launch
from archrepair_jax.study.provenance import head
from archrepair_jax.study.settings import StudySettings
from archrepair_jax.study.summary import summary
from archrepair_jax.study.table import read, write

PROGRAM = "python -m archrepair_jax.main"


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
        order = [arm for job in jobs for arm in job.arms.values()]
        outcomes = launch(left, folder, study.processes, stopping)
        for done, outcome in enumerate(outcomes, len(jobs) - len(left) + 1):
            if outcome.error:
                lost.append(outcome)
            else:
                table.rows |= {row["arm"]: row for row in outcome.rows}
                own = head(shlex.join([*PROGRAM.split(), *sys.argv[1:]]), outcome.machine).splitlines()
                table.head = tuple(dict.fromkeys([*table.head, *own]))
                write(study.table, table, order)
            rows = sum(arm in table.rows for arm in dict.fromkeys(order))
            progress("jobs", done, len(jobs), f"{rows} rows")
    if lost:
        told = f"{len(lost)} of {len(jobs)} jobs are not in the table: " + "; ".join(
            f"{outcome.job.name}: {outcome.error}" for outcome in lost
        )
        raise (InputError if any(isinstance(each.error, InputError) for each in lost) else ChildProcessError)(told)
    return {"table": study.table, "summary": summary(jobs, table.rows)}
