"""What a data set is, and the one way in which it is ever divided: seeded, stratified, by image.

Every part is carved out of the original images, before any corruption or augmentation, so the copies of one image
always stay on one side.
"""

import dataclasses
import zlib

import numpy as np
from jaxtyping import Bool, Int, Int32, UInt8


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, in host memory; ``failing`` are those that are to be repaired, where that was said."""

    images: UInt8[np.ndarray, "N H W C"]
    labels: Int32[np.ndarray, " N"]
    failing: Bool[np.ndarray, " N"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[np.ndarray, " M"]) -> "Split":
        """A copy of the rows named."""
        return Split(self.images[rows], self.labels[rows], None if self.failing is None else self.failing[rows])

    @property
    def strata(self) -> Int[np.ndarray, " N"]:
        """What is divided in proportion: the classes, and of each what is to be repaired."""
        return self.labels if self.failing is None else 2 * self.labels + self.failing


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Disjoint splits of one shape, [H, W, C] with C 1 or 3; labels index ``class_names``.

    ``rest`` are training images that do not count as labelled ones; None where they are not told apart. ``notes`` are
    what one should know of how they were read.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int
    class_names: tuple[str, ...]
    name: str
    rest: Split | None = None
    notes: tuple[str, ...] = ()

    @property
    def for_training(self) -> Split:
        """What a network without weights learns from: the rest, where it is told apart."""
        return self.train if self.rest is None else self.rest


def carve(
    labels: Int[np.ndarray, " N"], size: int, seed: int, name: str
) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " N-M"]]:
    """Divides rows 0..N-1 into ``size`` taken ones and the rest, both in ascending order.

    Of each class the taken part holds its share, rounded down or up so that the sum is exact (largest remainders, ties
    drawn by lot). The result depends on ``labels``, ``size``, ``seed`` and ``name`` (of what is carved) alone.

    Raises:
        ValueError: ``size`` is not in 0..N.
    """
    total = len(labels)
    if not 0 <= size <= total:
        raise ValueError(f"cannot take {size} of {total} rows")
    # Only Generator.random is drawn from: of numpy's streams it is the least likely to change between versions.
    rng = np.random.default_rng([int(seed) % 2**64, zlib.crc32(name.encode())])
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(size * counts, total)
    by_remainder = np.lexsort((rng.random(len(counts)), -remainders))
    quotas[by_remainder[: size - quotas.sum()]] += 1

    shuffled = np.lexsort((rng.random(total), classes))  # class by class, at random within each
    place = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.zeros(total, bool)
    taken[shuffled[place < np.repeat(quotas, counts)]] = True
    return np.flatnonzero(taken), np.flatnonzero(~taken)
