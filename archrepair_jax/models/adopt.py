"""Models as people have them: whatever it is becomes a network of blocks, and goes back to what it was.

adopt((module, variables), (28, 28, 1))   # Flax Linen; blocks of their own where its submodules form a row
adopt(module, (28, 28, 1))                # NNX
adopt((apply_fn, params), (28, 28, 1))    # any function of JAX
adopt((network, variables), (28, 28, 1))  # ours
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models import nnx_modules
from archrepair_jax.models.functions import OWN, of_function, others, through
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.models.rows import NoRow, find_row
from archrepair_jax.models.wrap import mode, wrap

FORMS = "(Flax module, variables), an NNX module, (apply_fn, params) or (Network, variables)"
WHOLE = (
    "it is repaired as one block: blocks in front of it and tuning all of its weights work, "
    "replacing one of its blocks does not"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A network with its variables, and the way back to what the caller brought.

    Attributes:
        network, variables: what a repair works with.
        name: what reports call it.
        back: from a repaired network and its variables to the caller's own form.
        note: what cannot be done with it, and what can; empty where all can.
    """

    network: Network
    variables: Variables
    name: str
    back: Callable[[Network, Variables], Any]
    note: str = ""


def as_it_is(network: Network, variables: Variables) -> tuple[Network, Variables]:
    """The way back of a network of ours."""
    return network, variables


class Repaired(nn.Module):
    """A network's blocks as one Linen module: ``module.apply(variables, images)`` gives logits [B, K]."""

    blocks: tuple[tuple[str, nn.Module], ...]

    @nn.compact
    def __call__(self, images: Float[ArrayLike, "B ..."], train: bool = False) -> Float[Array, "B K"]:
        x = jnp.asarray(images)
        for name, block in self.blocks:
            x = block.copy(name=name)(x, train)
        return x


def adopt(
    model: Any, image_shape: tuple[int, ...], *, mean: tuple[float, ...] = (), std: tuple[float, ...] = ()
) -> Model:
    """The model for images of this shape, which reach it in [0, 1] unless ``mean`` and ``std`` normalise them.

    Raises InputError for what is none of the forms, and for a model that gives no logits for an image.
    """
    looks = {"mean": mean, "std": std}
    if isinstance(model, Model):
        return model
    if isinstance(model, nnx.Module):
        return of_nnx(model, image_shape, looks)
    if not (isinstance(model, tuple | list) and len(model) == 2 and callable(model[0]) | isinstance(model[0], Network)):
        alone = isinstance(model, nn.Module | Network) or callable(model)
        hint = f"{type(model).__name__} comes without its variables" if alone else f"{type(model).__name__} is no model"
        raise InputError(f"{hint}: give {FORMS}")
    first, variables = model
    if isinstance(first, Network):
        if mean or std:
            raise InputError("a Network normalises images itself: leave model.mean and model.std empty")
        if first.image_shape != tuple(image_shape):
            raise InputError(f"the network takes images {first.image_shape}, and these are {tuple(image_shape)}")
        return Model(first, variables, "network", as_it_is)
    if isinstance(first, nn.Module):
        return of_linen(first, variables, image_shape, looks)
    return of_callable(first, variables, image_shape, looks, getattr(first, "__name__", type(first).__name__))


def of_linen(module: nn.Module, variables: Any, image_shape: tuple[int, ...], looks: dict[str, Any]) -> Model:
    """Blocks where its submodules form a row; else one block, or a function where it cannot be a block."""
    name, given, module = type(module).__name__, module, with_tuples(module)
    if not can_be_a_block(module, variables):
        function = lambda v, x: module.apply(v, x, **mode(module, False))  # noqa: E731
        made = of_callable(function, variables, image_shape, looks, name)
        back = made.back

        def given_back(network: Network, variables: Variables) -> Any:
            function, params = back(network, variables)
            return (function, params) if len(network.blocks) > len(made.network.blocks) else (given, params)

        return dataclasses.replace(made, back=given_back)
    try:
        network, own = find_row(module, variables, image_shape, **looks)
        note = ""
    except NoRow as reason:
        network, own = wrap(module, variables, image_shape, **looks)
        note = f"{name} {reason}, so {WHOLE}"
    names, whole = network.names, note != ""

    def back(edited: Network, variables: Variables) -> tuple[nn.Module, Variables]:
        if edited != network:
            return Repaired(edited.blocks), variables
        parts = {
            collection: {block: entries[block]["module"] for block in names if block in entries}
            for collection, entries in variables.items()
        }
        return given, {
            collection: entries.get(OWN, {}) if whole else entries for collection, entries in parts.items() if entries
        }

    return Model(network, own, name, back, note)


def with_tuples(module: nn.Module) -> nn.Module:
    """The module with tuples for lists among its fields, which jax needs to compile for it."""
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module) if field.init}
    return module.clone(**{name: tuple(value) for name, value in fields.items() if isinstance(value, list)})


def can_be_a_block(module: nn.Module, variables: Any) -> bool:
    """Whether jax can compile for it by its fields, and it has no variables but those that blocks have."""
    try:
        hash(module)
    except TypeError:
        return False
    return set(variables) <= {"params", "batch_stats"}


def of_callable(
    function: Callable, params: Any, image_shape: tuple[int, ...], looks: dict[str, Any], name: str
) -> Model:
    """One block of which only the outside is known."""
    network, variables, form = of_function(function, params, image_shape, **looks)

    def back(edited: Network, variables: Variables) -> tuple[Callable, Any]:
        """The function and its parameters; with blocks added, one of parameters ``own`` and ``added``."""
        if edited == network:
            return function, form.params(variables)

        def repaired(params: Any, images: ArrayLike) -> Array:
            return through(edited, params["added"], lambda x: function(params["own"], x), images)

        return repaired, {"own": form.params(variables), "added": others(variables)}

    return Model(network, variables, name, back, f"of {name} only the outside is known, so {WHOLE}")


def of_nnx(module: nnx.Module, image_shape: tuple[int, ...], looks: dict[str, Any]) -> Model:
    function, params = nnx_modules.split(module)
    network, variables, form = of_function(function, params, image_shape, **looks)

    def back(edited: Network, variables: Variables) -> nnx.Module:
        own = nnx_modules.merged(module, form.params(variables))
        return own if edited == network else nnx_modules.Repaired(edited, others(variables), own)

    name = type(module).__name__
    return Model(network, variables, name, back, f"of {name} only the outside is known, so {WHOLE}")
