"""Losses and optimizers under Keras's names and with Keras's constants.

Both are what Keras 2 computes, not what JAX or optax have by default: probabilities are clipped to [1e-7, 1 - 1e-7],
and epsilons are 1e-7. Cross-entropies behind their own activation are computed from what goes into that, as Keras does.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

EPSILON = 1e-7

Rows = Float[Array, "B K"]
Losses = Float[Array, "B"]


def _log(p: Rows) -> Rows:
    return jnp.log(jnp.clip(p, EPSILON, 1 - EPSILON))


def _signs(y: Rows) -> Rows:
    return 2 * y - 1


def _categorical(y: Rows, p: Rows) -> Losses:
    return -(y * _log(p / p.sum(-1, keepdims=True))).sum(-1)


def _one_hot(y: Rows) -> Rows:
    return jax.nn.one_hot(y.argmax(-1), y.shape[-1])


def _categorical_hinge(y: Rows, p: Rows) -> Losses:
    return jnp.maximum(0.0, 1.0 + ((1 - y) * p).max(-1) - (y * p).sum(-1))


def _squared_logarithm(y: Rows, p: Rows) -> Losses:
    return ((jnp.log1p(jnp.maximum(p, EPSILON)) - jnp.log1p(jnp.maximum(y, EPSILON))) ** 2).mean(-1)


def _divergence(y: Rows, p: Rows) -> Losses:
    y, p = jnp.clip(y, EPSILON, 1.0), jnp.clip(p, EPSILON, 1.0)
    return (y * jnp.log(y / p)).sum(-1)


def _log_cosh(y: Rows, p: Rows) -> Losses:
    apart = p - y
    return (apart + jax.nn.softplus(-2.0 * apart) - jnp.log(2.0)).mean(-1)


SPARSE = "sparse_categorical_crossentropy"
LOSSES: Mapping[str, Callable[[Rows, Rows], Losses]] = {
    "mean_squared_error": lambda y, p: ((y - p) ** 2).mean(-1),
    "mean_absolute_error": lambda y, p: jnp.abs(y - p).mean(-1),
    "mean_absolute_percentage_error": lambda y, p: 100 * (jnp.abs(y - p) / jnp.maximum(jnp.abs(y), EPSILON)).mean(-1),
    "mean_squared_logarithmic_error": _squared_logarithm,
    "squared_hinge": lambda y, p: (jnp.maximum(0.0, 1 - _signs(y) * p) ** 2).mean(-1),
    "hinge": lambda y, p: jnp.maximum(0.0, 1 - _signs(y) * p).mean(-1),
    "categorical_hinge": _categorical_hinge,
    "logcosh": _log_cosh,
    "categorical_crossentropy": _categorical,
    SPARSE: lambda y, p: _categorical(_one_hot(y), p),
    "binary_crossentropy": lambda y, p: -(y * _log(p) + (1 - y) * _log(1 - p)).mean(-1),
    "kullback_leibler_divergence": _divergence,
    "poisson": lambda y, p: (p - y * jnp.log(p + EPSILON)).mean(-1),
}
FUSED: Mapping[tuple[str, str], Callable[[Rows, Rows], Losses]] = {  # of what goes into the last activation
    ("categorical_crossentropy", "softmax"): lambda y, z: -(y * jax.nn.log_softmax(z)).sum(-1),
    (SPARSE, "softmax"): lambda y, z: -(_one_hot(y) * jax.nn.log_softmax(z)).sum(-1),
    ("binary_crossentropy", "sigmoid"): lambda y, z: (jax.nn.softplus(z) - y * z).mean(-1),
}
OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {  # by the rate, which may be traced
    "sgd": optax.sgd,
    "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.9, eps=EPSILON),
    "adagrad": lambda rate: optax.adagrad(rate, initial_accumulator_value=0.1, eps=EPSILON),
    "adadelta": lambda rate: optax.adadelta(rate, rho=0.95, eps=EPSILON),
    "adam": lambda rate: optax.adam(rate, eps=EPSILON),
    "adamax": lambda rate: optax.adamax(rate, eps=EPSILON),
    "nadam": lambda rate: optax.nadam(rate, eps=EPSILON),
}
DEFAULT_RATES = {  # Keras's own
    "sgd": 0.01, "rmsprop": 1e-3, "adagrad": 1e-3, "adadelta": 1e-3, "adam": 1e-3, "adamax": 1e-3, "nadam": 1e-3
}  # fmt: skip


def losses(name: str, activation: str, y: Rows, z: Rows, p: Rows) -> Losses:
    """The loss of each row.

    Args:
        name: a key of ``LOSSES``.
        activation: the last layer's, a key of ``ACTIVATIONS``.
        y: targets: classes as one-hot rows, or numbers.
        z, p: what goes into the last activation, and what comes out.
    """
    if fused := FUSED.get((name, activation)):
        return fused(y, z)
    return LOSSES[name](y, p)
