"""What a layer is made of, under Keras's names and with Keras's meaning, which JAX's functions of these names lack.

Domains and meaning after the replication package of Kim et al., *Repairing DNN Architecture: Are We There Yet?* (ICST
2023): eleven activations, thirteen initialisers, four regularisers.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

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

INITIALIZERS = (
    *("zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "orthogonal"),
    *("lecun_uniform", "glorot_normal", "glorot_uniform", "he_normal", "lecun_normal", "he_uniform"),
    "unit_normal",  # subject D4's own
)
VARIANCES = {  # of those that look at fans: by how many go in and out
    "lecun": lambda into, out: 1 / into, "glorot": lambda into, out: 2 / (into + out), "he": lambda into, out: 2 / into
}  # fmt: skip
SPREAD = 0.05
OF_TWO = 0.87962566103423978  # the standard deviation of a standard normal that is cut at two

REGULARIZERS = {"none": (0.0, 0.0), "l1": (0.01, 0.0), "l2": (0.0, 0.01), "l1_l2": (0.01, 0.01)}  # of |w| and of w²


def initial(name: str, shape: tuple[int, ...], random: np.random.Generator) -> Float[np.ndarray, "..."]:
    """What a kernel [in, out] or [height, width, in, out], or a bias [n], starts as.

    A bias has both its fans n. Drawn on the host, since a compiler would take longer over each new shape than all of
    that training takes. Raises InputError for an ``orthogonal`` bias: it has no second axis, and Keras refuses it too.
    """
    if name in ("zeros", "constant"):
        found = np.zeros(shape)
    elif name == "ones":
        found = np.ones(shape)
    elif name == "random_uniform":
        found = random.uniform(-SPREAD, SPREAD, shape)
    elif name in ("random_normal", "unit_normal"):
        found = random.normal(0, SPREAD if name == "random_normal" else 1.0, shape)
    elif name == "truncated_normal":
        found = SPREAD * truncated(shape, random)
    elif name == "orthogonal":
        found = orthogonal(shape, random)
    else:
        family, _, kind = name.partition("_")
        spread = math.sqrt(VARIANCES[family](*fans(shape)))
        uniform = kind == "uniform"
        found = spread * (
            random.uniform(-math.sqrt(3), math.sqrt(3), shape) if uniform else truncated(shape, random) / OF_TWO
        )
    return found.astype(np.float32)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many numbers each output takes in, and each input goes to."""
    window = math.prod(shape[:-2])
    return window * shape[-2:][0], window * shape[-1]


def truncated(shape: tuple[int, ...], random: np.random.Generator) -> Float[np.ndarray, "..."]:
    """Standard normal numbers; those beyond two are drawn again."""
    found = random.normal(size=shape)
    while (beyond := np.abs(found) > 2).any():
        found[beyond] = random.normal(size=beyond.sum())
    return found


def orthogonal(shape: tuple[int, ...], random: np.random.Generator) -> Float[np.ndarray, "..."]:
    """A random rotation's rows or columns (Saxe et al., 2014)."""
    if len(shape) < 2:
        raise InputError("a bias cannot be orthogonal: it has one axis")
    high, wide = math.prod(shape[:-1]), shape[-1]
    rotation, triangle = np.linalg.qr(random.normal(size=(max(high, wide), min(high, wide))))
    rotation = rotation * np.sign(np.diag(triangle))
    return (rotation if high >= wide else rotation.T).reshape(shape)
