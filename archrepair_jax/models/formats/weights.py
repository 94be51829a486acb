"""Weights from a file: under torch's names and in its layouts, or in our own hand-off format.

Both are named arrays, in ``.npz`` or ``.safetensors``. A torch file has dotted keys; ours has the path of each
variable, as ``params/stem/conv1/kernel``. A ``/`` in its keys tells our format, since no torch module name has one.
"""

import math
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import traverse_util

from archrepair_jax.errors import InputError
from archrepair_jax.files import read_npz, write_whole
from archrepair_jax.models import ModelSettings
from archrepair_jax.models.network import Network, Variables

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
SHOWN = 8  # how many keys an error names before it only counts them


class Entry(NamedTuple):
    """Where an array of a file belongs: the variable is ``array.reshape(split).transpose(axes).reshape(shape)``.

    Attributes:
        path: collection, block, and the path inside the block, down to the leaf.
        shape: of the variable.
        stored: the shape of the file's array.
        split: ``stored``, with an axis that runs over several split into them.
        axes: the order in which the variable takes the axes of ``split``.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    split: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def layer(self) -> str:
        return "/".join(self.path[1:-1])


def own_names(network: Network) -> dict[str, Entry]:
    """The key and place of every variable in our own format, where arrays are stored as they are."""
    shapes = traverse_util.flatten_dict(jax.eval_shape(network.init, jax.random.key(0)))
    return {"/".join(path): Entry(path, x.shape, x.shape, x.shape, tuple(range(x.ndim))) for path, x in shapes.items()}


def torch_modules(network: Network, settings: ModelSettings) -> dict[str, str]:
    """The name of the torch module that each layer, as ``stem/conv1``, of a network built from ``settings`` is.

    CIFAR ResNets have the names of the public akamaster/pytorch_resnet_cifar10, ResNet-18, -50, -101 and DenseNet-121
    those of torchvision; mlp and convnet have ours, with dots: ``stem.conv1``.
    """
    module = TORCH_MODULES.get(settings.name, lambda block, layer: f"{block}.{layer}")
    return {own.layer: module(own.path[1], ".".join(own.path[2:-1])) for own in own_names(network).values()}


def torch_names(network: Network, settings: ModelSettings, names: Mapping[str, str] | None = None) -> dict[str, Entry]:
    """The torch key, as ``stem.conv1.weight``, and place of every variable of a network built from ``settings``.

    ``names`` are those of ``torch_modules`` or others. Raises InputError if they do not name each layer once.
    """
    modules = torch_modules(network, settings)
    if names is not None:
        given = list(names.values())
        faults = {
            "missing": sorted(modules.keys() - names.keys()),
            "unknown": sorted(names.keys() - modules.keys()),
            "given twice": sorted({name for name in given if given.count(name) > 1}),
        }
        if told := tell(faults):
            raise InputError(f"the torch names do not fit this network's layers: {told}; map each layer to a module")
        modules = names
    return {
        f"{modules[own.layer]}.{LEAVES[own.path[-1]]}": torch_layout(own, network.image_shape)
        for own in own_names(network).values()
    }


def torch_layout(own: Entry, image_shape: tuple[int, int, int]) -> Entry:
    """The same place, for an array in torch's layout: output channels first, images as (channels, height, width)."""
    if own.path[-1] != "kernel":
        return own
    *kernel, entering, leaving = own.shape
    stored = split = leaving, entering, *kernel
    if own.path[1:3] == ("layer1", "linear"):  # a mlp's first layer, which runs over all values of an image
        height, width, channels = image_shape
        split = leaving, channels, height, width
    return own._replace(stored=stored, split=split, axes=(*range(2, len(split)), 1, 0))


def cifar_resnet_module(block: str, layer: str) -> str:
    """akamaster's name of a layer: torchvision's, but the output layer is called ``linear``."""
    return layer if block == "head" else resnet_module(block, layer)


def resnet_module(block: str, layer: str) -> str:
    """torchvision's name of a ResNet's layer, as ``layer2.0.downsample.1``."""
    if block == "head":
        return "fc"
    if block == "stem":
        return layer
    stage, number = re.findall(r"\d+", block)
    layer = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}.get(layer, layer)
    return f"layer{stage}.{int(number) - 1}.{layer}"


def densenet_module(block: str, layer: str) -> str:
    """torchvision's name of a DenseNet's layer, as ``features.denseblock1.denselayer6.norm2``."""
    ends = {
        ("stem", "conv1"): "features.conv0",
        ("stem", "bn1"): "features.norm0",
        ("head", "bn1"): "features.norm5",
        ("head", "linear"): "classifier",
    }
    if (block, layer) in ends:
        return ends[block, layer]
    layer = layer.replace("bn", "norm")
    if block.startswith("transition"):
        return f"features.{block}.{layer.rstrip('1')}"
    stage, number = re.findall(r"\d+", block)
    return f"features.denseblock{stage}.denselayer{number}.{layer}"


TORCH_MODULES: dict[str, Callable[[str, str], str]] = {
    **dict.fromkeys(("resnet8", "resnet20", "resnet32", "resnet44", "resnet56"), cifar_resnet_module),
    **dict.fromkeys(("resnet18", "resnet50", "resnet101"), resnet_module),
    "densenet121": densenet_module,
}


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The named arrays of a .npz or .safetensors file. Raises InputError if it is missing, damaged or foreign."""
    path = pathlib.Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise InputError(f"cannot read weights from {path}; save them as .npz or .safetensors")
    if not path.is_file():
        raise InputError(f"there is no file of weights {path}; check the path")
    if path.suffix == ".npz":
        return read_npz(path)
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # each layer of the format has exceptions of its own for a damaged file
        raise InputError(f"{path} is damaged or no .safetensors file: fetch or save it again") from error


def assemble(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], table: Mapping[str, Entry]) -> Variables:
    """Variables from a file's arrays. Raises one InputError that tells all in which they differ from the table."""
    both = sorted(table.keys() & arrays.keys())
    faults = {
        "missing": sorted(table.keys() - arrays.keys()),
        "unknown": sorted(arrays.keys() - table.keys()),
        "of wrong shape": [
            f"{key} {arrays[key].shape} instead of {table[key].stored}"
            for key in both
            if arrays[key].shape != table[key].stored
        ],
        "without finite float32 values": [key for key in both if not holds_numbers(arrays[key])],
    }
    if told := tell(faults):
        raise InputError(f"{path} does not hold this network's weights: {told}; choose the model it was saved from")
    flat = {
        entry.path: jnp.asarray(
            arrays[key].astype(np.float32).reshape(entry.split).transpose(entry.axes).reshape(entry.shape)
        )
        for key, entry in table.items()
    }
    return {"params": {}, "batch_stats": {}} | traverse_util.unflatten_dict(flat)


def holds_numbers(array: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        return bool(jnp.issubdtype(array.dtype, jnp.floating) and np.isfinite(array.astype(np.float32)).all())


def tell(faults: Mapping[str, list[str]]) -> str:
    """As ``2 missing (bn1.bias, linear.weight); 1 unknown (fc.weight)``; empty if there are none."""
    return "; ".join(f"{len(keys)} {fault} ({listing(keys)})" for fault, keys in faults.items() if keys)


def listing(keys: list[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def has_torch_names(path: str | os.PathLike) -> bool:
    """Whether a file of weights that can be read has torch's names; its arrays are left unread."""
    names: list[str] = []
    if pathlib.Path(path).suffix == ".npz":
        read_npz(path, lambda declared: names.extend(declared) or [])
    else:
        with safetensors.safe_open(path, "numpy") as file:
            names.extend(file.keys())
    return not any("/" in name for name in names)


def load_weights(
    path: str | os.PathLike, network: Network, settings: ModelSettings, names: Mapping[str, str] | None = None
) -> Variables:
    """Variables of ``network``, built from ``settings``, from a torch-style file or one of our own; all float32.

    Torch's ``num_batches_tracked`` is passed over, and so is the prefix ``module.`` when every key has it, as after
    data-parallel training. Raises one InputError that lists every missing, unknown, misshapen or non-finite array.

    Args:
        names: the torch module of each layer, if they are not those of ``torch_modules``. Of the convnet with two
            widths as an ``nn.Sequential``, say, whose keys are ``0.weight``, ``1.running_mean``, …::

                {"stem/conv1": "0", "stem/bn1": "1", "block1/conv1": "4", "block1/bn1": "5", "head/linear": "10"}
    """
    arrays = read_arrays(path)
    if any("/" in key for key in arrays):
        table = own_names(network)
        check_classes(path, arrays, table, network)
        return assemble(path, arrays, table)
    if all(key.startswith("module.") for key in arrays):
        arrays = {key.removeprefix("module."): array for key, array in arrays.items()}
    arrays = {key: array for key, array in arrays.items() if not key.endswith("num_batches_tracked")}
    table = torch_names(network, settings, names)
    check_classes(path, arrays, table, network)
    return assemble(path, arrays, table)


def check_classes(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], table: Mapping[str, Entry], network: Network
) -> None:
    """Raises InputError where the weights are of a network that tells another number of classes apart."""
    for key, entry in table.items():
        if entry.path[1] == network.names[-1] and entry.path[-1] == "bias" and key in arrays:
            if (count := arrays[key].size) != math.prod(entry.stored):
                raise InputError(
                    f"{path} tells {count} classes apart, but the data have {network.num_classes}: choose weights and "
                    "data that agree"
                )


def load_variables(path: str | os.PathLike, network: Network) -> Variables:
    """Variables of any network, repaired or not, from a file of ``save_variables``. Raises as ``load_weights`` does."""
    return assemble(path, read_arrays(path), own_names(network))


def save_variables(path: str | os.PathLike, variables: Variables) -> None:
    """Writes variables in our own format, whole or not at all. Raises InputError if ``path`` is not a .safetensors."""
    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"cannot save variables as {path}; give a name that ends in .safetensors")
    write_whole(path, pack_variables(variables))


def pack_variables(variables: Variables) -> bytes:
    """The content of such a file."""
    flat = traverse_util.flatten_dict(variables, sep="/")
    return safetensors.numpy.save({key: np.asarray(x, order="C") for key, x in flat.items()})
