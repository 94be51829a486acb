"""Which examples are shown: a fair draw from the views, the same in every run, with the images that were judged."""

import numpy as np
import pytest

from archrepair_jax.data.splits import Split
from archrepair_jax.evaluation.answers import Answers
from archrepair_jax.line.gallery import SHOWN, drawn, gallery, pictured
from archrepair_jax.views.view import CLEAN, View

VIEWS = CLEAN, View("fog", 3), View("adaptive_pgd", 2)


def answers(predictions):
    rows = np.array(predictions, np.uint8)
    return Answers(rows, np.full(rows.shape, 0.75, np.float16), np.array([0, 1, 2], np.int32))


def test_views_take_turns_and_the_lot_decides_within_them():
    of = np.zeros((5, 400), bool)
    of[0], of[2, 7], of[4, :40] = True, True, True
    pairs = drawn(of, 0, "repaired")
    assert len(pairs) == SHOWN and of[tuple(pairs.T)].all() and len({tuple(pair) for pair in pairs}) == SHOWN
    views = pairs[:, 0].tolist()
    assert views == sorted(views) and views.count(2) == 1 and {views.count(0), views.count(4)} <= {5, 6}
    assert pairs[:, 1].max() > 40, "not the first ones"
    np.testing.assert_array_equal(pairs, drawn(of, 0, "repaired"))
    assert (pairs != drawn(of, 1, "repaired")).any() and (pairs != drawn(of, 0, "broken")).any()


@pytest.mark.parametrize("images", [1, 5])
def test_of_few_examples_all_are_shown(images):
    of = np.eye(3, images, dtype=bool)
    np.testing.assert_array_equal(drawn(of, 0, "broken"), np.argwhere(of))
    assert drawn(~of & of, 0, "broken").shape == (0, 2)


def test_the_section_tells_what_was_said_before_and_after():
    before, after = answers([[0, 0, 2], [1, 1, 1], [1, 1, 2]]), answers([[0, 1, 2], [2, 0, 2], [0, 1, 2]])
    told = gallery("search", before, after, VIEWS, 0)
    assert told["arm"] == "search" and [told[name]["count"] for name in ("repaired", "broken")] == [3, 1]
    places = [(each["kind"], each["severity"], each["image"], each["label"]) for each in told["repaired"]["shown"]]
    assert places == [("clean", 0, 1, 1), ("fog", 3, 2, 2)], "an adaptive attack has two images"
    assert told["broken"]["shown"] == [
        {
            "kind": "fog", "severity": 3, "image": 1, "label": 1, "before": {"prediction": 1, "confidence": 0.75},
            "after": {"prediction": 0, "confidence": 0.75},
        }
    ]  # fmt: skip


def test_pictures_are_of_the_images_named_one_call_a_view():
    images, asked = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1), []

    def show(view, split, rows):
        asked.append((view, split.labels.tolist(), rows.tolist()))
        return split.images + np.uint8(100 * view.severity)

    test = Split(images, np.array([0, 1, 2], np.int32))
    places = [("fog", 1, 2), ("clean", 0, 0), ("fog", 1, 0)]
    found = pictured([dict(zip(("kind", "severity", "image"), each, strict=True)) for each in places], test, show)
    assert asked == [(View("fog", 1), [2, 0], [2, 0]), (CLEAN, [0], [0])]
    np.testing.assert_array_equal(found, np.stack([images[2] + 100, images[0], images[0] + 100]))
    assert pictured([], test, show).shape == (0, 2, 2, 1)
