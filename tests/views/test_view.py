"""Corrupted copies: drawn once, the same wherever they are asked for."""

import jax
import numpy as np
import pytest

from archrepair_jax.data.corruptions import corrupt_one
from archrepair_jax.views import view as views
from archrepair_jax.views.view import CLEAN, View, render

NOISE = View("gaussian_noise", 3)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 28, 28, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def copies(images):
    return render(images, NOISE, jax.random.key(0))


def test_the_clean_view_is_the_images_themselves(images):
    assert render(images, CLEAN, jax.random.key(0)) is images


def test_copies_are_images_of_the_same_kind(images, copies):
    assert (copies.dtype, copies.shape) == (np.uint8, images.shape)
    difference = np.abs(copies.astype(int) - images)
    assert 5 < difference.mean() < 40  # noise with a deviation of 0.08, in grey levels
    assert not np.shares_memory(images, copies)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [2, 9, 4])
def test_copies_do_not_depend_on_chunks(images, copies, chunk, monkeypatch):
    monkeypatch.setattr(views, "CHUNK", chunk)
    np.testing.assert_array_equal(render(images, NOISE, jax.random.key(0)), copies)


def test_the_copy_of_an_image_does_not_depend_on_the_others(images, copies):
    np.testing.assert_array_equal(render(images[:4], NOISE, jax.random.key(0)), copies[:4])
    others = np.concatenate([images[:1] * 0, images[1:]])
    np.testing.assert_array_equal(render(others, NOISE, jax.random.key(0))[1:], copies[1:])
    rows = np.array([7, 2])
    np.testing.assert_array_equal(render(images[rows], NOISE, jax.random.key(0), rows), copies[rows])


def test_every_image_key_kind_and_severity_has_its_own_draw(images):
    same = np.full((2, 28, 28, 1), 128, np.uint8)
    first, second = render(same, NOISE, jax.random.key(0)).astype(int)
    other = render(same, NOISE, jax.random.key(1))[0]
    harder = render(same, View("gaussian_noise", 5), jax.random.key(0))[0].astype(int)
    assert (first != second).mean() > 0.9
    assert (first != other).mean() > 0.9
    correlation = np.corrcoef((first - 128).ravel(), (harder - 128).ravel())[0, 1]
    assert abs(correlation) < 0.3  # not the same noise, only stronger


def test_copies_are_the_corruption_within_a_grey_level(images):
    blurred = render(images[:2], View("defocus_blur", 4), jax.random.key(0))
    exact = [
        corrupt_one(image / np.float32(255), jax.random.key(0), kind="defocus_blur", severity=4) for image in images[:2]
    ]
    assert np.abs(np.asarray(exact) * 255 - blurred).max() <= 1 + 1e-3


def test_views_have_names():
    assert [str(view) for view in (CLEAN, NOISE)] == ["clean", "gaussian_noise-3"]


@pytest.mark.parametrize(
    ("kind", "attack", "adaptive"),
    [("clean", "", False), ("fog", "", False), ("pgd", "pgd", False), ("adaptive_fgsm", "fgsm", True)],
)
def test_attacks_are_told_from_corruptions(kind, attack, adaptive):
    view = View(kind, 3)
    assert (view.attack, view.adaptive) == (attack, adaptive)
