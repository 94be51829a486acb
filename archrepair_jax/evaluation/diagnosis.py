"""What labels and predictions alone tell of a classifier's failures: which classes, which images, is it the labels?"""

import dataclasses

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.metrics import Rate, wilson


@dataclasses.dataclass(frozen=True)
class ClassFailures:
    """One class: how often its images are wrong, and what they are taken for most often (None if none is wrong)."""

    name: str
    errors: Rate
    taken_for: str | None


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """Of N images.

    Attributes:
        errors: the share that is wrong.
        classes: the worst first.
        failing: indices of the wrong ones; where scores are known, the most confident mistakes first.
        doubtful: indices whose labels look wrong, the clearest first: empty where there are neither scores nor images.
    """

    errors: Rate
    classes: tuple[ClassFailures, ...]
    failing: Int[np.ndarray, " F"]
    doubtful: Int[np.ndarray, " D"]

    @property
    def summary(self) -> str:
        """The same in a sentence."""
        worst = self.classes[0]
        told = f"{len(self.failing)} of {self.errors.count} images are wrong ({100 * self.errors.value:.1f} %)"
        if worst.taken_for is not None:
            told += (
                f", most often of class {worst.name} ({100 * worst.errors.value:.1f} %), taken for {worst.taken_for}"
            )
        doubt = f"; {len(self.doubtful)} labels look wrong, so look at these first" if len(self.doubtful) else ""
        return f"{told}{doubt}."

    def __str__(self) -> str:
        return self.summary


def diagnose(
    labels: Int[ArrayLike, " N"],
    predictions: Int[ArrayLike, " N"] | Float[ArrayLike, "N K"],
    images: Shaped[ArrayLike, "N ..."] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Diagnosis:
    """Which classes and images are wrong. See ``Diagnosis`` and, for ``doubtful``, ``unlike`` and ``contradicting``.

    Args:
        labels: as they are taken to be.
        predictions: labels, or scores (logits or probabilities) of each class.
        images: in which equal ones of different labels are looked for.
        class_names: by label.

    Raises:
        InputError: for shapes that do not fit each other, or labels that are no class.

    Examples:
        >>> import numpy as np, archrepair_jax as ar
        >>> labels, predictions = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 1])
        >>> found = ar.diagnose(labels, predictions, class_names=("cat", "dog"))
        >>> print(found)
        2 of 5 images are wrong (40.0 %), most often of class cat (66.7 %), taken for dog.
        >>> found.failing
        array([1, 2])
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels of shape {labels.shape} and type {labels.dtype}: give one whole number an image")
    for name, array in {"predictions": predictions, "images": images}.items():
        if array is not None and (not np.ndim(array) or len(array) != len(labels)):
            raise InputError(f"{name} of shape {np.shape(array)} do not fit {len(labels)} labels: give one an image")
    scores = predictions if predictions.ndim == 2 else None
    said = predictions if scores is None else scores.argmax(-1)
    count = max(labels.max(), said.max()) + 1 if scores is None else scores.shape[1]
    names = tuple(map(str, range(count))) if class_names is None else tuple(class_names)
    if labels.min() < 0 or max(labels.max(), said.max()) >= len(names):
        raise InputError(f"labels go from {labels.min()} to {labels.max()}, but there are {len(names)} classes")
    wrong = said != labels
    failing = np.flatnonzero(wrong)
    if scores is not None:
        failing = failing[np.argsort(-softmax(scores)[failing].max(-1), kind="stable")]
    found = [unlike(labels, softmax(scores))] if scores is not None else []
    found += [contradicting(labels, np.asarray(images))] if images is not None else []
    doubtful = np.array(list(dict.fromkeys(np.concatenate(found).tolist())) if found else [], int)
    classes = [of_class(number, names, labels, said) for number in range(len(names)) if (labels == number).any()]
    return Diagnosis(share(wrong), tuple(sorted(classes, key=lambda each: -each.errors.value)), failing, doubtful)


def of_class(number: int, names: tuple[str, ...], labels: np.ndarray, said: np.ndarray) -> ClassFailures:
    own = said[labels == number]
    others, counts = np.unique(own[own != number], return_counts=True)
    return ClassFailures(names[number], share(own != number), names[others[counts.argmax()]] if len(others) else None)


def share(wrong: np.ndarray) -> Rate:
    return Rate(float(wrong.mean()), *wilson(float(wrong.mean()), len(wrong)), len(wrong))


def softmax(scores: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
    """Probabilities as they are, logits as probabilities."""
    if scores.min() >= 0 and np.allclose(scores.sum(-1), 1, atol=1e-3):
        return scores
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def unlike(labels: np.ndarray, probabilities: Float[np.ndarray, "N K"]) -> Int[np.ndarray, " D"]:
    """Images that are as surely another class as images of that class are on average, the surest first.

    By the thresholds of confident learning (Northcutt et al., JAIR 2021): good for predictions on images that the
    classifier has not learned from.
    """
    present = np.unique(labels)
    usual = np.full(probabilities.shape[1], np.inf)  # a class without images is nobody's
    for number in present:
        usual[number] = probabilities[labels == number, number].mean()
    sure = np.where(probabilities >= usual, probabilities, 0.0)
    other = sure.argmax(-1)
    margin = probabilities.max(-1) - probabilities[np.arange(len(labels)), labels]
    rows = np.flatnonzero((sure.max(-1) > 0) & (other != labels))
    return rows[np.argsort(-margin[rows], kind="stable")]


def contradicting(labels: np.ndarray, images: Shaped[np.ndarray, "N ..."]) -> Int[np.ndarray, " D"]:
    """Images that stand in the data twice, pixel by pixel, under different labels."""
    seen: dict[bytes, set[int]] = {}
    keys = [np.ascontiguousarray(image).tobytes() for image in images]
    for key, label in zip(keys, labels.tolist(), strict=True):
        seen.setdefault(key, set()).add(label)
    return np.flatnonzero([len(seen[key]) > 1 for key in keys])
