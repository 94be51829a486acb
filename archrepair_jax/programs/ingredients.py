"""What a layer is made of, under Keras's names and with Keras's meaning, which JAX's functions of these names lack.

Domains and meaning after the replication package of Kim et al., *Repairing DNN Architecture: Are We There Yet?* (ICST
2023): eleven activations, thirteen initialisers, four regularisers.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.errors import InputError

ACTIVATIONS: Mapping[str, Callable] = {
    "elu": jax.nn.elu,
    "softmax": jax.nn.softmax,
    "selu": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": lambda x: jnp.clip(0.2 * x + 0.5, 0.0, 1.0),  # not JAX's, which is relu6(x + 3) / 6
    "exponential": jnp.exp,
    "linear": lambda x: x,
}

_INITIALIZERS = {
    "zeros": jax.nn.initializers.zeros,
    "ones": jax.nn.initializers.ones,
    "constant": jax.nn.initializers.constant(0.0),
    "random_normal": jax.nn.initializers.normal(0.05),
    "random_uniform": lambda key, shape: jax.random.uniform(key, shape, minval=-0.05, maxval=0.05),
    "truncated_normal": lambda key, shape: 0.05 * jax.random.truncated_normal(key, -2.0, 2.0, shape),
    "orthogonal": jax.nn.initializers.orthogonal(),
    "lecun_uniform": jax.nn.initializers.lecun_uniform(),
    "glorot_normal": jax.nn.initializers.glorot_normal(),
    "glorot_uniform": jax.nn.initializers.glorot_uniform(),
    "he_normal": jax.nn.initializers.he_normal(),
    "lecun_normal": jax.nn.initializers.lecun_normal(),
    "he_uniform": jax.nn.initializers.he_uniform(),
    "unit_normal": jax.nn.initializers.normal(1.0),  # subject D4's own
}
INITIALIZERS = tuple(_INITIALIZERS)
BY_FANS = ("lecun_uniform", "glorot_normal", "glorot_uniform", "he_normal", "lecun_normal", "he_uniform")

REGULARIZERS = {"none": (0.0, 0.0), "l1": (0.01, 0.0), "l2": (0.0, 0.01), "l1_l2": (0.01, 0.01)}  # of |w| and of w²


def kernel(name: str) -> Callable[..., Float[Array, "..."]]:
    """The initialiser of a kernel, called as Flax does."""
    return lambda key, shape, dtype=jnp.float32: _INITIALIZERS[name](key, shape).astype(dtype)


def bias(name: str) -> Callable[..., Float[Array, "n"]]:
    """The initialiser of a bias [n]; those that look at fans take both as n, as Keras does.

    Raises InputError, when called, for ``orthogonal``: a bias has no second axis.
    """

    def start(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Float[Array, "n"]:
        if name == "orthogonal":
            raise InputError("a bias cannot be orthogonal: it has one axis")
        if name in BY_FANS:
            return _INITIALIZERS[name](key, (shape[0], shape[0]))[0].astype(dtype)
        return _INITIALIZERS[name](key, shape).astype(dtype)

    return start
