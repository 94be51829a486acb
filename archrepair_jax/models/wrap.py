"""Networks made of somebody else's Flax modules, which need not know of blocks.

    network, variables = wrap(CNN(classes=10), CNN(classes=10).init(key, images), (32, 32, 3))

The function is the module's own, bit for bit. One module becomes one block: its layers and neurons can be localized,
its weights tuned. ``wrap_row`` takes several modules that follow each other, so that one of them can be replaced.
"""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models import normalization
from archrepair_jax.models.blocks import Block, record
from archrepair_jax.models.network import Network, Variables

# What modules call the question whether they train, and their answer when they do.
MODES = {"train": True, "training": True, "is_training": True, "deterministic": False, "use_running_average": False}
INPUT = "input"  # the block that normalises images
NORMALIZATIONS = nn.BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm | nn.RMSNorm


class Wrapped(Block):
    """Somebody's module, called as ``module(x)`` and told whether it trains if it asks under one of ``MODES``.

    Its dense and convolutional layers record their neurons: what the layer gives, or a normalisation right behind it.
    """

    module: nn.Module

    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        layer = given = None  # the last layer, and what has come of it so far

        def recording(call, args, kwargs, context):
            nonlocal layer, given
            y = call(*args, **kwargs)
            if context.method_name != "__call__":
                return y
            if isinstance(context.module, nn.Dense | nn.Conv):
                layer = context.module
            elif not (isinstance(context.module, NORMALIZATIONS) and args and args[0] is given):
                return y
            given = y
            if isinstance(layer.parent, nn.Module) and y.shape[0] == x.shape[0]:  # nn.vmap, say, hides the examples
                record(layer.parent, layer.name, y)
            return y

        with nn.intercept_methods(recording):
            return self.module(x, **mode(self.module, train))


def mode(module: nn.Module, train: bool) -> dict[str, bool]:
    """What a module is told of whether it trains, by the names under which it asks."""
    asked = inspect.signature(type(module).__call__).parameters
    return {name: train == answer for name, answer in MODES.items() if name in asked}


def wrap(
    module: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],
    *,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> tuple[Network, Variables]:
    """The network of one block, ``model``, that computes what the module does. See ``wrap_row``."""
    return wrap_row([("model", module, variables)], image_shape, mean=mean, std=std)


def wrap_row(
    row: Sequence[tuple[str, nn.Module, Mapping[str, Any]]],
    image_shape: tuple[int, ...],
    *,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> tuple[Network, Variables]:
    """The network whose blocks are the modules, each with its name and variables, one after the other.

    Images reach the first module as they are, in [0, 1], unless ``mean`` or ``std`` say how to normalise them, as in
    ``ModelSettings``. Nothing here gives a module random numbers: one with dropout can be tuned (in evaluation mode)
    but not trained.

    Raises InputError for names that come twice, variables other than ``params`` and ``batch_stats``, fields that
    cannot be hashed (jax compiles for a network, so it has to know it again), and what does not make logits of images.
    """
    blocks: list[tuple[str, nn.Module]] = []
    own: Variables = {"params": {}, "batch_stats": {}}
    for name, module, variables in row:
        if name in [*dict(blocks), *([INPUT] if mean or std else [])]:
            raise InputError(f"two blocks are called {name!r}: give each a name of its own")
        if foreign := sorted(set(variables) - set(own)):
            raise InputError(
                f"{name} has variables in {', '.join(foreign)}: only params and batch_stats can be wrapped"
            )
        try:
            hash(module)
        except TypeError as error:
            raise InputError(f"{name} has fields that cannot be hashed: give tuples in place of lists") from error
        blocks.append((name, Wrapped(module)))
        for collection, entries in variables.items():
            own[collection] |= {name: {"module": unfreeze(entries)}} if entries else {}
    return network_of(blocks, own, image_shape, mean, std), own


def network_of(
    blocks: Sequence[tuple[str, nn.Module]],
    variables: Variables,
    image_shape: tuple[int, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Network:
    """The network of these blocks, behind a normalisation if there is one. Raises InputError as ``classes`` does."""
    first = ((INPUT, normalization(mean or (0.0,), std or (1.0,), image_shape[-1])),) if mean or std else ()
    network = Network((*first, *blocks), tuple(image_shape), num_classes=0)  # until it has been applied
    return dataclasses.replace(network, num_classes=classes(network, variables))


def classes(network: Network, variables: Variables) -> int:
    """How many logits the network gives. Raises InputError, naming the block, if it cannot be applied to an image."""
    x = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.float32)
    for index, name in enumerate(network.names):
        try:
            x, _ = jax.eval_shape(lambda v, x, i=index: network.span(v, x, i, i + 1), variables, x)
        except Exception as error:  # whatever somebody's module raises
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{name} cannot be applied to an array {x.shape}: {reason}") from error
    if x.ndim != 2:
        raise InputError(f"{name} gives {x.shape[1:]} for an image: the last module has to give its logits")
    return x.shape[1]
