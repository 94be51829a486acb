"""What the file formats of plain feed-forward networks share: their layers as matrices."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.families.mlp import Layer, mlp
from archrepair_jax.models.layers import Head
from archrepair_jax.models.network import Network, Variables

LAYERS, WEIGHTS = 1_000, 2**27  # the most in a file: a few bytes make a layer, or name the same weights once more


class Dense(NamedTuple):
    """One affine map ``x @ kernel + bias``, float32."""

    kernel: Float[np.ndarray, "D E"]
    bias: Float[np.ndarray, "E"]


def from_layers(layers: Sequence[Dense], activation: str = "relu") -> tuple[Network, Variables]:
    """The ``mlp`` of these layers, on vectors: blocks ``layer1``, ``layer2``, … and ``head``."""
    *widths, outputs = (len(layer.bias) for layer in layers)
    blocks = mlp(outputs, widths=tuple(widths), activation=activation)
    params = {
        name: {"linear": {"kernel": jnp.asarray(layer.kernel), "bias": jnp.asarray(layer.bias)}}
        for (name, _), layer in zip(blocks, layers, strict=True)
    }
    return Network(blocks, (len(layers[0].kernel),), outputs), {"params": params, "batch_stats": {}}


def to_layers(network: Network, variables: Variables) -> tuple[list[Dense], str]:
    """The layers of a network of mlp form and the activation between them (relu if there is none).

    Raises InputError naming the first block that is not of that form: no fully connected layer of ours, another
    activation than the first, or weights that are not finite.
    """
    *hidden, (last, head) = network.blocks
    activation = getattr(hidden[0][1], "activation", "relu") if hidden else "relu"
    for name, module in hidden:
        if type(module) is not Layer:
            raise InputError(f"block {name} is no fully connected layer: only a plain mlp fits this format")
        if module.activation != activation:
            raise InputError(f"block {name} has the activation {module.activation}, the first {activation}: use one")
    if type(head) is not Head or not (hidden or len(network.image_shape) == 1):
        raise InputError(f"block {last} is no fully connected output layer: only a plain mlp fits this format")
    layers = []
    for name in network.names:
        linear = variables["params"][name]["linear"]
        layers.append(Dense(*(np.asarray(linear[leaf], np.float32) for leaf in Dense._fields)))
        if not all(np.isfinite(array).all() for array in layers[-1]):
            raise InputError(f"block {name} has weights that are not finite: it cannot be written")
    return layers, activation
