"""The accuracy of any classifier in several views of the same images."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Array, Float, Int32, PRNGKeyArray, Shaped, UInt8

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.metrics import Rate, accuracy
from archrepair_jax.views.view import View, render

BATCH = 500
Classify = Callable[[Float[np.ndarray, "B H W C"]], Shaped[Array | np.ndarray, "B ..."]]


def accuracies(
    classify: Classify,
    images: UInt8[np.ndarray, "N H W C"],
    labels: Int32[np.ndarray, " N"],
    views: Sequence[View],
    key: PRNGKeyArray,
) -> dict[str, Rate]:
    """By view, with Wilson's interval; ``classify`` gets images in [0, 1] and gives logits [B, K] or labels [B].

    Raises InputError where it gives anything else.
    """
    found = {}
    for view in views:
        shown = render(images, view, key)
        parts = [answers(classify, shown[start : start + BATCH]) for start in range(0, len(shown), BATCH)]
        found[str(view)] = accuracy((np.concatenate(parts) == labels)[None])
    return found


def answers(classify: Classify, images: UInt8[np.ndarray, "B H W C"]) -> Shaped[np.ndarray, " B"]:
    given = np.asarray(classify(images / np.float32(255)))
    if given.shape[:1] != (len(images),) or given.ndim > 2:
        raise InputError(f"for {len(images)} images the model gives {given.shape}: give logits [B, K] or labels [B]")
    return given.argmax(-1) if given.ndim == 2 else given
