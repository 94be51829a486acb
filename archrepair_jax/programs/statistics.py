"""The statistics of a table of searches.

Significance is Wilcoxon's signed-rank test, two-sided, over searches with different seeds: patched against faulty, both
trained with the same ones. Fewer than six searches cannot be significant. Tests are corrected after Holm (1979). A12 is
Vargha and Delaney's (2000): the chance that one of the left is above one of the right.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from scipy.stats import wilcoxon

from archrepair_jax.study.table import Row

Key = TypeVar("Key")
Numbers = Float[np.ndarray, "N"]


def numbers(rows: Sequence[Row], name: str) -> Numbers:
    """A column; NaN where a row has none."""
    return np.array([float(row[name]) if row[name] else np.nan for row in rows])


def goodness(rows: Sequence[Row], name: str) -> Numbers:
    """A metric turned so that more is better, by what the known fix does; what is not finite is the worst."""
    better = np.nansum(numbers(rows, "metric_fixed") - numbers(rows, "metric_faulty")) > 0
    return np.nan_to_num((1 if better else -1) * numbers(rows, f"metric_{name}"), nan=-np.inf)


def unclipped(rows: Sequence[Row]) -> Numbers:
    """Improvement rates as they are, so that one above 1 beats the known fix; NaN where a metric is none."""
    faulty, fixed, patched = (numbers(rows, f"metric_{name}") for name in ("faulty", "fixed", "patched"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(fixed == faulty, np.nan, (patched - faulty) / (fixed - faulty))


def stronger(left: Numbers, right: Numbers) -> float:
    """A12, ties counting half."""
    apart = left[:, None], right[None]
    return float(((apart[0] > apart[1]) + 0.5 * (apart[0] == apart[1])).mean())


def differing(apart: Numbers) -> float:
    """The p-value of differences; 1 where nothing differs."""
    apart = apart[np.isfinite(apart)]
    if not apart.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few searches: the exact distribution has ties
        return float(wilcoxon(apart).pvalue)


def holm(values: Mapping[Key, float]) -> dict[Key, float]:
    """p-values corrected for their number, the smallest most."""
    corrected, highest = {}, 0.0
    for place, (key, value) in enumerate(sorted(values.items(), key=lambda pair: pair[1])):
        highest = max(highest, min(1.0, value * (len(values) - place)))
        corrected[key] = highest
    return corrected
