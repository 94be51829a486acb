"""Adversarial examples in the L-infinity ball: FGSM (Goodfellow et al., 2015) and PGD (Madry et al., 2018).

Images are in [0, 1]; ``eps`` and ``step_size`` are in the same units and may be traced.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

Classifier = Callable[[Float[Array, "B H W C"]], Float[Array, "B K"]]


def fgsm(
    apply_fn: Classifier, x: Float[Array, "B H W C"], y: Int[Array, " B"], *, eps: float
) -> Float[Array, "B H W C"]:
    """One step of length ``eps`` along the sign of the loss gradient."""
    return _step(apply_fn, x, x, y, eps, eps)


def pgd(
    apply_fn: Classifier,
    x: Float[Array, "B H W C"],
    y: Int[Array, " B"],
    key: PRNGKeyArray,
    *,
    eps: float,
    step_size: float,
    steps: int,
    random_start: bool = True,
) -> Float[Array, "B H W C"]:
    """``steps`` signed gradient steps, from a uniform point of the ball if ``random_start``, else from ``x``."""
    start = x
    if random_start:
        start = jnp.clip(x + eps * jax.random.uniform(key, x.shape, x.dtype, -1, 1), 0, 1)
    return jax.lax.scan(lambda at, _: (_step(apply_fn, at, x, y, eps, step_size), None), start, length=steps)[0]


def _step(apply_fn, at, x, y, eps, step_size):
    """From ``at`` up the loss; back to within ``eps`` of ``x``, then to [0, 1], which cannot leave the ball again."""

    def loss(images):  # summed, so an example's gradient does not depend on the batch it is in
        return optax.softmax_cross_entropy_with_integer_labels(apply_fn(images), y).sum()

    moved = at + step_size * jnp.sign(jax.grad(loss)(at))
    return jnp.clip(x + jnp.clip(moved - x, -eps, eps), 0, 1)
