"""A training program as data, its fields by name, and edits of them.

Layers with weights are numbered from 1, and a field of one carries its number: ``act2``, ``ki2`` and ``bi2`` (the
initialisers of kernel and bias), ``kr2`` (the kernel's regulariser); hidden ones also have ``norm2`` and ``skip2`` (a
normalisation and a residual connection), and dense ones of them ``unit2`` (how wide they are) and ``layer2`` (how many
copies of it there are); ``drop1`` is the first dropout's rate. The other fields are
the program's own: ``loss``, ``optimizer``, ``lr``, ``batch_size``, ``epochs``, ``scale``. Names after the replication
package of Kim et al. (ICST 2023), but for its numbers of hidden layers, which count these alone. A Flax module counts
as one layer with weights, and its own fields go by their own names.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.models.adopt import with_tuples
from archrepair_jax.programs.layers import INSIDE, OF_HIDDEN, Layer, Value, own_fields
from archrepair_jax.programs.recipe import LOSSES, OPTIMIZERS

OWN = ("loss", "optimizer", "lr", "batch_size", "epochs", "scale")


class Edit(NamedTuple):
    """One field and what became of it."""

    field: str
    before: Value
    after: Value

    def __str__(self) -> str:
        return f"change {self.field} from {self.before} to {self.after}"


@dataclasses.dataclass(frozen=True)
class Program:
    """What is trained, and how.

    Attributes:
        layers: the last one with weights gives the outputs.
        loss, optimizer: keys of ``LOSSES`` and ``OPTIMIZERS``.
        lr, batch_size, epochs: as Keras's ``fit`` takes them.
        scale: what inputs are divided by before anything else.
        may_change: the values that a field may take, where its owner says so; by field name.
    """

    layers: tuple[Layer, ...]
    loss: str
    optimizer: str
    lr: float
    batch_size: int = 32
    epochs: int = 1
    scale: float = 1.0
    may_change: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def __post_init__(self):
        one_of("loss", [self.loss], LOSSES)
        one_of("optimizer", [self.optimizer], OPTIMIZERS)
        for name, low in (("lr", 0), ("batch_size", 1), ("epochs", 1), ("scale", 1e-9)):
            within(name, getattr(self, name), low)
        if not self.weighted:
            raise InputError("layers has none with weights: a program needs a dense layer or a convolution")

    @property
    def weighted(self) -> list[int]:
        """Where the layers with weights stand."""
        return [place for place, layer in enumerate(self.layers) if layer.weighted]

    @property
    def _places(self) -> dict[str, tuple[int, str]]:
        """By field name, where a layer's field is."""
        places = {}
        for number, place in enumerate(self.weighted, 1):
            names = self.layers[place].names
            if place != self.weighted[-1] and self.layers[place].kind != "module":
                names += tuple(OF_HIDDEN)
                names += ("unit", "layer") if self.layers[place].kind == "dense" else ()
            for name in names:
                places[name.removeprefix(INSIDE) if name.startswith(INSIDE) else f"{name}{number}"] = place, name
        dropouts = [place for place, layer in enumerate(self.layers) if layer.kind == "dropout"]
        return places | {f"drop{number}": (place, "rate") for number, place in enumerate(dropouts, 1)}

    @property
    def fields(self) -> dict[str, Value]:
        """Every field's value by its name."""
        own = {name: getattr(self, name) for name in OWN}
        return own | {name: self.layers[place][key] for name, (place, key) in self._places.items()}

    def changed(self, changes: Mapping[str, Value]) -> "Program":
        """With other values in some fields. Raises InputError for a field or a value that there is not."""
        one_of("the program", changes, self.fields)
        places, layers = self._places, list(self.layers)
        own = {name: value for name, value in changes.items() if name in OWN}
        for name, value in changes.items():
            if name in places:
                place, key = places[name]
                layers[place] = layers[place].changed(key, value)
        return dataclasses.replace(self, layers=tuple(layers), **own)

    def edits(self, other: "Program") -> tuple[Edit, ...]:
        """What turns this program into another one of the same layers."""
        there = other.fields
        return tuple(Edit(name, value, there[name]) for name, value in self.fields.items() if value != there[name])


def from_module(
    module: nn.Module,
    optimizer: str,
    loss: str,
    lr: float,
    may_change: Mapping[str, Sequence[Value]],
    *,
    act: str = "softmax",
    **others: Value,
) -> Program:
    """A program around a Flax Linen module of one's own.

    Args:
        module: gives outputs [B, K] for inputs [B, …]; it is told whether it trains if it asks for ``train``, as
            ``wrap`` tells it.
        optimizer, loss, lr: as in ``Program``.
        may_change: values to try, by field: the module's own fields, or the program's, whose values are our choice
            where they are not named here. One value alone leaves a field as it is.
        act: what follows the module's outputs, a key of ``ACTIVATIONS``; its field is ``act1``.
        others: ``batch_size``, ``epochs``, ``scale``.

    Raises:
        InputError: for a field that the module does not declare, with those that it does.
    """
    kind, found, module = type(module).__name__, own_fields(module), with_tuples(module)
    try:
        hash(module)
    except TypeError as error:
        raise InputError(f"{kind} has a field that is not hashable ({error}): let it be a text or a number") from error
    if taken := [name for name in found if name in OWN or name == "act1"]:
        raise InputError(f"{kind}'s field {taken[0]} has a name that a program uses itself: call it otherwise")
    made = Program((Layer("module", act=act, module=module),), loss, optimizer, lr, **others)
    for name in may_change:
        if name not in made.fields:
            raise InputError(
                f"{kind} has no field {name!r} that holds a text or a number; there are {', '.join(made.fields)}. What "
                f"stands in its Python code can be changed once the module declares it, as {name}: int = 64"
            )
    values = tuple((name, tuple(dict.fromkeys(each))) for name, each in may_change.items())
    return dataclasses.replace(made, may_change=values)
