"""A network of one block that is somebody's function: gradients go through it, and nothing else is known of it.

    network, variables, form = of_function(apply_fn, params, (28, 28, 1))

What needs no inside works: blocks in front of it, tuning of all its parameters, the guard, the report.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from archrepair_jax.models.blocks import Block
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.models.wrap import network_of

OWN = "model"  # the block that is the caller's


class Opaque(Block):
    """``function(leaves, x)`` behind the contract of a block.

    Attributes:
        function: hashed by identity.
        leaves: name, shape and type of each array that may be tuned.
    """

    function: Callable[[Sequence[Array], Array], Array]
    leaves: tuple[tuple[str, tuple[int, ...], str], ...]

    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        own = self.variables["params"] if self.leaves else {}
        return self.function([jnp.asarray(own[name], kind) for name, _, kind in self.leaves], x)

    def setup(self):
        for name, shape, _ in self.leaves:
            self.param(name, lambda _, shape=shape: jnp.zeros(shape))


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
    """How a caller's parameters look, and which of them are tuned.

    Attributes:
        function: ``function(params, x)``, the caller's.
        structure, constants: of the parameters; None stands where an array is tuned.
        tuned: name, shape and type of those.
    """

    function: Callable[[Any, Array], Array]
    structure: jax.tree_util.PyTreeDef
    constants: tuple[Any, ...]
    tuned: tuple[tuple[str, tuple[int, ...], str], ...]

    def __call__(self, leaves: Sequence[Array], x: Array) -> Array:
        return self.function(self.fill(leaves), x)

    def fill(self, leaves: Sequence[Array]) -> Any:
        """The caller's parameters with these arrays in them."""
        left = iter(leaves)
        return jax.tree.unflatten(self.structure, [next(left) if own is None else own for own in self.constants])

    def params(self, variables: Variables) -> Any:
        """The caller's parameters, in their own types, from a network's variables."""
        own = variables["params"].get(OWN, {})
        return self.fill([jnp.asarray(own[name], kind) for name, _, kind in self.tuned])


def of_function(
    function: Callable[[Any, Array], Array],
    params: Any,
    image_shape: tuple[int, ...],
    *,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> tuple[Network, Variables, Form]:
    """The network of one block that computes ``function(params, images)``, images [B, H, W, C] in [0, 1].

    Of a dictionary with an entry ``params``, as Flax writes them, that alone is tuned, else every array of floating
    point; the rest stays as it is. Raises InputError if no logits come of an image.
    """
    paths, structure = jax.tree.flatten_with_path(params)
    flax = isinstance(params, Mapping) and "params" in params
    own, constants, tuned = {}, [], []
    for number, (path, leaf) in enumerate(paths):
        floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        if not floating or (flax and path[0].key != "params"):
            constants.append(leaf)
            continue
        name = f"{number}.{jax.tree_util.keystr(path, simple=True, separator='.')}"  # numbered, since paths may clash
        tuned.append((name, tuple(leaf.shape), str(jax.dtypes.canonicalize_dtype(leaf.dtype))))
        own[name] = jnp.asarray(leaf, jnp.float32)
        constants.append(None)
    form = Form(function, structure, tuple(constants), tuple(tuned))
    variables = {"params": {OWN: own} if own else {}, "batch_stats": {}}
    return network_of([(OWN, Opaque(form, form.tuned))], variables, image_shape, mean, std), variables, form


def through(
    network: Network, added: Variables, own: Callable[[Array], Array], images: Float[ArrayLike, "B ..."]
) -> Float[Array, "B K"]:
    """Logits of an edited network whose block ``OWN`` is ``own``; ``added`` are the variables of its other blocks."""
    x = jnp.asarray(images)
    for name, block in network.blocks:
        x = own(x) if name == OWN else block.apply(block_variables(added, name), x, False)
    return x


def others(variables: Variables) -> Variables:
    """The variables of all blocks but the caller's."""
    return {
        collection: {name: entry for name, entry in entries.items() if name != OWN}
        for collection, entries in variables.items()
    }
