"""Attacks stay in the ball and in the range, and reach the closed-form optimum where there is one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.localization import fgsm, pgd

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
def attacked(x, y, key, eps, step_size, classify=curved, random_start=True):
    """Both attacks, under jit, which also shows that eps and step_size may be traced."""
    walked = pgd(classify, x, y, key, eps=eps, step_size=step_size, steps=4, random_start=random_start)
    return fgsm(classify, x, y, eps=eps), walked


@settings(max_examples=20, deadline=None)
@given(eps=st.floats(0, 0.5, width=32), ratio=st.floats(0.125, 4, width=32), seed=st.integers(0, 99))
def test_every_attack_stays_in_the_ball_and_in_the_range(eps, ratio, seed):
    x, y = batch(CLASSES)
    for images in attacked(x, y, jax.random.key(seed), eps, eps * ratio):
        assert jnp.abs(images - x).max() <= eps + 1e-6
        assert 0 <= images.min() and images.max() <= 1


def test_without_room_nothing_changes():
    x, y = batch(CLASSES)
    for images in attacked(x, y, jax.random.key(0), 0.0, 0.0):
        np.testing.assert_array_equal(images, x)


@pytest.mark.parametrize("eps", [0.01, 0.2])
def test_both_reach_the_optimum_of_a_linear_model(eps):
    x, y = batch(2)
    away = jnp.stack([HIDDEN[:, 1] - HIDDEN[:, 0], HIDDEN[:, 0] - HIDDEN[:, 1]])[y].reshape(x.shape)
    optimum = jnp.clip(x + eps * jnp.sign(away), 0, 1)
    stepped, walked = attacked(x, y, jax.random.key(0), eps, eps / 2, classify=linear)
    np.testing.assert_allclose(stepped, optimum, atol=1e-6)
    np.testing.assert_allclose(walked, optimum, atol=1e-6)
    assert (losses(linear, walked, y) >= losses(linear, stepped, y) - 1e-5).all()


def test_attacks_raise_the_loss_and_walking_raises_it_more():
    x, y = batch(CLASSES, n=40)
    step, walk = attacked(x, y, jax.random.key(0), 0.1, 0.05)
    clean, stepped, walked = (losses(curved, images, y).mean() for images in (x, step, walk))
    assert clean < stepped < walked


def test_an_image_is_perturbed_alike_in_any_batch():
    x, y = batch(CLASSES)
    for together, alone in zip(
        *(attacked(x[s], y[s], jax.random.key(0), 0.1, 0.05, random_start=False) for s in (slice(None), slice(2, 3))),
        strict=True,
    ):
        np.testing.assert_allclose(together[2:3], alone, atol=1e-6)
