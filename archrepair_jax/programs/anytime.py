"""How good a search's best program was at any time: the best validation score so far, over the budget spent."""

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from archrepair_jax.study.table import Row

GRID = np.linspace(0, 1, 201)  # shares of the budget

Curve = Float[np.ndarray, "201"]


def cell(tried: Iterable[tuple[int, float]], limit: int) -> str:
    """A curve as text: ``0.05:0.5 0.31:0.97``, a share of the budget and the best score from there on.

    Args:
        tried: for each training in its turn what it cost, in passes, and its score, the higher the better; errors are
            negative here, and positive in the cell.
        limit: the budget, in passes.
    """
    spent, best, steps = 0, -math.inf, []
    for passes, score in tried:
        spent += passes
        if score > best:
            best = score
            steps.append(f"{spent / limit:.4f}:{abs(score):.5g}")
    return " ".join(steps)


def curve(row: Row) -> Curve:
    """The best score at every place of ``GRID``; NaN before the first one."""
    pairs = [each.split(":") for each in row["anytime"].split()]
    place = np.searchsorted([float(share) for share, _ in pairs], GRID, side="right")
    return np.array([np.nan, *(float(value) for _, value in pairs)])[place]


def rates(row: Row) -> Curve:
    """The curve as improvement rates in [0, 1]: 0 is the faulty program, and what there is before the first score."""
    faulty, fixed = (float(row[f"metric_{name}"] or "nan") for name in ("faulty", "fixed"))
    if not np.isfinite(fixed - faulty) or fixed == faulty:
        return np.zeros(len(GRID))
    return np.clip(np.nan_to_num((curve(row) - faulty) / (fixed - faulty)), 0, 1)


def area(row: Row) -> float:
    """The mean height of the rates: 1 would be the known fix at once."""
    return float(rates(row).mean())
