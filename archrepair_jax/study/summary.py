"""What a study's table says in a few lines: means over seeds, and the first method of a cell beside each other one."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from archrepair_jax.reporting.wording import count
from archrepair_jax.study.jobs import Job
from archrepair_jax.study.table import MEASURED, Row

CONFIDENCE = 0.95


def summary(jobs: Sequence[Job], rows: Mapping[str, Row]) -> list[str]:
    """Lines, one block a cell: percentages, and differences of them with their interval."""
    lines = []
    for cell, own in itertools.groupby(jobs, key=lambda job: job.cell):
        own = list(own)
        methods = {name: [rows[job.arms[name]] for job in own] for name in own[0].arms}
        before = [next(filter(measured, each), each[0]) for each in zip(*methods.values(), strict=True)]
        body = [("before", means(before, "before"))]
        body += [(name, means(found, "after")) for name, found in methods.items()]
        first, *others = methods
        body += [(f"{first} less {name}", differences(methods[first], methods[name])) for name in others]
        lines += aligned([(f"{cell}, {count(len(own), 'seed')}", MEASURED), *body]) + [""]
    return lines[:-1]


def measured(row: Row) -> bool:
    return bool(row["clean_after"])


def values(rows: Sequence[Row], name: str) -> np.ndarray:
    """A column in percent; NaN where a row has none."""
    return np.array([100 * float(row[name]) if row[name] else math.nan for row in rows])


def means(rows: Sequence[Row], when: str) -> list[str]:
    """Over the seeds that have a figure."""
    columns = [values(rows, f"{name}_{when}") for name in MEASURED]
    return [f"{np.nanmean(column):.1f}" if np.isfinite(column).any() else "-" for column in columns]


def differences(left: Sequence[Row], right: Sequence[Row]) -> list[str]:
    """Of two methods on the same seeds, mean and 95 % interval."""
    return [paired(values(left, f"{name}_after") - values(right, f"{name}_after")) for name in MEASURED]


def paired(apart: np.ndarray) -> str:
    """The mean of paired differences with Student's t-interval (1908), seeds being what was drawn; of a single seed
    without one.
    """
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return "-"
    if len(apart) == 1:
        return f"{apart[0]:+.1f}"
    half = t.ppf((1 + CONFIDENCE) / 2, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart))
    return f"{apart.mean():+.1f} [{apart.mean() - half:+.1f}, {apart.mean() + half:+.1f}]"


def aligned(lines: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """As columns."""
    table = [(name, *cells) for name, cells in lines]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]


def show(report: Mapping[str, Any], workdir: str) -> None:
    """Prints what a study came to."""
    print(*report["summary"], "", f"The table: {report['table']}", sep="\n")
