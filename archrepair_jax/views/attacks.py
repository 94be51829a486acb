"""Adversarial examples in the L-infinity ball: FGSM (Goodfellow et al., 2015) and PGD (Madry et al., 2018).

Images are in [0, 1]; ``eps`` and ``step_size`` are in the same units and may be traced.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Int32, PRNGKeyArray, UInt8

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.views.view import View, copied, view_key

GREY_LEVELS = (2, 4, 8, 16, 32)  # of 255: the balls' radii at severity 1 to 5, our choice; 8 is usual for colour images
PGD_STEPS = 10

Classifier = Callable[[Float[Array, "B H W C"]], Float[Array, "B K"]]
Number = Float[ArrayLike, ""]


def fgsm(
    apply_fn: Classifier, x: Float[Array, "B H W C"], y: Int[Array, " B"], *, eps: Number
) -> Float[Array, "B H W C"]:
    """One step of length ``eps`` along the sign of the loss gradient."""
    return _step(apply_fn, x, x, y, eps, eps)


def pgd(
    apply_fn: Classifier,
    x: Float[Array, "B H W C"],
    y: Int[Array, " B"],
    key: PRNGKeyArray | None,
    *,
    eps: Number,
    step_size: Number,
    steps: int,
) -> Float[Array, "B H W C"]:
    """``steps`` signed gradient steps, from a uniform point of the ball; without a key from ``x``."""
    start = x
    if key is not None:
        start = jnp.clip(x + eps * jax.random.uniform(key, x.shape, x.dtype, -1, 1), 0, 1)
    return jax.lax.scan(lambda at, _: (_step(apply_fn, at, x, y, eps, step_size), None), start, length=steps)[0]


def attacked(
    network: Network,
    variables: Variables,
    images: UInt8[np.ndarray, "N H W C"],
    labels: Int32[np.ndarray, "N"],
    view: View,
    key: PRNGKeyArray,
    rows: Int[np.ndarray, "N"] | None = None,
) -> UInt8[np.ndarray, "N H W C"]:
    """The images as the attack of ``view`` on this network leaves them, no pixel further than ``GREY_LEVELS`` says.

    Rounding to uint8 cannot leave the ball, since its radius is a whole number of levels. An adaptive view draws the
    same random starts as the one that is not, so on the original network both are the same images. ``rows`` are the
    images' places in their set, where these are not all of it.
    """
    eps = np.float32(GREY_LEVELS[view.severity - 1] / 255)
    steps, step_size = (1, eps) if view.attack == "fgsm" else (PGD_STEPS, 2.5 * eps / PGD_STEPS)  # as Madry et al.

    def copy(keys, images, labels):
        x = images / np.float32(255)
        at = x if view.attack == "fgsm" else _random_start(x, keys, eps)
        for _ in range(steps):  # and not pgd, whose loop on the device takes CPUs twice as long
            at = _climb(network, variables, at, x, labels, eps, step_size)
        return np.round(255 * np.asarray(at)).astype(np.uint8)

    return copied(copy, view_key(key, view.attack, view.severity), images, labels, rows=rows)


@jax.jit
def _random_start(x, keys, eps):
    """A uniform point of each image's ball, whatever batch it is in."""
    noise = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype, -1, 1))(keys)
    return jnp.clip(x + eps * noise, 0, 1)


@functools.partial(jax.jit, static_argnums=0)
def _climb(network, variables, at, x, y, eps, step_size):
    return _step(functools.partial(network.apply, variables), at, x, y, eps, step_size)


def _step(apply_fn, at, x, y, eps, step_size):
    """From ``at`` up the loss; back to within ``eps`` of ``x``, then to [0, 1], which cannot leave the ball again."""

    def loss(images):  # summed, so an example's gradient does not depend on the batch it is in
        return optax.softmax_cross_entropy_with_integer_labels(apply_fn(images), y).sum()

    moved = at + step_size * jnp.sign(jax.grad(loss)(at))
    return jnp.clip(x + jnp.clip(moved - x, -eps, eps), 0, 1)
