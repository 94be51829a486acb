"""Finds the row of submodules that a Flax module is made of, so that its blocks can be told apart.

A module that only hands images on from one named submodule to the next is a network of blocks as it stands. What it
does between them belongs to no submodule, so such a module stays whole; it could be split if that moved into them.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.models.wrap import Wrapped, mode, network_of

SHOWN = 4  # images that must have the same logits


class NoRow(Exception):
    """Why a module is no row of submodules, in words that go on from its name."""


def find_row(
    module: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> tuple[Network, Variables]:
    """The network whose blocks are the submodules that ``module`` applies one after the other, and its variables.

    Their outputs are watched on a few images of noise, and the network of them must give the module's logits there.
    Raises NoRow, which says what stands against it.
    """
    shown = jnp.asarray(np.random.default_rng(0).random((SHOWN, *image_shape), np.float32))
    calls: list[tuple[str, nn.Module, Any, Any]] = []

    def watching(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if context.method_name == "__call__" and len(context.module.path) == 1:
            calls.append((context.module.path[0], context.module.unbind()[0], args[0] if args else None, y))
        return y

    try:
        with nn.intercept_methods(watching):
            logits = module.apply(variables, shown, **mode(module, False))
    except Exception as error:  # whatever somebody's module raises; of one block, it is told better
        raise NoRow("cannot be applied") from error
    names = [name for name, *_ in calls]
    if len(names) < 2:
        raise NoRow("has no two submodules that follow each other")
    if len(set(names)) < len(names):
        raise NoRow("applies a submodule twice")
    places = ["its input", *names, "its logits"]
    given, taken = [shown, *(y for *_, y in calls)], [*(x for _, _, x, _ in calls), logits]
    for place, (left, entered) in enumerate(zip(given, taken, strict=True)):
        if left is not entered:
            raise NoRow(f"does something of its own between {places[place]} and {places[place + 1]}")
    blocks = [(name, Wrapped(part)) for name, part, *_ in calls]
    own: Variables = {
        collection: {name: {"module": variables[collection][name]} for name in names if name in variables[collection]}
        if collection in variables
        else {}
        for collection in ("params", "batch_stats")
    }
    try:
        row = network_of(blocks, own, image_shape, (), ())
        same = np.allclose(row.span(own, shown, 0, len(blocks))[0], logits, rtol=1e-5, atol=1e-5)
    except Exception as error:  # whatever a module raises that is called alone
        raise NoRow(f"has submodules that do not stand alone ({error})".splitlines()[0]) from error
    if not same:
        raise NoRow("has submodules that give other logits when they are called alone")
    return network_of(blocks, own, image_shape, mean, std), own
