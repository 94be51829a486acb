"""What a search came to, in a sentence."""

import numpy as np

from archrepair_jax.programs.outcome import SEEDS, Outcome
from archrepair_jax.programs.program import Edit, Program

NAMES = {"accuracy": "accuracy", "mae": "mean absolute error"}


def sentence(faulty: Program, outcome: Outcome, metric: str) -> str:
    """As *change act2 from hard_sigmoid to relu: accuracy 0.61 → 0.70 on data nothing was chosen on, 5 of 5 seeds*."""
    before, after = (measured(scores, metric) for scores in (outcome.faulty, outcome.reduced))
    edits = ", ".join(map(written, faulty.edits(outcome.smallest)))
    better = sum(new > old for old, new in zip(outcome.faulty, outcome.reduced, strict=True))
    word = "" if 2 * better > SEEDS else "no repair: "
    told = f"{NAMES[metric]} {before:.2f} → {after:.2f} on data nothing was chosen on, {better} of {SEEDS} seeds"
    return f"{word}{edits}: {told}"


def measured(scores: tuple[float, ...], metric: str) -> float:
    """The mean, as one reads it: errors are positive."""
    mean = float(np.mean(scores))
    return -mean if metric == "mae" else mean


def written(edit: Edit) -> str:
    """An edit with numbers cut short."""
    return str(Edit(edit.field, *(f"{each:.4g}" if isinstance(each, float) else each for each in edit[1:])))
