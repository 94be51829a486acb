"""Attacks stay in the ball and in the range, and reach the closed-form optimum where there is one; on uint8 too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.localization import fgsm, pgd
from archrepair_jax.views import view as views
from archrepair_jax.views.attacks import GREY_LEVELS, attacked
from archrepair_jax.views.view import View

SHAPE, CLASSES = (4, 4, 3), 5
HIDDEN, OUT = (
    jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(int(np.prod(SHAPE)), 16), (16, CLASSES)])
)


def curved(x):
    return jnp.tanh(x.reshape(len(x), -1) @ HIDDEN) @ OUT


def linear(x):
    """Two classes, so that the loss is monotone in one linear function of the image."""
    return x.reshape(len(x), -1) @ HIDDEN[:, :2]


def losses(classify, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(classify(x), y)


def batch(classes, n=6):
    return jax.random.uniform(jax.random.key(7), (n, *SHAPE)), jnp.arange(n) % classes


@functools.partial(jax.jit, static_argnames=("classify", "random_start"))
def both(x, y, key, eps, step_size, classify=curved, random_start=True):
    """Both attacks, under jit, which also shows that eps and step_size may be traced."""
    walked = pgd(classify, x, y, key if random_start else None, eps=eps, step_size=step_size, steps=4)
    return fgsm(classify, x, y, eps=eps), walked


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(eps=st.floats(0, 0.5, width=32), ratio=st.floats(0.125, 4, width=32), seed=st.integers(0, 99))
def test_every_attack_stays_in_the_ball_and_in_the_range(eps, ratio, seed):
    x, y = batch(CLASSES)
    for images in both(x, y, jax.random.key(seed), eps, eps * ratio):
        assert jnp.abs(images - x).max() <= eps + 1e-6
        assert 0 <= images.min() and images.max() <= 1


def test_without_room_nothing_changes():
    x, y = batch(CLASSES)
    for images in both(x, y, jax.random.key(0), 0.0, 0.0):
        np.testing.assert_array_equal(images, x)


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.01, 0.2])
def test_both_reach_the_optimum_of_a_linear_model(eps):
    x, y = batch(2)
    away = jnp.stack([HIDDEN[:, 1] - HIDDEN[:, 0], HIDDEN[:, 0] - HIDDEN[:, 1]])[y].reshape(x.shape)
    optimum = jnp.clip(x + eps * jnp.sign(away), 0, 1)
    stepped, walked = both(x, y, jax.random.key(0), eps, eps / 2, classify=linear)
    np.testing.assert_allclose(stepped, optimum, atol=1e-6)
    np.testing.assert_allclose(walked, optimum, atol=1e-6)
    assert (losses(linear, walked, y) >= losses(linear, stepped, y) - 1e-5).all()


@pytest.mark.slow
def test_attacks_raise_the_loss_and_walking_raises_it_more():
    x, y = batch(CLASSES, n=40)
    step, walk = both(x, y, jax.random.key(0), 0.1, 0.05)
    clean, stepped, walked = (losses(curved, images, y).mean() for images in (x, step, walk))
    assert clean < stepped < walked


def test_an_image_is_perturbed_alike_in_any_batch():
    x, y = batch(CLASSES)
    for together, alone in zip(
        *(both(x[s], y[s], jax.random.key(0), 0.1, 0.05, random_start=False) for s in (slice(None), slice(2, 3))),
        strict=True,
    ):
        np.testing.assert_allclose(together[2:3], alone, atol=1e-6)


@pytest.fixture(scope="module")
def classified():
    """A network, its variables, images and the labels that it gives them."""
    network = tiny_networks.plain_network()
    variables = tiny_networks.random_variables(network)
    images, _ = tiny_networks.random_examples(network, 30)
    variables["params"]["head"]["linear"]["bias"] -= network.apply(variables, images / np.float32(255)).mean(0)
    return network, variables, images, labels(network, variables, images)


def labels(network, variables, images):
    return np.asarray(network.apply(variables, images / np.float32(255)).argmax(-1), np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", views.ATTACKS)
@pytest.mark.parametrize("severity", [1, 5])
def test_attacked_images_are_grey_levels_in_the_ball(classified, kind, severity):
    images = classified[2]
    copies = attacked(*classified, View(kind, severity), jax.random.key(0))
    assert (copies.dtype, copies.shape) == (np.uint8, images.shape)
    distance = np.abs(copies.astype(int) - images)
    assert distance.max() == GREY_LEVELS[severity - 1]
    if kind == "fgsm":  # all the way, but where the range ends or no gradient is
        inside = (images >= GREY_LEVELS[severity - 1]) & (images <= 255 - GREY_LEVELS[severity - 1])
        assert set(np.unique(distance[inside])) <= {0, GREY_LEVELS[severity - 1]}


def test_attacked_images_are_misread_the_more_the_larger_the_ball(classified):
    network, variables, images, given = classified
    wrong = [
        (labels(network, variables, attacked(*classified, View("pgd", severity), jax.random.key(0))) != given).mean()
        for severity in (1, 3, 5)
    ]
    assert 0 <= wrong[0] < wrong[1] < wrong[2]


@pytest.mark.slow
def test_the_attacked_copy_of_an_image_does_not_depend_on_the_others(classified, monkeypatch):
    network, variables, images, given = classified
    whole = attacked(*classified, View("pgd", 3), jax.random.key(0))
    monkeypatch.setattr(views, "CHUNK", 7)
    some = attacked(network, variables, images[:9], given[:9], View("pgd", 3), jax.random.key(0))
    assert (np.abs(some.astype(int) - whole[:9]) > 1).mean() < 0.01  # a sign may tip where a gradient is almost zero
    rows = np.array([8, 3])
    two = attacked(network, variables, images[rows], given[rows], View("pgd", 3), jax.random.key(0), rows)
    assert (np.abs(two.astype(int) - whole[rows]) > 1).mean() < 0.01
    other = attacked(*classified, View("pgd", 3), jax.random.key(1))
    assert (other != whole).mean() > 0.1


def test_an_adaptive_attack_on_the_original_is_the_attack_on_the_original(classified):
    network, _, images, given = classified
    plain, adaptive = (attacked(*classified, View(kind, 3), jax.random.key(0)) for kind in ("pgd", "adaptive_pgd"))
    np.testing.assert_array_equal(plain, adaptive)
    others = tiny_networks.random_variables(network, seed=1)
    on_another = attacked(network, others, images, given, View("adaptive_pgd", 3), jax.random.key(0))
    assert (on_another != plain).mean() > 0.1
