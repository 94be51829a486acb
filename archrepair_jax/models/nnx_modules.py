"""NNX modules: split into a function and its parameters for a repair, and merged again afterwards."""

from collections.abc import Callable
from typing import Any

from flax import nnx, traverse_util
from jaxtyping import Array, ArrayLike, Float

from archrepair_jax.models.functions import through
from archrepair_jax.models.network import Network, Variables


def split(module: nnx.Module) -> tuple[Callable[[Any, Array], Array], Any]:
    """``function(params, images)`` in evaluation mode, and the module's ``nnx.Param`` as ``params``.

    All else that it holds (running statistics, random keys) stays as it is. The module itself is left alone.
    """
    copy = nnx.clone(module)
    copy.eval()
    definition, params, rest = nnx.split(copy, nnx.Param, ...)
    return lambda params, images: nnx.merge(definition, params, rest)(images), params


def merged(module: nnx.Module, params: Any) -> nnx.Module:
    """A copy of the module with these ``nnx.Param``."""
    copy = nnx.clone(module)
    nnx.update(copy, params)
    return copy


class Repaired(nnx.Module):
    """A module with what a repair has put around it; called on images in [0, 1], it gives logits.

    Attributes:
        model: the caller's module, with the repair's weights.
        added: the other blocks' arrays, by their path.
    """

    def __init__(self, network: Network, added: Variables, model: nnx.Module):
        self.network, self.model = network, model
        flat = traverse_util.flatten_dict(added, sep="/")
        kinds = {"params": nnx.Param, "batch_stats": nnx.BatchStat}
        self.added = nnx.data({path: kinds[path.split("/")[0]](leaf) for path, leaf in flat.items()})

    def __call__(self, images: Float[ArrayLike, "B ..."]) -> Float[Array, "B K"]:
        flat = {path: variable[...] for path, variable in self.added.items()}
        added = {"params": {}, "batch_stats": {}} | traverse_util.unflatten_dict(flat, sep="/")
        return through(self.network, added, self.model, images)
