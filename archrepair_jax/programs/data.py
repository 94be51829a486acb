"""What a program is trained, chosen and judged on, and how it is scored."""

import dataclasses

import numpy as np
from jaxtyping import Float, Num

WORST = {"accuracy": 0.0, "mae": -np.inf}  # the score of a program that does not get finite


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Inputs [N, …] and their targets: rows [N, K] (one-hot, several-hot, or numbers), or class numbers [N]."""

    x: Num[np.ndarray, "N *_"]
    y: Num[np.ndarray, "..."]

    def __len__(self) -> int:
        return len(self.x)


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Three splits, of which the last one decides nothing.

    Attributes:
        train, validation, holdout: to learn from, to choose by, to be judged on once.
        outputs: how many a program has.
        metric: ``accuracy``, the higher the better, or ``mae``, the mean absolute error.
    """

    train: Split
    validation: Split
    holdout: Split
    outputs: int
    metric: str = "accuracy"


def rows(y: Num[np.ndarray, "..."], outputs: int) -> Float[np.ndarray, "N K"]:
    """Targets as rows; class numbers are cut to whole ones first, as Keras does, and one that is none gives zeros."""
    if y.ndim == 2:
        return y.astype(np.float32)
    return (y.astype(np.int64)[:, None] == np.arange(outputs)).astype(np.float32)


def score(outputs: Float[np.ndarray, "N K"], y: Float[np.ndarray, "N K"], metric: str) -> float:
    """How good outputs are, the higher the better: the accuracy in [0, 1], or the mean absolute error, negated.

    A single output says yes above one half, several say the largest, as in Keras. Outputs that are not all finite get
    ``WORST``: the most spectacular published repairs were NaN that a metric let pass.
    """
    if not np.isfinite(outputs).all():
        return WORST[metric]
    if metric == "mae":
        return -float(np.abs(outputs - y).mean())
    if outputs.shape[1] == 1:
        return float(((outputs > 0.5) == (y > 0.5)).mean())
    return float((outputs.argmax(1) == y.argmax(1)).mean())
