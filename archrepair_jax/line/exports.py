"""A classifier in files to take home: what holds it, in one of several formats, and beside it what that is."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from archrepair_jax.errors import InputError, one_of
from archrepair_jax.files import read_json, write_whole
from archrepair_jax.models.blocks import Normalize
from archrepair_jax.models.formats.standalone import BATCH, SOURCE, TARGET, to_onnx, to_stablehlo
from archrepair_jax.models.formats.weights import pack_variables
from archrepair_jax.models.network import Network, Variables

NAME, DESCRIPTION = "repaired", "repaired.json"
FORMATS: dict[str, Callable[[Network, Variables], bytes]] = {
    "safetensors": lambda network, variables: pack_variables(variables),
    "stablehlo": to_stablehlo,
    "onnx": to_onnx,
}


def write(folder: pathlib.Path, form: str, content: bytes, described: Mapping[str, Any]) -> pathlib.Path:
    """Writes a classifier in one format, and what it is; gives the first file's path."""
    write_whole(path := folder / f"{NAME}.{form}", content)
    write_whole(folder / DESCRIPTION, f"{json.dumps(described, indent=2, sort_keys=True)}\n".encode())
    return path


def export(
    folder: pathlib.Path, form: str, network: Network, variables: Variables, described: Mapping[str, Any]
) -> pathlib.Path:
    """The same into a folder of the caller's, which may hold this classifier in other formats.

    Raises InputError for a format that there is not, for what it cannot hold, and where another classifier lies there.
    """
    one_of("the format", [form], FORMATS)
    there = folder / DESCRIPTION
    if there.exists() and read_json(there) != json.loads(json.dumps(described)):
        raise InputError(f"{folder} holds another classifier: name another folder, or empty it")
    return write(folder, form, FORMATS[form](network, variables), described)


def ends(network: Network) -> dict[str, Any]:
    """What goes in and what comes out, for who knows nothing of ours: names, shapes, and what is done to images inside.

    ``mean`` is subtracted from them, and they are divided by ``std``; null where they are taken as they are.
    """
    normalize = next((module for _, module in network.blocks if isinstance(module, Normalize)), None)
    image = len(network.image_shape) == 3
    return {
        "blocks": network.names,
        "input": {
            "name": SOURCE,
            "shape": [BATCH, *network.image_shape],
            "axes": "NHWC" if image else "NC",
            "type": "float32",
            "range": [0, 1] if image else None,
            "mean": normalize and normalize.mean,
            "std": normalize and normalize.std,
        },
        "output": {"name": TARGET, "shape": [BATCH, network.num_classes], "type": "float32"},
    }
