"""What labels and predictions tell: the worst classes, the failing images, and labels that look wrong."""

import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.diagnosis import diagnose


def scored(labels: np.ndarray, classes: int = 3, seed: int = 0) -> np.ndarray:
    """Logits that are right, more or less surely."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 6
    return logits


def test_classes_and_what_they_are_taken_for():
    labels = np.array([0, 0, 1, 1, 1, 2])
    predictions = np.array([0, 0, 2, 2, 0, 2])
    found = diagnose(labels, predictions, class_names=("ant", "bee", "cat"))
    assert [(each.name, each.errors.value, each.taken_for) for each in found.classes] == [
        ("bee", 1.0, "cat"),
        ("ant", 0.0, None),
        ("cat", 0.0, None),
    ]
    assert found.failing.tolist() == [2, 3, 4] and found.errors.value == 0.5 and not len(found.doubtful)
    assert found.errors.low < 0.5 < found.errors.high
    assert str(found) == "3 of 6 images are wrong (50.0 %), most often of class bee (100.0 %), taken for cat."


def test_wrong_labels_are_found_and_the_surest_mistakes_come_first():
    true = np.arange(90) % 3
    labels, logits = true.copy(), scored(true)
    labels[[7, 40]] = (labels[[7, 40]] + 1) % 3
    logits[7] *= 1.5
    logits[40] *= 2
    found = diagnose(labels, logits)
    assert found.doubtful.tolist() == [40, 7] and found.failing.tolist() == [40, 7]
    assert "2 labels look wrong" in found.summary
    powers = np.exp(logits)
    as_probabilities = diagnose(labels, powers / powers.sum(-1, keepdims=True))
    assert as_probabilities.doubtful.tolist() == [40, 7]
    hesitant = scored(true)
    hesitant[5] = [0.1, 0.0, 0.2]  # wrong, or nearly so, but not sure of it
    assert 5 not in diagnose(true, hesitant).doubtful


def test_equal_images_of_different_labels_are_doubtful():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    images[5], images[4] = images[0], images[1]
    labels = np.array([0, 1, 0, 1, 1, 1])
    assert diagnose(labels, labels, images).doubtful.tolist() == [0, 5]
    assert "0 of 6 images are wrong (0.0 %); 2 labels look wrong" in str(diagnose(labels, labels, images))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("labels", "predictions", "more", "words"),
    [
        (np.zeros((3, 2), int), np.zeros(3, int), {}, "labels of shape"),
        (np.zeros(3), np.zeros(3, int), {}, "labels of shape .3,. and type float64: give one whole number an image"),
        (np.zeros(3, int), np.zeros(4, int), {}, "predictions of shape .4,. do not fit 3 labels"),
        (np.zeros(3, int), np.zeros(3, int), {"images": np.zeros((2, 4, 4))}, "images of shape .* do not fit 3 labels"),
        (np.array([0, 3]), np.zeros((2, 3)), {}, "labels go from 0 to 3, but there are 3 classes"),
        (np.array([0, 1]), np.array([0, 1]), {"class_names": ("cat",)}, "but there are 1 classes"),
    ],
)
def test_what_does_not_fit_is_told(labels, predictions, more, words):
    with pytest.raises(InputError, match=words):
        diagnose(labels, predictions, **more)
