"""The examples of a report: small pictures, and words that say what they show."""

import io

import numpy as np
import pytest
from PIL import Image

from archrepair_jax.reporting.gallery import LARGEST, draw_all, in_front, section
from archrepair_jax.reporting.report import assemble


def pictures(shape):
    return np.random.default_rng(0).integers(0, 256, (14, *shape), dtype=np.uint8)


@pytest.mark.parametrize(("shape", "mode"), [((8, 8, 1), "L"), ((32, 32, 3), "RGB")])
def test_a_small_picture_is_the_image_itself(record, shape, mode):
    images = pictures(shape)
    drawn = draw_all(assemble(record), images)
    assert list(drawn) == [f"repaired-{n}" for n in range(1, 13)] + ["broken-1", "broken-2"]
    for png, image in zip(drawn.values(), images, strict=True):
        shown = Image.open(io.BytesIO(png))
        assert shown.mode == mode
        np.testing.assert_array_equal(np.asarray(shown).reshape(shape), image)


def test_large_pictures_are_brought_down_and_keep_their_form(record):
    drawn = draw_all(assemble(record), pictures((300, 150, 3)))
    assert {Image.open(io.BytesIO(png)).size for png in drawn.values()} == {(LARGEST // 2, LARGEST)}
    assert sum(map(len, draw_all(assemble(record), pictures((224, 224, 3))).values())) < 1_000_000


def test_of_vectors_there_are_words_alone(record):
    assert draw_all(assemble(record), pictures((1, 16, 1))) == {}
    text = "\n".join(section(assemble(record), ()))
    assert "![" not in text and "- **c**: b (62.5 %) before, c (50.0 %) after; clean, test image 0" in text


def test_it_says_how_many_there_are_and_of_which_arm(record):
    report = assemble(record)
    text = section(report, draw_all(report, pictures((8, 8, 1))))
    assert "of which 'search' changed the answer" in text[1]
    assert text[2] == "### Wrong before, right now: 12 of 203" and text[4] == "### Right before, wrong now: 2 of 84"
    shown = text[5].splitlines()
    assert shown[1] == (
        "- ![b, gaussian noise 3](figures/broken-2.png) "
        "**b**: b (62.5 %) before, c (50.0 %) after; gaussian noise 3, test image 7"
    )


def test_nothing_broken_is_said_and_without_a_gallery_nothing(record):
    record["gallery"]["broken"] = {"count": 0, "shown": []}
    assert section(assemble(record), ())[-2:] == ["### Right before, wrong now: 0 of 0", "None."]
    assert section(assemble(record | {"gallery": None}), ()) == []
    assert draw_all(assemble(record | {"gallery": None}), ()) == {}


def test_an_image_is_shown_in_front_of_the_block_and_behind_it(looked_through):
    report = assemble(looked_through | {"gallery": None})
    images = pictures((8, 8, 1))[:4]
    drawn = draw_all(report, images)
    assert list(drawn) == ["view-1-in", "view-1-out", "view-2-in", "view-2-out"]
    for png, image in zip(drawn.values(), images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), image[..., 0])
    head, told, lines = in_front(report, drawn)
    assert "One whose label is c," in told and "image 7 of the guard's" in told
    assert lines.splitlines()[1] == (
        "- ![fog 5, in front](figures/view-2-in.png) ![fog 5, behind](figures/view-2-out.png) "
        "**fog 5**: b (62.5 %) before, c (50.0 %) after"
    )


def test_without_such_a_block_or_its_pictures_nothing_is_shown(record, looked_through):
    assert in_front(assemble(record), ()) == []
    assert in_front(assemble(looked_through), draw_all(assemble(looked_through), pictures((1, 16, 1)))) == []
