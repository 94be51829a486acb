"""What networks say: kept small, right class by class, and how sure they are of it."""

import numpy as np
import pytest

from archrepair_jax.evaluation.answers import Answers, answered
from archrepair_jax.evaluation.metrics import calibration_error


def test_what_is_kept_of_logits_is_the_answer_and_its_share():
    kept = answered(np.log(np.array([[0.25, 0.75], [0.625, 0.375]], np.float32)))
    assert kept["predictions"].tolist() == [1, 0] and kept["predictions"].dtype == np.uint8
    np.testing.assert_allclose(kept["confidences"], [0.75, 0.625], atol=5e-4)
    assert answered(np.eye(300, dtype=np.float32))["predictions"].tolist() == list(range(300))
    assert answered(np.array([[1e4, 0.0]], np.float32))["confidences"] == 1


def test_accuracy_by_class_is_over_the_views_named():
    labels = np.array([0, 0, 2], np.int32)
    said = Answers(np.array([[0, 1, 2], [0, 0, 1]]), np.ones((2, 3)), labels)
    assert said.by_class([0], 3) == [0.5, None, 1.0]
    assert said.by_class([0, 1], 4) == [0.75, None, 0.5, None]
    assert said.calibration([0]) == pytest.approx(1 / 3) and said.calibration([]) is None


def test_the_calibration_error_by_hand():
    confidences, right = np.array([0.9, 0.9, 0.9, 0.9, 0.55, 0.55]), np.array([1, 1, 1, 0, 1, 0], bool)
    assert calibration_error(confidences, right) == pytest.approx((4 * 0.15 + 2 * 0.05) / 6)
    assert calibration_error(confidences, right, bins=1) == pytest.approx(4.7 / 6 - 4 / 6)
    assert calibration_error(np.array([0.5, 1.0]), np.array([False, True]), bins=2) == pytest.approx(
        0.25
    )  # closed above


def test_whoever_is_right_as_often_as_sure_is_calibrated():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.1, 1, 100_000)
    right = rng.random(100_000) < sure
    assert calibration_error(sure, right) < 0.01 < 0.2 < calibration_error(sure, ~right)
    assert (
        calibration_error(sure, sure > 2) == pytest.approx(sure.mean())
        and calibration_error(sure[:0], right[:0]) is None
    )
