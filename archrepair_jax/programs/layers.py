"""Layers of a training program, as data: those that Keras has, and as one more a Flax module of somebody's own."""

import dataclasses

import flax.linen as nn

from archrepair_jax.errors import one_of, within
from archrepair_jax.programs.ingredients import ACTIVATIONS, INITIALIZERS, REGULARIZERS

Value = str | int | float

OF_LAYERS = {"act": ACTIVATIONS, "ki": INITIALIZERS, "bi": INITIALIZERS, "kr": REGULARIZERS}
NORMS, SKIPS = ("none", "layer"), ("none", "identity")
OF_HIDDEN = {"norm": NORMS, "skip": SKIPS}  # and of these those that give no outputs
KINDS = ("dense", "conv", "max_pool", "dropout", "flatten", "module")
INSIDE = "module."  # in front of a field's name, it is the module's own


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: one of ``KINDS``.
        unit: outputs of a dense layer, channels of a convolution.
        window: a convolution's or a pooling's, on both axes; a convolution pads nothing unless ``same``.
        rate: a dropout's.
        act, ki, bi, kr: of layers with weights: keys of ``ACTIVATIONS``, ``INITIALIZERS`` and ``REGULARIZERS``; a
            module has the first one alone, behind its outputs.
        layer: how many copies of a dense layer stand here.
        norm: ``layer`` normalises what goes into the activation, over all of an example (Ba et al., 2016).
        skip: ``identity`` adds what came into the layer to what it gives, without weights (He et al., 2016): cut to its
            middle where a convolution has taken the rim off, and with zeros for the channels that it lacks.
        module: of a layer of this kind.
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
    norm: str = "none"
    skip: str = "none"
    module: nn.Module | None = None

    def __post_init__(self):
        one_of("kind", [self.kind], KINDS)
        within("rate", self.rate, 0, 1)
        for name, known in (OF_LAYERS | OF_HIDDEN).items():
            one_of(name, [getattr(self, name)], known)
        if self.kind in ("dense", "conv"):
            within("unit", self.unit, 1)
        within("layer", self.layer, 0, 16)

    @property
    def weighted(self) -> bool:
        return self.kind in ("dense", "conv", "module")

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its fields that every layer with weights of its kind has."""
        if self.kind == "module":
            return "act", *(INSIDE + name for name in own_fields(self.module))
        return tuple(OF_LAYERS)

    def __getitem__(self, name: str) -> Value:
        return getattr(self.module if name.startswith(INSIDE) else self, name.removeprefix(INSIDE))

    def changed(self, name: str, value: Value) -> "Layer":
        """With another value in a field."""
        if name.startswith(INSIDE):
            return dataclasses.replace(self, module=self.module.clone(**{name.removeprefix(INSIDE): value}))
        return dataclasses.replace(self, **{name: value})


def own_fields(module: nn.Module) -> dict[str, Value]:
    """The fields of a Flax module that hold a text, a number, or yes or no."""
    values = {field.name: getattr(module, field.name) for field in dataclasses.fields(module) if field.init}
    return {name: value for name, value in values.items() if name != "name" and isinstance(value, Value)}


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
