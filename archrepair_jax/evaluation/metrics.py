"""Rates with 95 % intervals, from which examples were right before and after.

Correctness is a boolean array ``[V, N]``: V views (the clean images and corrupted copies) of the same N images. Copies
of one image are not independent, so the intervals resample images, never (view, image) pairs.
"""

import dataclasses
import math

import chex
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import beta

Z95 = 1.959963984540054  # the standard normal's 97.5 % quantile
BINS = 15  # of confidence, as Guo et al. have them


@dataclasses.dataclass(frozen=True)
class Rate:
    """A share (or a difference of two shares) with its 95 % interval; all None where there was nothing to count.

    Attributes:
        value: in [0, 1]; a difference in [-1, 1].
        low, high: the interval's ends, ``low <= value <= high``.
        count: how many (view, image) examples the share is of.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def interval(self) -> list[float] | None:
        return None if self.value is None else [self.low, self.high]

    def as_json(self) -> dict[str, float | int | None]:
        return dataclasses.asdict(self)


def repair_rate(
    before: Bool[np.ndarray, "V N"], after: Bool[np.ndarray, "V N"], *, seed: int = 0, replicates: int = 2000
) -> Rate:
    """Of the examples that were wrong, the share that is now right. Raises AssertionError for other shapes."""
    _check(before, after)
    return _share((~before & after).sum(0), (~before).sum(0), seed, replicates)


def break_rate(
    before: Bool[np.ndarray, "V N"], after: Bool[np.ndarray, "V N"], *, seed: int = 0, replicates: int = 2000
) -> Rate:
    """Of the examples that were right, the share that is now wrong. Raises AssertionError for other shapes."""
    _check(before, after)
    return _share((before & ~after).sum(0), before.sum(0), seed, replicates)


def accuracy(correct: Bool[np.ndarray, "V N"], *, seed: int = 0, replicates: int = 2000) -> Rate:
    """The share of right examples: Wilson's interval for one view, the bootstrap over images for several."""
    _check(correct)
    if len(correct) > 1:
        return _share(correct.sum(0), np.full(correct.shape[1], len(correct)), seed, replicates)
    if not correct.size:
        return Rate(None, None, None, 0)
    value = float(correct.mean())
    return Rate(value, *wilson(value, correct.size), correct.size)


def paired_difference(
    first: Bool[np.ndarray, "V N"], second: Bool[np.ndarray, "V N"], *, seed: int = 0, replicates: int = 2000
) -> Rate:
    """Accuracy of ``first`` minus accuracy of ``second`` on the same examples, in [-1, 1].

    An interval that excludes zero says that one of them is better. Raises AssertionError for other shapes.
    """
    _check(first, second)
    if not first.size:
        return Rate(None, None, None, 0)
    lead = first.sum(0) - second.sum(0)
    value = float(lead.sum() / first.size)
    low, high = _percentiles(_bootstrap(lead, np.full_like(lead, len(first)), seed, replicates), value)
    return Rate(value, low, high, first.size)


def calibration_error(
    confidences: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"], *, bins: int = BINS
) -> float | None:
    """The expected calibration error, in [0, 1]: how far confidence and accuracy are apart; None without examples.

    The examples are divided into equally wide bins of confidence, closed above; the gaps between mean confidence and
    accuracy of each are averaged, weighted by how many examples it holds (Naeini et al., 2015; Guo et al., 2017).
    Raises AssertionError for arrays of other shapes.
    """
    chex.assert_equal_shape([confidences, right])
    if not right.size:
        return None
    place = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    sure, hits = (np.bincount(place, of, bins) for of in (confidences.astype(float), right.astype(float)))
    return float(np.abs(sure - hits).sum() / right.size)


def wilson(value: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share ``value`` of ``count`` independent examples (Wilson, 1927)."""
    spread = Z95**2 / count
    centre = (value + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(value * (1 - value) / count + spread / (4 * count))
    return min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half))


def _share(counted: Int[np.ndarray, " N"], of: Int[np.ndarray, " N"], seed: int, replicates: int) -> Rate:
    """The ratio of two sums over images, with its interval."""
    count = int(of.sum())
    if count == 0:
        return Rate(None, None, None, 0)
    value = float(counted.sum() / count)
    low, high = _percentiles(_bootstrap(counted, of, seed, replicates), value)
    if low == high:  # resampling images that all agree (none broken, say) proves nothing; ours: Wilson over the images
        low, high = wilson(value, int(np.count_nonzero(of)))
    return Rate(value, low, high, count)


def _bootstrap(
    counted: Int[np.ndarray, " N"], of: Int[np.ndarray, " N"], seed: int, replicates: int
) -> Float[np.ndarray, " R"]:
    """Ratios of sums over N images drawn with replacement; replicates that drew nothing to count are left out.

    Images with equal counts are interchangeable, so the draw is multinomial over the few distinct pairs of counts
    instead of over images: the same distribution, and independent of the images' order.
    """
    pairs, sizes = np.unique(np.stack([counted, of], axis=1), axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(of), sizes / len(of), size=replicates)
    sums = draws @ pairs
    sums = sums[sums[:, 1] > 0]
    return sums[:, 0] / sums[:, 1]


def _percentiles(ratios: Float[np.ndarray, " R"], value: float) -> tuple[float, float]:
    """The central 95 % of ``ratios``, widened to hold ``value`` (percentile intervals of few images may miss it)."""
    low, high = np.percentile(ratios, [2.5, 97.5]) if len(ratios) else (value, value)
    return min(value, float(low)), max(value, float(high))


def _check(*correct: np.ndarray) -> None:
    """Other shapes than bool [V, N], the same for all arms, would broadcast and give wrong rates."""
    chex.assert_rank(correct, 2)
    chex.assert_equal_shape(correct)
    chex.assert_type(correct, bool)


def violation_bound(violations: int, samples: int, doubt: float) -> float:
    """With confidence ``1 - doubt``, at most this share of a region violates, after so many violations in N samples.

    Clopper and Pearson's (1934) one-sided interval; without violations it is ``1 - doubt ** (1 / N)``, that is, the
    smallest epsilon with ``N >= ln(1 / doubt) / -ln(1 - epsilon)``. It holds for samples that neither the repair nor a
    choice among repairs has seen.
    """
    if violations == 0:
        return -math.expm1(math.log(doubt) / samples)
    return float(beta.ppf(1 - doubt, violations + 1, samples - violations)) if violations < samples else 1.0
