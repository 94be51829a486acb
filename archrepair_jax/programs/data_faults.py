"""Faults of data, for which no change of a program is a remedy: found by looking at the data alone.

All rules and thresholds are ours. They compare what is learned from with what is chosen by, which counts as right:
labels that are no classes, or always the same; inputs far from one in size; equal inputs with different labels; labels
that their nearest neighbours contradict, much more often than where they count as right.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.spatial.distance import cdist

from archrepair_jax.programs.data import Data, Split, rows
from archrepair_jax.programs.program import Program

LARGE = 20.0  # in size, for an input
CONTRADICTED = 0.1  # the share of examples of which an equal one has another label
NOISY = 0.7  # times as many neighbours agree
LOOKED_AT = 500


def data_faults(program: Program, data: Data) -> list[str]:
    """Sentences, one a fault; none where the data seem right."""
    return [*inputs(program, data), *labels(data)]


def inputs(program: Program, data: Data) -> Iterator[str]:
    x = data.train.x
    if not np.isfinite(x).all():
        yield "some inputs are no finite numbers"
    elif (size := float(np.abs(x).max()) / program.scale) > LARGE:
        yield f"inputs are as large as {size:.0f}: scale them to about one"


def labels(data: Data) -> Iterator[str]:
    if data.metric != "accuracy":
        return
    y = data.train.y
    if y.ndim == 1 and (wrong := np.flatnonzero((y != np.floor(y)) | (y < 0) | (y >= data.outputs))).size:
        yield f"{wrong.size} of {len(y)} labels are no class number, as {y[wrong[0]]:.4g}"
        return
    learnt, right = (classes(split, data.outputs) for split in (data.train, data.validation))
    if len(np.unique(learnt)) == 1 and len(np.unique(right)) > 1:
        yield f"all {len(learnt)} labels are {learnt[0]}"
    elif contradicted(data.train, learnt).mean() > CONTRADICTED:
        yield f"{contradicted(data.train, learnt).mean():.0%} of the examples have an equal one with another label"
    else:
        count = min(LOOKED_AT, len(data.train), len(data.validation))
        there, here = (agreement(split, own, count) for split, own in ((data.validation, right), (data.train, learnt)))
        chance = float(np.max(np.bincount(right)) / len(right))
        if there > 1.5 * chance and here < NOISY * there:
            yield f"{here:.0%} of the labels are their nearest neighbours', of those to choose by {there:.0%} are"


def classes(split: Split, outputs: int) -> Num[np.ndarray, "N"]:
    """Class numbers; of a single output yes and no, of several-hot rows each pattern."""
    y = rows(split.y, outputs)
    return np.unique(np.concatenate([y, np.eye(outputs)]), axis=0, return_inverse=True)[1][: len(y)].ravel()


def contradicted(split: Split, labels: Num[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
    """Which examples have an equal one with another label."""
    _, same = np.unique(split.x.reshape(len(split), -1), axis=0, return_inverse=True)
    same = same.ravel()
    lowest, highest = np.full(same.max() + 1, labels.max()), np.zeros(same.max() + 1, labels.dtype)
    np.minimum.at(lowest, same, labels)
    np.maximum.at(highest, same, labels)
    return (lowest != highest)[same]


def agreement(split: Split, labels: Num[np.ndarray, "N"], count: int) -> float:
    """The share of so many examples whose nearest other one among them has the same label."""
    x: Float[np.ndarray, "N D"] = split.x[:count].reshape(count, -1)
    apart = cdist(x, x)
    np.fill_diagonal(apart, np.inf)
    return float((labels[:count][apart.argmin(1)] == labels[:count]).mean())
