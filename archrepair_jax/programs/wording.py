"""What a search came to, in a sentence."""

import numpy as np

from archrepair_jax.programs.outcome import SEEDS, Outcome
from archrepair_jax.programs.program import Edit, Program

NAMES = {"accuracy": "accuracy", "mae": "mean absolute error"}


def sentence(faulty: Program, outcome: Outcome, metric: str) -> str:
    """As *change act2 from hard_sigmoid to relu: accuracy 0.61 → 0.70 on data nothing was chosen on, 5 of 5 seeds*."""
    before, after = (measured(scores, metric) for scores in (outcome.faulty, outcome.reduced))
    edits = ", ".join(map(written, faulty.edits(outcome.smallest)))
    word = "" if outcome.repaired else "no repair: "
    seeds = f"{outcome.better} of {SEEDS} seeds"
    return f"{word}{edits}: {NAMES[metric]} {before:.2f} → {after:.2f} on data nothing was chosen on, {seeds}"


def measured(scores: tuple[float, ...], metric: str) -> float:
    """The mean, as one reads it: errors are positive."""
    mean = float(np.mean(scores))
    return -mean if metric == "mae" else mean


def written(edit: Edit) -> str:
    """An edit with numbers cut short."""
    return str(Edit(edit.field, *(f"{each:.4g}" if isinstance(each, float) else each for each in edit[1:])))
