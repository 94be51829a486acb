"""Whether a subject shows its fault at the size at which it is run: its faulty and fixed programs, ten trainings each.

    export ARCHREPAIR_DATA=FOLDER
    python benchmarks/subject_gaps.py --table results/subject_gaps.csv D4 M1 ...

FOLDER holds mnist.npz and cifar10.npz. Scores are those on examples held out, with the same ten seeds for both; the gap
counts in the larger of both standard deviations, and is to be at least three of them. A subject that the table has is
not measured again.
"""

import argparse
import os
import shlex
import sys
import time

import jax
import numpy as np

from archrepair_jax.keys import named
from archrepair_jax.programs.outcome import scores, trained
from archrepair_jax.programs.subjects import data, subject
from archrepair_jax.study.provenance import head, this_machine
from archrepair_jax.study.table import Row, read, write

SEEDS = 10
ENOUGH = 3  # standard deviations
NUMBERS = ("seeds", "faulty", "faulty_sd", "fixed", "fixed_sd", "gap_sds", "seconds")
COLUMNS = ("arm", "metric", *NUMBERS, "enough", "reduced")


def measured(name: str, folder: str) -> Row:
    """The row of a subject; an empty gap is one of no spread at all. Errors are positive, as one reads them."""
    own, its = subject(name), data(name, folder)
    keys = [jax.random.fold_in(named(jax.random.key(0), f"{name}-gap"), seed) for seed in range(SEEDS)]
    started = time.monotonic()
    faulty, fixed = (scores(trained(each, its, keys), its.holdout, its) for each in (own.faulty, own.fixed))
    spread = max(np.std(faulty, ddof=1), np.std(fixed, ddof=1))
    apart = float(np.mean(fixed) - np.mean(faulty))
    sign = -1 if its.metric == "mae" else 1
    numbers = {
        **{"faulty": sign * np.mean(faulty), "faulty_sd": np.std(faulty, ddof=1)},
        **{"fixed": sign * np.mean(fixed), "fixed_sd": np.std(fixed, ddof=1)},
        "seconds": time.monotonic() - started,
    }
    return {
        **{"arm": name, "metric": its.metric, "seeds": str(SEEDS), "reduced": own.reduced},
        **{key: f"{value:.4f}" for key, value in numbers.items()},
        "gap_sds": f"{apart / spread:.1f}" if spread else "",
        "enough": "yes" if apart > ENOUGH * spread else "no",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--table", required=True)
    arguments = parser.parse_args()
    told = head(shlex.join(["python", *sys.argv]), this_machine()).splitlines()
    for name in arguments.subjects:
        table = read(arguments.table, COLUMNS, NUMBERS)
        if name not in table.rows:
            table.rows[name] = measured(name, os.environ.get("ARCHREPAIR_DATA", "real-data"))
            table.head = tuple(dict.fromkeys([*table.head, *told]))
            write(arguments.table, table, (), COLUMNS)
        print(*(f"{key} {value}" for key, value in table.rows[name].items() if value), sep=", ")


if __name__ == "__main__":
    main()
