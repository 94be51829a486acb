"""Networks built of named blocks, and the weights they take from elsewhere."""

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Normalize
from archrepair_jax.models.families import convnet, densenet, mlp, resnet
from archrepair_jax.models.layers import Blocks
from archrepair_jax.models.network import Network

MODELS: dict[str, Callable[..., Blocks]] = {
    **{f"resnet{depth}": functools.partial(resnet.cifar_resnet, depth=depth) for depth in (8, 20, 32, 44, 56)},
    "resnet18": functools.partial(resnet.resnet, block=resnet.BasicBlock, repeats=(2, 2, 2, 2)),
    "resnet50": functools.partial(resnet.resnet, block=resnet.Bottleneck, repeats=(3, 4, 6, 3)),
    "resnet101": functools.partial(resnet.resnet, block=resnet.Bottleneck, repeats=(3, 4, 23, 3)),
    "densenet121": densenet.densenet,
    "mlp": mlp.mlp,
    "convnet": convnet.convnet,
}
CALLERS = "own:"  # a model of the caller's, which nobody else can build again


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Which network, and where its weights come from.

    Attributes:
        name: a key of ``MODELS``, or one that begins with ``CALLERS``.
        stem: ``cifar`` or ``imagenet``, for the ResNets 18, 50 and 101 and DenseNet-121.
        widths: channels a stage (ResNets), channels a convolution (convnet) or hidden widths (mlp); empty for the
            family's own.
        activation: of the mlp's hidden layers, a key of ``mlp.ACTIVATIONS``.
        mean: what is subtracted from an image in [0, 1], one number a channel or one for all; empty means 0.5.
        std: what it is then divided by, likewise; empty means 0.25.
        weights: a file of weights for ``formats.weights.load_weights``; empty for a network yet to be trained.
        groups: neighbouring blocks that are localized and repaired as one: ``stage1`` for the blocks ``stage1_…``,
            ``stem+stage1`` for the stem and these. ``groups.regroup`` makes them of the network that ``build`` gives,
            once that has its weights.
    """

    name: str = "resnet20"
    stem: str = "cifar"
    widths: tuple[int, ...] = ()
    activation: str = "relu"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    weights: str = ""
    groups: tuple[str, ...] = ()


def build(settings: ModelSettings, image_shape: tuple[int, ...], num_classes: int) -> Network:
    """The network that the settings describe, for images ``(height, width, channels)`` or vectors ``(length,)``.

    Raises InputError for an unknown name, a setting the model does not have, and widths, mean or std that cannot be.
    """
    if settings.name not in MODELS:
        near = difflib.get_close_matches(settings.name, MODELS, n=1, cutoff=0.0)[0]
        raise InputError(
            f"no model is called {settings.name!r}; the nearest is {near}, and all are {', '.join(MODELS)}"
        )
    make, defaults = MODELS[settings.name], ModelSettings()
    names = [name for name in ("stem", "widths", "activation") if getattr(settings, name) != getattr(defaults, name)]
    for name in names:
        if name not in inspect.signature(make).parameters:
            raise InputError(f"{settings.name} has no setting {name}; leave it out")
    if any(width < 1 for width in settings.widths):
        raise InputError(f"no layer can have one of the widths {settings.widths}; give positive numbers")
    blocks = make(num_classes, **{name: getattr(settings, name) for name in names})
    if len(image_shape) == 1:  # vectors are read as they are
        return Network(blocks, image_shape, num_classes)
    normalize = normalization(settings.mean or (0.5,), settings.std or (0.25,), image_shape[-1])
    return Network((("input", normalize), *blocks), image_shape, num_classes)


def normalization(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> Normalize:
    """The first block of a network on images of so many channels. Raises InputError for numbers that cannot be."""
    mean, std = per_channel("mean", mean, channels), per_channel("std", std, channels)
    if not all(value > 0 for value in std):
        raise InputError(f"std {std} cannot divide an image; give positive numbers")
    return Normalize(mean, std)


def per_channel(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value for each channel; a single one serves them all. Raises InputError for any other number of them."""
    if len(values) not in (1, channels):
        raise InputError(
            f"{name} has {len(values)} values, but the images have {channels} channels; give one or {channels}"
        )
    return tuple(values) * (channels // len(values))
