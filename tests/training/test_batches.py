"""What a step draws, and the loss it descends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from archrepair_jax.training.batches import Batch, draw_batch, make_pool, plain_pool, repair_loss
from archrepair_jax.training.parallel import AXIS


def pool_of(failing: int, passing: int):
    """Examples whose input is their number; the failing ones come first."""
    count = failing + passing
    labels = np.arange(count, dtype=np.int32) % 3
    answers = (labels + (np.arange(count) < failing)) % 3
    return make_pool(
        np.arange(count, dtype=np.float32), labels, np.eye(3, dtype=np.float32)[answers], jax.random.key(7)
    )


def drawn(pool, step: int, size: int, share: float, names=(), devices: int = 1) -> Batch:
    """The whole batch, from all devices."""
    parts = jax.vmap(lambda _: draw_batch(pool, jnp.int32(step), size, share, names), axis_name=AXIS)(
        jnp.zeros(devices)
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), parts)


def test_a_pool_knows_what_fails():
    pool = pool_of(5, 11)
    assert pool.failing.tolist() == list(range(5))
    assert pool.passing.tolist() == list(range(5, 16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failing", "passing", "share", "expected"),
    [(20, 20, 0.5, 4), (20, 20, 0.25, 2), (20, 20, 1.0, 8), (20, 20, 0.0, 0), (3, 20, 0.5, 4), (20, 3, 0.5, 4)]
    + [(0, 20, 0.5, 0), (20, 0, 0.5, 8), (20, 0, 0.0, 8), (1, 0, 0.5, 8), (0, 2, 0.5, 0)],
)
def test_the_share_of_failing_examples(failing, passing, share, expected):
    batch = drawn(pool_of(failing, passing), 3, 8, share)
    fails = batch.inputs < failing
    assert fails.sum() == expected
    np.testing.assert_array_equal(batch.passing, (~fails).astype(np.float32))
    np.testing.assert_array_equal(batch.labels, batch.inputs.astype(int) % 3)
    np.testing.assert_array_equal(batch.reference.argmax(-1) != batch.labels, fails)


def test_a_batch_depends_on_the_key_and_the_step_alone():
    pool = pool_of(9, 30)
    batches = [drawn(pool, step, 8, 0.5).inputs.tolist() for step in (0, 1, 2, 1)]
    assert batches[1] == batches[3]
    assert len({tuple(batch) for batch in batches}) == 3
    other = pool.replace(key=jax.random.key(8))
    assert drawn(other, 1, 8, 0.5).inputs.tolist() != batches[1]


def test_an_epoch_visits_every_failing_example_once():
    visited = np.concatenate([drawn(pool_of(8, 30), step, 8, 0.5).inputs[:4] for step in range(2)])
    assert sorted(visited) == list(range(8))


@pytest.mark.slow
def test_devices_share_one_batch_with_the_same_augmentation():
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 6, 1), dtype=np.uint8)
    pool = plain_pool(images, np.zeros(30, np.int32), 3, jax.random.key(0))
    one, two = (drawn(pool, 4, 8, 0.0, ("flip",), devices) for devices in (1, 2))
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_images_are_scaled_and_augmented_anew_each_step_but_features_are_left_alone():
    image = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1) * 7
    pool = plain_pool(image, np.zeros(1, np.int32), 3, jax.random.key(0))
    plain = drawn(pool, 0, 1, 0.0).inputs
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain, image / 255, rtol=1e-6)
    flipped = [drawn(pool, step, 1, 0.0, ("flip",)).inputs for step in range(12)]
    sides = [np.allclose(image[:, :, ::-1] / 255, copy, rtol=1e-6) for copy in flipped]
    assert 0 < sum(sides) < 12
    features = dataclasses.replace(pool, inputs=jnp.asarray(image, jnp.float32))
    np.testing.assert_array_equal(drawn(features, 0, 1, 0.0, ("flip",)).inputs, image)


def test_a_plain_pool_has_no_original_to_keep_to():
    pool = plain_pool(np.zeros((5, 2), np.float32), np.zeros(5, np.int32), 3, jax.random.key(0))
    assert (len(pool.failing), len(pool.passing), pool.reference.shape) == (0, 5, (5, 3))


@pytest.mark.slow
def test_the_loss_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]))
    reference = jnp.log(jnp.array([[0.25, 0.25, 0.5], [0.1, 0.1, 0.8]]))
    batch = Batch(jnp.zeros(2), jnp.array([0, 2]), reference, jnp.array([0.0, 1.0]))
    entropy = -np.log([0.5, 0.6])
    kept = 0.2 * np.log(0.1 / 0.2) + 0.8 * np.log(0.8 / 0.6)
    assert repair_loss(logits, batch, 0.0) == pytest.approx(entropy.mean(), rel=1e-5)
    assert repair_loss(logits, batch, 3.0) == pytest.approx((entropy.sum() + 3 * kept) / 2, rel=1e-5)


@pytest.mark.slow
def test_keeping_to_the_original_costs_nothing_at_the_original():
    logits = jax.random.normal(jax.random.key(0), (6, 4))
    batch = Batch(jnp.zeros(6), jnp.zeros(6, jnp.int32), logits + 3.0, jnp.ones(6))  # a shift changes no probability
    assert float(repair_loss(logits, batch, 100.0)) == pytest.approx(float(repair_loss(logits, batch, 0.0)), rel=1e-5)
    gradient = jax.jit(jax.grad(lambda x: repair_loss(x, batch, 100.0) - repair_loss(x, batch, 0.0)))(logits)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
