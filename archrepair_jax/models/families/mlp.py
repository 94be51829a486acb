"""A multilayer perceptron: one block a hidden layer, with any of the usual activations."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Block, record
from archrepair_jax.models.layers import Blocks, Head

LEAK = 0.01  # the slope of leaky ReLU below 0, as jax, torch and ONNX have it

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=LEAK),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),  # as torch's
}


class Layer(Block):
    """One fully connected layer; ``branch`` flattens what it is given, ``join`` is the activation."""

    width: int
    activation: str = "relu"
    affine = True

    def setup(self):
        self.linear = nn.Dense(self.width, kernel_init=nn.initializers.he_normal())

    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B D"]:
        x = self.linear(x.reshape(x.shape[0], -1))
        record(self, "linear", x)
        return x

    def join(self, x: Float[Array, "B ..."], branch: Float[Array, "B D"], train: bool) -> Float[Array, "B D"]:
        return ACTIVATIONS[self.activation](branch)


def mlp(num_classes: int, *, widths: tuple[int, ...] = (128, 64), activation: str = "relu") -> Blocks:
    """Hidden layers ``layer1``, ``layer2``, … and the head. Raises InputError for an activation that there is not."""
    if activation not in ACTIVATIONS:
        raise InputError(f"no activation is called {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
    layers = ((f"layer{number}", Layer(width, activation)) for number, width in enumerate(widths, start=1))
    return *layers, ("head", Head(num_classes))
