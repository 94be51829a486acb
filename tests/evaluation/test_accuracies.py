"""Any classifier's accuracy in several views of the same images."""

import jax
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.accuracies import BATCH, accuracies
from archrepair_jax.views.view import CLEAN, View, render


def test_every_view_is_shown_whole_and_in_the_units_that_are_promised():
    rng, key, seen = np.random.default_rng(0), jax.random.key(0), []
    images = rng.integers(0, 256, (BATCH + 3, 8, 8, 1), np.uint8)
    labels = rng.integers(0, 2, len(images)).astype(np.int32)

    def classify(shown):
        seen.append(shown)
        return (shown.mean((1, 2, 3)) > 0.5).astype(int)

    views = (CLEAN, View("contrast", 5))
    found = accuracies(classify, images, labels, views, key)
    assert list(found) == ["clean", "contrast-5"] and [len(shown) for shown in seen] == [BATCH, 3, BATCH, 3]
    for view, parts in zip(views, (seen[:2], seen[2:]), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), render(images, view, key) / np.float32(255))
        expected = ((np.concatenate(parts).mean((1, 2, 3)) > 0.5) == labels).mean()
        assert found[str(view)].value == expected and found[str(view)].count == BATCH + 3


def test_logits_are_as_good_as_labels_and_nothing_else_is():
    images, labels = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 1, 1], np.int32)
    found = accuracies(lambda x: np.tile([0.1, 0.2], (len(x), 1)), images, labels, (CLEAN,), jax.random.key(0))
    assert found["clean"].value == 0.75
    with pytest.raises(InputError, match=r"for 4 images the model gives \(4, 1, 1\): give logits \[B, K\] or labels"):
        accuracies(lambda x: np.zeros((len(x), 1, 1)), images, labels, (CLEAN,), jax.random.key(0))
