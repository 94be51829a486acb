"""The contract of a block, and the layers that blocks are made of.

A block computes ``join(x, branch(x))``: ``branch`` holds the weights a repair may replace, ``join`` what stays around
them (the shortcut, the last activation, pooling). For a residual block ``join`` is ``relu(shortcut(x) + branch)``.
What can be done with a block is asked of it, and not told from its class.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

STATUS = ":status"  # flax lets no sown value share its name with a submodule


class Block(nn.Module):
    """What a network is made of. Subclasses define ``setup``, ``branch`` and ``join``.

    Attributes:
        has_branch: whether there is something a repair may replace, whose output channels are neurons to compare; what
            has none only rescales.
        affine: whether it is a fully connected layer ``linear`` and nothing else but its ``activation``, if not None.
    """

    has_branch = True
    affine = False

    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        """The part that a repair may replace."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a repair may replace")

    def join(self, x: Float[Array, "B ..."], branch: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        """What surrounds the branch and survives its replacement; by default nothing."""
        return branch

    def __call__(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        return self.join(x, self.branch(x, train), train)

    def scale_inputs(self, params: Any, factors: Float[ArrayLike, "D"]) -> Any:
        """The parameters at which it makes of ``x`` what it now makes of ``x * factors``; None if there are none."""
        if not self.affine:
            return None
        kernel = params["linear"]["kernel"]
        rows = jnp.tile(factors, len(kernel) // len(factors))  # flattened images: channels run fastest
        return {"linear": {**params["linear"], "kernel": kernel * rows[:, None]}}

    def scale_outputs(self, params: Any, factors: Float[ArrayLike, "D"]) -> Any:
        """The parameters at which it gives ``y * factors`` where it now gives ``y``; None if there are none."""
        return None


class Normalize(Block):
    """Subtracts ``mean`` and divides by ``std`` (per channel, of images in [0, 1]); the first block of a network."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    has_branch = False

    def __call__(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B H W C"]:
        return (x - jnp.asarray(self.mean)) / jnp.asarray(self.std)


class Identity(Block):
    """Its own input: what an inserted block begins with."""

    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        return x


class Scale(Block):
    """Multiplies each channel by a factor of its own: what a repair leaves behind a block that cannot take it in."""

    has_branch = False

    @nn.compact
    def __call__(self, x: Float[Array, "B ... D"], train: bool) -> Float[Array, "B ... D"]:
        return x * self.param("scale", nn.initializers.ones, (x.shape[-1],))

    def scale_inputs(self, params: Any, factors: Float[ArrayLike, "D"]) -> Any:
        return {"scale": params["scale"] * factors}


def batch_norm(train: bool | None = None, **settings) -> nn.BatchNorm:
    """Batch normalisation as torch counts it (epsilon 1e-5, momentum 0.9), synchronised over the axis ``batch``."""
    return nn.BatchNorm(
        use_running_average=None if train is None else not train,
        momentum=0.9,
        epsilon=1e-5,
        axis_name="batch",
        **settings,
    )


def record(module: nn.Module, layer: str, z: Float[Array, "B ..."]) -> None:
    """Sows the neurons' status of ``layer``: the spatial mean of its pre-activation ``z``, shape [B, channels]."""
    status = z.mean(tuple(range(1, z.ndim - 1)))
    module.sow("neurons", f"{layer}{STATUS}", status, init_fn=lambda: None, reduce_fn=lambda _, new: new)
