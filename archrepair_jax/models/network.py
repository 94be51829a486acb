"""A network is a sequence of named blocks; a repair replaces one of them.

``variables`` is ``{"params": {block: …}, "batch_stats": {block: …}}``, keyed by block name; a block without
parameters or statistics has no entry. So a prefix or a suffix is a span of the sequence, and changing a block is
changing one entry of the tuple and one key of two dicts.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from archrepair_jax.keys import named
from archrepair_jax.models.blocks import STATUS
from archrepair_jax.precision import exact

Variables = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A classifier as named blocks: immutable and hashable, so it can be a static argument of ``jax.jit``.

    Attributes:
        blocks: ``(name, module)`` from the images to the logits; each module is called as ``module(x, train)``.
        image_shape: of one input: ``(height, width, channels)`` of an image, ``(features,)`` of a vector.
        num_classes: how many logits there are.
    """

    blocks: tuple[tuple[str, nn.Module], ...]
    image_shape: tuple[int, ...]
    num_classes: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.blocks)

    def index(self, name: str) -> int:
        """The position of a block. Raises ValueError, naming the blocks there are."""
        if name not in self.names:
            raise ValueError(f"no block is called {name!r}; the blocks are {', '.join(self.names)}")
        return self.names.index(name)

    def replace(self, name: str, module: nn.Module) -> "Network":
        """The same network with another module under ``name``."""
        self.index(name)
        return dataclasses.replace(self, blocks=tuple((n, module if n == name else m) for n, m in self.blocks))

    def init(self, key: PRNGKeyArray) -> Variables:
        """Fresh variables; each block's key depends on its name only, not on its neighbours."""

        def fresh(key):
            variables, x = {"params": {}, "batch_stats": {}}, jnp.zeros((1, *self.image_shape))
            for name, module in self.blocks:
                x, created = module.init_with_output(named(key, name), x, False)
                for collection in variables:
                    if collection in created:
                        variables[collection][name] = created[collection]
            return variables

        return jax.jit(fresh)(key)

    def span(
        self, variables: Variables, x: Float[ArrayLike, "B ..."], start: int, stop: int, *, train: bool = False
    ) -> tuple[Float[Array, "B ..."], dict[str, Any]]:
        """Runs blocks ``start`` to ``stop`` (exclusive) on ``x``, the input of block ``start``.

        Returns the output of the last block, and the batch statistics of the span's blocks: updated when ``train``,
        unchanged otherwise. With ``train`` the batch is normalised by its own statistics, averaged over the devices
        of the axis that the modules name.
        """
        x, statistics = jnp.asarray(x), {}
        for name, module in self.blocks[start:stop]:
            own = block_variables(variables, name)
            x, updated = module.apply(own, x, train, mutable=["batch_stats"] if train else [])
            if "batch_stats" in own:
                statistics[name] = {**own, **updated}["batch_stats"]
        return x, statistics

    @exact
    def apply(self, variables: Variables, images: Float[ArrayLike, "B ..."]) -> Float[Array, "B K"]:
        """Logits for images in [0, 1], in evaluation mode."""
        return self.span(variables, images, 0, len(self.blocks))[0]

    def neurons(self, variables: Variables, x: Float[Array, "B ..."], block: str) -> tuple[Array, dict[str, Array]]:
        """One block's output on its input ``x``, and its neurons' pre-activations ``{layer: [B, channels]}``.

        A neuron is an output channel of a weight layer; its status is the spatial mean of what enters the activation
        (after normalisation, before the ReLU). The layer's weights are ``params[block]`` at the path ``layer``
        (``/``-separated), leaf ``kernel``.
        """
        module = dict(self.blocks)[block]
        y, sown = module.apply(block_variables(variables, block), x, False, mutable=["neurons"])
        statuses = traverse_util.flatten_dict(sown.get("neurons", {}), sep="/")
        return y, {path.removesuffix(STATUS): status for path, status in statuses.items()}


def block_variables(variables: Variables, name: str) -> Variables:
    """The variables of one block, in the form its module takes."""
    return {collection: entries[name] for collection, entries in variables.items() if name in entries}
