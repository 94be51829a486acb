"""What a network says of the same images in several views, and how sure it is of it."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer
from scipy.special import softmax

from archrepair_jax.evaluation.metrics import calibration_error


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Of N images in V views.

    Attributes:
        predictions: the classes.
        confidences: their shares of the softmax, in [0, 1].
        labels: what is right.
    """

    predictions: Integer[np.ndarray, "V N"]
    confidences: Float[np.ndarray, "V N"]
    labels: Int32[np.ndarray, " N"]

    @property
    def right(self) -> Bool[np.ndarray, "V N"]:
        return self.predictions == self.labels

    def by_class(self, rows: list[int], classes: int) -> list[float | None]:
        """The accuracy on each class in some of the views; None for one without images."""
        hits = np.bincount(self.labels, self.right[rows].sum(0), classes)
        looks = len(rows) * np.bincount(self.labels, minlength=classes)
        return [float(hit / of) if of else None for hit, of in zip(hits, looks, strict=True)]

    def calibration(self, rows: list[int]) -> float | None:
        """The expected calibration error over some of the views."""
        return calibration_error(self.confidences[rows].reshape(-1), self.right[rows].reshape(-1))


def answered(logits: Float[np.ndarray, "N K"]) -> dict[str, np.ndarray]:
    """The predictions and confidences [N] of one view, as small as they can be kept: half precision is 0.05 points."""
    predictions = logits.argmax(-1).astype(np.min_scalar_type(logits.shape[1] - 1))
    shares = softmax(logits.astype(np.float32), axis=-1)
    return {"predictions": predictions, "confidences": shares.max(-1).astype(np.float16)}
