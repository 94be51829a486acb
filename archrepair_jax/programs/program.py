"""A training program as data, its fields by name, and edits of them.

Layers with weights are numbered from 1, and a field of one carries its number: ``act2``, ``ki2`` and ``bi2`` (the
initialisers of kernel and bias), ``kr2`` (the kernel's regulariser); hidden dense ones also have ``unit2`` (how wide
they are) and ``layer2`` (how many copies of it there are); ``drop1`` is the first dropout's rate. The other fields are
the program's own: ``loss``, ``optimizer``, ``lr``, ``batch_size``, ``epochs``, ``scale``. Names after the replication
package of Kim et al. (ICST 2023), but for its numbers of hidden layers, which count these alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.programs.ingredients import ACTIVATIONS, INITIALIZERS, REGULARIZERS
from archrepair_jax.programs.recipe import LOSSES, OPTIMIZERS

Value = str | int | float

OWN = ("loss", "optimizer", "lr", "batch_size", "epochs", "scale")
OF_LAYERS = {"act": ACTIVATIONS, "ki": INITIALIZERS, "bi": INITIALIZERS, "kr": REGULARIZERS}
KINDS = ("dense", "conv", "max_pool", "dropout", "flatten")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: one of ``KINDS``.
        unit: outputs of a dense layer, channels of a convolution.
        window: a convolution's or a pooling's, on both axes; a convolution pads nothing unless ``same``.
        rate: a dropout's.
        act, ki, bi, kr: of layers with weights: keys of ``ACTIVATIONS``, ``INITIALIZERS`` and ``REGULARIZERS``.
        layer: how many copies of a dense layer stand here.
    """

    kind: str
    unit: int = 0
    window: int = 0
    same: bool = False
    rate: float = 0.0
    act: str = "linear"
    ki: str = "glorot_uniform"
    bi: str = "zeros"
    kr: str = "none"
    layer: int = 1

    def __post_init__(self):
        one_of("kind", [self.kind], KINDS)
        within("rate", self.rate, 0, 1)
        for name, known in OF_LAYERS.items():
            one_of(name, [getattr(self, name)], known)
        if self.weighted:
            within("unit", self.unit, 1)
        within("layer", self.layer, 0, 16)

    @property
    def weighted(self) -> bool:
        return self.kind in ("dense", "conv")


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
    """

    layers: tuple[Layer, ...]
    loss: str
    optimizer: str
    lr: float
    batch_size: int = 32
    epochs: int = 1
    scale: float = 1.0

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
            names = ("act", "ki", "bi", "kr")
            if self.layers[place].kind == "dense" and place != self.weighted[-1]:
                names += ("unit", "layer")
            places |= {f"{name}{number}": (place, name) for name in names}
        dropouts = [place for place, layer in enumerate(self.layers) if layer.kind == "dropout"]
        return places | {f"drop{number}": (place, "rate") for number, place in enumerate(dropouts, 1)}

    @property
    def fields(self) -> dict[str, Value]:
        """Every field's value by its name."""
        own = {name: getattr(self, name) for name in OWN}
        return own | {name: getattr(self.layers[place], key) for name, (place, key) in self._places.items()}

    def changed(self, changes: Mapping[str, Value]) -> "Program":
        """With other values in some fields. Raises InputError for a field or a value that there is not."""
        one_of("the program", changes, self.fields)
        places, layers = self._places, list(self.layers)
        own = {name: value for name, value in changes.items() if name in OWN}
        for name, value in changes.items():
            if name in places:
                place, key = places[name]
                layers[place] = dataclasses.replace(layers[place], **{key: value})
        return dataclasses.replace(self, layers=tuple(layers), **own)

    def edits(self, other: "Program") -> tuple[Edit, ...]:
        """What turns this program into another one of the same layers."""
        there = other.fields
        return tuple(Edit(name, value, there[name]) for name, value in self.fields.items() if value != there[name])


def dense(unit: int, act: str = "linear", **others: Value) -> Layer:
    return Layer("dense", unit, act=act, **others)


def conv(unit: int, window: int, act: str = "linear", **others: Value) -> Layer:
    return Layer("conv", unit, window, act=act, **others)


def max_pool(window: int) -> Layer:
    return Layer("max_pool", window=window)


def dropout(rate: float) -> Layer:
    return Layer("dropout", rate=rate)


def flatten() -> Layer:
    return Layer("flatten")
