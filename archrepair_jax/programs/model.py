"""The Flax model of a program."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.models.wrap import mode
from archrepair_jax.programs.ingredients import ACTIVATIONS, REGULARIZERS, initial
from archrepair_jax.programs.layers import Layer
from archrepair_jax.programs.program import Program


class Model(nn.Module):
    """The layers of a program.

    Called with inputs [B, …], it gives what goes into the last activation and what comes out, both [B, K]. What every
    layer with weights gives out is sown in ``intermediates`` under its number. A module of somebody's own may keep
    running statistics.
    """

    layers: tuple[Layer, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "B *_"], *, train: bool = False) -> tuple[Float[Array, "B K"], ...]:
        number = 0
        for layer in self.layers:
            match layer.kind:
                case "flatten":
                    x = x.reshape(len(x), -1)
                case "dropout":
                    x = nn.Dropout(layer.rate, deterministic=not train)(x)
                case "max_pool":
                    x = nn.max_pool(x, (layer.window,) * 2, (layer.window,) * 2)
                case "module":
                    number += 1
                    before = layer.module.copy(name=f"layer{number}_0")(x, **mode(layer.module, train))
                    x = ACTIVATIONS[layer.act](before)
                    self.sow("intermediates", f"layer{number}", x)
                case _:
                    number += 1
                    for copy in range(layer.layer):
                        before = weights(layer, f"layer{number}_{copy}")(x)
                        if layer.norm == "layer":
                            before = nn.GroupNorm(num_groups=1, name=f"norm{number}_{copy}")(before)
                        given, x = x, ACTIVATIONS[layer.act](before)
                        x = x + shortcut(given, x.shape) if layer.skip == "identity" else x
                    self.sow("intermediates", f"layer{number}", x)
        return before, x


def weights(layer: Layer, name: str) -> nn.Module:
    if layer.kind == "dense":
        return nn.Dense(layer.unit, name=name)
    return nn.Conv(layer.unit, (layer.window,) * 2, padding="SAME" if layer.same else "VALID", name=name)


def shortcut(x: Float[Array, "B *_"], shape: tuple[int, ...]) -> Float[Array, "B *_"]:
    """What comes into a layer as an addition to what it gives. Raises InputError for more channels than there."""
    if x.ndim != len(shape) or x.shape[-1] > shape[-1]:
        raise InputError(f"no residual connection leads from {x.shape[1:]} to {shape[1:]}: there are fewer outputs")
    for axis in range(1, x.ndim - 1):
        first = (x.shape[axis] - shape[axis]) // 2
        x = jax.lax.slice_in_dim(x, first, first + shape[axis], axis=axis)
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, shape[-1] - x.shape[-1])])


def generator(key: PRNGKeyArray, name: str) -> np.random.Generator:
    """The host's random numbers of a name."""
    return np.random.default_rng(np.asarray(jax.random.key_data(named(key, name))))


def start(program: Program, shape: tuple[int, ...], key: PRNGKeyArray) -> tuple[dict, dict]:
    """The parameters before training, for inputs of a shape, and what a module keeps beside them.

    Raises InputError where an initialiser does not fit.
    """
    if any(layer.kind == "module" for layer in program.layers):
        variables = Model(program.layers).init(named(key, "module"), jnp.zeros((1, *shape)))
    else:
        _, variables = shapes(program.layers, shape)
    params = dict(variables["params"])
    for name, own in params.items():
        kind, number = re.fullmatch(r"(layer|norm)(\d+)_\d+", name).groups()
        layer = program.layers[program.weighted[int(number) - 1]]
        if kind == "norm":
            params[name] = {"scale": np.ones(own["scale"].shape, "f4"), "bias": np.zeros(own["bias"].shape, "f4")}
        elif layer.kind != "module":
            params[name] = {
                part: initial(starts, own[part].shape, generator(key, f"{name}-{part}"))
                for part, starts in (("kernel", layer.ki), ("bias", layer.bi))
            }
    return params, beside(variables)


def beside(variables: dict) -> dict:
    """What a module keeps beside its parameters."""
    return {name: each for name, each in variables.items() if name != "params"}


@functools.lru_cache(maxsize=256)
def shapes(layers: tuple[Layer, ...], shape: tuple[int, ...]) -> tuple[tuple, dict]:
    """Those of what comes out for one example, and of all variables."""
    example = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jax.eval_shape(Model(layers).init_with_output, jax.random.key(0), example)


def penalty(program: Program, params: dict) -> Float[Array, ""]:
    """What the kernels' regularisers add to the loss."""
    total = jnp.float32(0)
    for number, place in enumerate(program.weighted, 1):
        layer = program.layers[place]
        of_size, of_square = REGULARIZERS[layer.kr]
        for copy in range(layer.layer if of_size or of_square else 0):
            own = params[f"layer{number}_{copy}"]["kernel"]
            total += of_size * jnp.abs(own).sum() + of_square * (own**2).sum()
    return total
