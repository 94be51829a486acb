"""What a table of searches says: for each subject and technique, and over subjects.

Significance is Wilcoxon's signed-rank test over repeats, two-sided, patched against faulty with the same seeds,
corrected over subjects after Holm (1979). Over subjects a technique is compared with random draws by the same test on
mean improvement rates. A12 is Vargha and Delaney's (2000): the chance that a patched program beats a faulty one.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import wilcoxon

from archrepair_jax.study.summary import aligned
from archrepair_jax.study.table import Row

LEVELS = (0.5, 0.9, 1.0)
BASELINE = "random"
Key = tuple[str, str]


def summary(rows: Sequence[Row]) -> list[str]:
    """Lines: a block for subjects and techniques, and one over subjects."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["subject"], row["technique"]), []).append(row)
    judged = {key: own for key, own in groups.items() if all(row["ir"] for row in own)}
    if not judged:
        return []
    names = ["repeats", "faulty", "fixed", "patched", "IR", "median", *(f">={level:g}" for level in LEVELS)]
    body = [(" ".join(key), cells(own, key, judged)) for key, own in judged.items()]
    lines = aligned([("subject and technique", [*names, "edits", "A12", "p (Holm)"]), *body])
    return [*lines, *overall(judged)]


def numbers(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([float(row[name]) if row[name] else np.nan for row in rows])


def cells(rows: Sequence[Row], key: Key, judged: Mapping[Key, Sequence[Row]]) -> list[str]:
    rates = numbers(rows, "ir")
    metrics = [np.nanmean(numbers(rows, f"metric_{name}")) for name in ("faulty", "fixed", "patched")]
    return [
        str(len(rows)),
        *(f"{value:.2f}" for value in (*metrics, rates.mean(), np.median(rates))),
        *(f"{(rates >= level).mean():.2f}" for level in LEVELS),
        f"{np.median(numbers(rows, 'edits_minimal')):.0f}",
        f"{stronger(rates_of(rows, 'patched'), rates_of(rows, 'faulty')):.2f}",
        f"{holm({each: signed(own) for each, own in judged.items() if each[1] == key[1]})[key]:.3f}",
    ]


def rates_of(rows: Sequence[Row], name: str) -> np.ndarray:
    """A metric turned so that more is better, by what the known fix does; what is not finite is the worst."""
    better = np.nanmean(numbers(rows, "metric_fixed")) > np.nanmean(numbers(rows, "metric_faulty"))
    return np.nan_to_num((1 if better else -1) * numbers(rows, f"metric_{name}"), nan=-np.inf)


def stronger(left: np.ndarray, right: np.ndarray) -> float:
    """A12: how often one of the left is above one of the right, ties counting half."""
    apart = left[:, None], right[None]
    return float(((apart[0] > apart[1]) + 0.5 * (apart[0] == apart[1])).mean())


def signed(rows: Sequence[Row]) -> float:
    """The p-value of patched against faulty over repeats; 1 where nothing differs."""
    return differing(numbers(rows, "metric_patched") - numbers(rows, "metric_faulty"))


def differing(apart: np.ndarray) -> float:
    apart = apart[np.isfinite(apart)]
    if not apart.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few repeats: the exact distribution has ties
        return float(wilcoxon(apart).pvalue)


def holm(values: Mapping[Key, float]) -> dict[Key, float]:
    """p-values corrected for their number, the smallest most."""
    corrected, highest = {}, 0.0
    for place, (key, value) in enumerate(sorted(values.items(), key=lambda pair: pair[1])):
        highest = max(highest, min(1.0, value * (len(values) - place)))
        corrected[key] = highest
    return corrected


def overall(judged: Mapping[Key, Sequence[Row]]) -> list[str]:
    """Mean and median improvement rate over subjects, and the comparison with random draws where both have some."""
    means: dict[str, dict[str, float]] = {}
    for (subject, technique), rows in judged.items():
        means.setdefault(technique, {})[subject] = float(numbers(rows, "ir").mean())
    lines = [""]
    for technique, own in means.items():
        values = np.array(list(own.values()))
        middle = f"(median {np.median(values):.2f})"
        lines.append(f"{technique}: improvement rate {values.mean():.2f} {middle} over {len(values)} subjects")
        if technique != BASELINE and (both := sorted(own.keys() & means.get(BASELINE, {}).keys())):
            apart = np.array([own[name] - means[BASELINE][name] for name in both])
            lines[-1] += f", {apart.mean():+.2f} beside {BASELINE}, p = {differing(apart):.3f}"
    return lines
