"""The command line: ``python -m archrepair_jax.main --config configs/digits.py --workdir runs/digits``."""

import sys

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "the run's settings, a Python file; --config.KEY=VALUE changes one of them", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "the folder for results; started again, a run continues there")


def run(argv: list[str] | None = None) -> None:
    """The console script: runs, prints the table of arms, and leaves with a status.

    0: done, 2: bad input (one line says what to do), 1: a loss was no longer finite, 128 + n: ended by signal n.
    """
    sys.exit(main(sys.argv if argv is None else argv))


def main(argv: list[str]) -> int:
    try:
        flags.FLAGS(argv)
        missing = [name for name, flag in (("--config", CONFIG), ("--workdir", WORKDIR)) if flag.value is None]
        if missing:
            raise flags.Error(f"{missing[0]} is missing: name a config file and a work folder")
    except Exception as error:  # whatever a config file or a flag can raise is the user's to mend
        return complain(error, 2)

    from archrepair_jax.errors import InputError
    from archrepair_jax.interruption import Interruption
    from archrepair_jax.pipeline import run as run_pipeline
    from archrepair_jax.reporting.progress import Progress, console_table
    from archrepair_jax.settings import from_config
    from archrepair_jax.training.loop import Diverged, Stopped

    interruption = Interruption()
    try:
        with Progress() as progress:
            report = run_pipeline(from_config(CONFIG.value), WORKDIR.value, progress.report, interruption)
    except InputError as error:
        return complain(error, 2)
    except Diverged as error:
        return complain(error, 1)
    except Stopped as error:
        print(f"{error}; the same command continues from there", file=sys.stderr)
        return 128 + interruption.number
    console_table(report)
    print(f"The whole report: {WORKDIR.value}/report.md")
    return 0


def complain(error: Exception, status: int) -> int:
    """Prints what is wrong, in one line."""
    print(f"archrepair-jax: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
    return status


if __name__ == "__main__":
    run()
