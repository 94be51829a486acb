"""One job, from its settings to the rows of its arms."""

import dataclasses
import pathlib
import warnings
from collections.abc import Callable

import jax

from archrepair_jax.errors import InputError
from archrepair_jax.line import images
from archrepair_jax.repair.method import Unfit
from archrepair_jax.study.jobs import Job
from archrepair_jax.study.provenance import this_machine
from archrepair_jax.study.rows import row
from archrepair_jax.study.table import Row
from archrepair_jax.training.loop import Diverged


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a job ended: with the rows of its arms and where they were computed, or with an error."""

    job: Job
    rows: tuple[Row, ...] = ()
    machine: str = ""
    error: Exception | None = None


def perform(job: Job, folder: pathlib.Path, stopping: Callable[[], bool]) -> Outcome:
    """Runs a job; a method that refuses the settings or diverges gets a row that says so, and the others go on.

    Raises Stopped when asked to stop; what is kept in ``folder`` is not computed again.
    """
    report, failed = None, {}
    try:
        while not report and (methods := [name for name in job.arms if name not in failed]):
            try:
                report = images.run(job.of(methods), folder / job.folder, stopping=stopping)
            except Unfit as error:
                failed[error.method] = "refused", str(error)
            except Diverged as error:
                if not error.method:
                    raise
                failed[error.method] = "diverged", str(error)
    except (InputError, Diverged, OSError) as error:
        return Outcome(job, error=error)
    jax.clear_caches()  # programs hold memory maps, of which a process may have so many; the disk keeps them
    rows = (row(job, name, report, *failed.get(name, ())) for name in job.arms)
    return Outcome(job, tuple(rows), this_machine())


def compile_once(folder: pathlib.Path) -> None:
    """Lets this process find on disk what another one, or an earlier run, has compiled."""
    jax.config.update("jax_compilation_cache_dir", str(folder / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # an entry that another process is writing, or was killed while it did, is compiled again
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
