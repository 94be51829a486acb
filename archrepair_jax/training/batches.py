"""Examples on the device, and how a step draws its batch from them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Shaped

from archrepair_jax.data.augment import augment
from archrepair_jax.data.order import batch_indices
from archrepair_jax.keys import named
from archrepair_jax.training.parallel import share


class Samples(struct.PyTreeNode):
    """Inputs [N, …], each with a tag [N] that says what applies to it: its region, its label."""

    inputs: Float[Array, "N ..."]
    tags: Int[Array, "N"]


class Pool(struct.PyTreeNode):
    """Everything a step may learn from; whole on every device.

    Attributes:
        inputs: [M, …], uint8 images or float32 features (a block's inputs, computed once).
        labels: [M] int32.
        reference: [M, K] float32, the original network's logits.
        failing: [F] int32, the examples that the original network gets wrong.
        passing: [P] int32, the others.
        key: decides the order.
    """

    inputs: Shaped[Array, "M ..."]
    labels: Int[Array, "M"]
    reference: Float[Array, "M K"]
    failing: Int[Array, "F"]
    passing: Int[Array, "P"]
    key: PRNGKeyArray


class Batch(struct.PyTreeNode):
    """One device's share of a batch; ``passing`` is 1.0 for an example that the original network gets right."""

    inputs: Float[Array, "b ..."]
    labels: Int[Array, "b"]
    reference: Float[Array, "b K"]
    passing: Float[Array, "b"]


def make_pool(
    inputs: Shaped[ArrayLike, "M ..."],
    labels: Int[ArrayLike, "M"],
    reference: Float[ArrayLike, "M K"],
    key: PRNGKeyArray,
) -> Pool:
    """Splits the examples into failing and passing by the original network's logits."""
    chex.assert_rank([labels, reference], [1, 2])  # labels [M, 1] would be compared with every example's answer
    chex.assert_equal_shape_prefix([inputs, labels, reference], 1)
    correct = np.asarray(reference).argmax(-1) == np.asarray(labels)
    indices = [jnp.asarray(np.flatnonzero(chosen), jnp.int32) for chosen in (~correct, correct)]
    return Pool(jnp.asarray(inputs), jnp.asarray(labels), jnp.asarray(reference), *indices, key)


def plain_pool(
    inputs: Shaped[ArrayLike, "M ..."], labels: Int[ArrayLike, "M"], num_classes: int, key: PRNGKeyArray
) -> Pool:
    """Examples to train a network from scratch: no failures, and no original to keep to."""
    everything = jnp.arange(len(labels), dtype=jnp.int32)
    reference = jnp.zeros((len(labels), num_classes), jnp.float32)
    return Pool(jnp.asarray(inputs), jnp.asarray(labels), reference, everything[:0], everything, key)


def scaled(inputs: Shaped[Array, "*shape"]) -> Shaped[Array, "*shape"]:
    """What a network reads: uint8 images scaled to [0, 1], anything else as it is."""
    return inputs / jnp.float32(255) if inputs.dtype == jnp.uint8 else inputs


def draw_batch(
    pool: Pool, step: Int[ArrayLike, ""], size: int, failing_share: float, names: tuple[str, ...] = ()
) -> Batch:
    """This device's share of the batch of ``step``, a function of the pool's key and the step alone.

    ``failing_share`` of the ``size`` examples are failing ones, which are rare in the pool but are what a repair is
    about; where there are none (or no passing ones) the others fill the batch. uint8 images are scaled to [0, 1] and
    augmented by ``names``.
    """
    failing_key, passing_key, augment_key = (named(pool.key, use) for use in ("failing", "passing", "augment"))
    failing = round(size * failing_share) if len(pool.failing) and len(pool.passing) else size * bool(len(pool.failing))
    parts = [
        indices[batch_indices(key, step, count, len(indices))]
        for key, indices, count in ((failing_key, pool.failing, failing), (passing_key, pool.passing, size - failing))
        if count
    ]
    chosen, position = share(jnp.concatenate(parts)), share(jnp.arange(size))
    inputs = pool.inputs[chosen]
    if inputs.dtype == jnp.uint8:
        image_keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(augment_key, step), i))(position)
        inputs = augment(scaled(inputs), image_keys, names)
    passing = (position >= failing).astype(jnp.float32)
    return Batch(inputs, pool.labels[chosen], pool.reference[chosen], passing)


def repair_loss(logits: Float[Array, "b K"], batch: Batch, preserve: float) -> Float[Array, ""]:
    """The mean of ``repair_losses``."""
    return repair_losses(logits, batch, preserve).mean()


def repair_losses(logits: Float[Array, "b K"], batch: Batch, preserve: float) -> Float[Array, "b"]:
    """Cross-entropy, plus ``preserve`` times KL(original ‖ network) where the original is right (our choice).

    The second term protects what works already: it asks for the original's whole answer, not just for its label.
    """
    entropy = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    log_probabilities = jax.nn.log_softmax(logits)
    kept = optax.losses.kl_divergence_with_log_targets(log_probabilities, jax.nn.log_softmax(batch.reference))
    return entropy + preserve * batch.passing * kept
