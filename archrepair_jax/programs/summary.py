"""What a table of searches says: for each subject and technique, and over subjects.

Over subjects a technique is compared with random draws by Wilcoxon's signed-rank test on mean improvement rates; the
other tests are told in ``statistics``. The Jaccard index is Kim et al.'s (ICST 2023), which is asymmetric: the share of
the known fix's kinds of edits that a patch has; its precision is the share of the patch's that the fix has.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from archrepair_jax.programs.anytime import area
from archrepair_jax.programs.statistics import differing, goodness, holm, numbers, stronger, unclipped
from archrepair_jax.study.summary import aligned
from archrepair_jax.study.table import Row

LEVELS = (0.5, 0.9, 1.0)
BASELINE = "random"
SIZES = (("edits", np.nanmedian), ("jaccard", np.nanmean), ("precision", np.nanmean))
SECONDS = ("seconds", "compile_seconds", "searcher_seconds")
Key = tuple[str, str]  # of a subject and a technique
Groups = Mapping[Key, Sequence[Row]]


class Sheet(NamedTuple):
    """A table for reading: what it is about, its columns, and a line for each subject and technique."""

    title: str
    names: list[str]
    body: list[tuple[str, list[str]]]


def grouped(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["subject"], row["technique"]), []).append(row)
    return groups


def summary(rows: Sequence[Row]) -> list[str]:
    """Lines: a block a sheet, and one over subjects."""
    lines = []
    for sheet in sheets(rows):
        lines += [*aligned([(sheet.title, sheet.names), *sheet.body]), ""]
    return [*lines, *overall(rows)]


def sheets(rows: Sequence[Row]) -> list[Sheet]:
    """On the subjects whose fix is known; none where there is no such row."""
    judged = {key: own for key, own in grouped(rows).items() if all(row["ir"] for row in own)}
    if not judged:
        return []
    names = ["searches", "faulty", "fixed", "patched", "IR", "median", "clipped", *(f">={level:g}" for level in LEVELS)]
    came = [(" ".join(key), outcome(key, judged)) for key in judged]
    took = [(" ".join(key), effort(own)) for key, own in judged.items()]
    return [
        Sheet("what came of it", [*names, "A12 faulty", f"A12 {BASELINE}", "p (Holm)"], came),
        Sheet(
            "what it took (raw / minimal)",
            [*dict(SIZES), "area", "trainings", "seconds", "compiling", "searcher"],
            took,
        ),
    ]


def outcome(key: Key, judged: Groups) -> list[str]:
    """Metrics, improvement rates, how often they reach the levels, and what is significant."""
    rows, rates = judged[key], numbers(judged[key], "ir")
    subject, technique = key
    own = {each: signed(rows) for each, rows in judged.items() if each[1] == technique}
    beside = judged.get((subject, BASELINE))
    return [
        str(len(rows)),
        *(short(np.nanmean, numbers(rows, f"metric_{name}")) for name in ("faulty", "fixed", "patched")),
        *(short(each, unclipped(rows)) for each in (np.nanmean, np.nanmedian)),
        short(np.mean, rates),
        *(f"{(rates >= level).mean():.2f}" for level in LEVELS),
        f"{stronger(goodness(rows, 'patched'), goodness(rows, 'faulty')):.2f}",
        f"{stronger(goodness(rows, 'patched'), goodness(beside, 'patched')):.2f}" if beside else "-",
        f"{holm(own)[key]:.3f}",
    ]


def effort(rows: Sequence[Row]) -> list[str]:
    """Sizes of patches (medians), how they lie to the known fix, and costs (means)."""
    both = [[short(middle, numbers(rows, f"{name}_{size}")) for size in ("raw", "minimal")] for name, middle in SIZES]
    return [
        *map(" / ".join, both),
        short(np.mean, np.array([area(row) for row in rows])),
        *(f"{np.nan_to_num(numbers(rows, name)).mean():.1f}" for name in ("evaluations", *SECONDS)),
    ]


def short(middle: Callable, values: np.ndarray) -> str:
    return f"{middle(values):.2f}" if np.isfinite(values).any() else "-"


def signed(rows: Sequence[Row]) -> float:
    return differing(numbers(rows, "metric_patched") - numbers(rows, "metric_faulty"))


def overall(rows: Sequence[Row]) -> list[str]:
    """For each technique a line over subjects, beside random draws where both have some, and one on abstentions."""
    groups, lines = grouped(rows), []
    known = {key: own for key, own in groups.items() if all(row["ir"] for row in own)}
    for technique in dict.fromkeys(technique for _, technique in groups):
        here = {subject: own for (subject, name), own in known.items() if name == technique}
        random = {subject: own for (subject, name), own in known.items() if name == BASELINE != technique}
        if here:
            lines.append(f"{technique}: {over_subjects(here, random)}")
        if gone := sum(row["status"] == "abstained" for own in here.values() for row in own):
            count = sum(map(len, here.values()))
            lines.append(f"{technique}: abstained from {gone} of {count} programs that can be repaired")
        wrong = [row for key, own in groups.items() if key[1] == technique and key not in known for row in own]
        if wrong:
            right, claims = (sum(row["status"] == status for row in wrong) for status in ("abstained", "patched"))
            lines.append(f"{technique}: on wrong data {right} of {len(wrong)} abstained, {claims} claimed a repair")
    return lines


def over_subjects(own: Mapping[str, Sequence[Row]], random: Mapping[str, Sequence[Row]]) -> str:
    means = {subject: float(numbers(rows, "ir").mean()) for subject, rows in own.items()}
    values, areas = np.array(list(means.values())), [area(row) for rows in own.values() for row in rows]
    told = f"improvement rate {values.mean():.2f} (median {np.median(values):.2f}) over {len(values)} subjects"
    if both := sorted(own.keys() & random.keys()):
        apart = np.array([means[subject] - numbers(random[subject], "ir").mean() for subject in both])
        told += f", {apart.mean():+.2f} beside {BASELINE}, p = {differing(apart):.3f}"
    return f"{told}; area {np.mean(areas):.2f}"
