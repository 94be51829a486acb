"""The repaired network on disk: ``load(folder)`` gives it back, callable, in any process."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.files import write_whole
from archrepair_jax.line.work_folder import intact
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.weights import load_variables, save_variables
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.architecture import install
from archrepair_jax.repair.imitation.tuning import fold
from archrepair_jax.search.cell import genotype_from_json

DESCRIPTION, WEIGHTS = "repaired.json", "repaired.safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A network with its variables; call it on images to get logits [B, K].

    Attributes:
        network, variables: what it is made of.
        class_names: by label.
    """

    network: Network
    variables: Variables
    class_names: tuple[str, ...]

    def __call__(self, images: Array) -> Float[Array, "B K"]:
        """Logits of images [B, H, W, C], uint8 or float in [0, 1]. Raises InputError for another shape or type."""
        images = jnp.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.network.image_shape:
            shape = ", ".join(map(str, self.network.image_shape))
            raise InputError(f"images of shape {images.shape} do not fit: this network takes [B, {shape}]")
        if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(f"images are {images.dtype}: give uint8, or floats in [0, 1]")
        return self.network.apply(self.variables, images / 255.0 if images.dtype == jnp.uint8 else images)


def rebuild(network: Network, told: dict[str, Any]) -> Network:
    """The repaired network, out of the original one and what is told of the repair.

    That is the ``block`` that was replaced and the found one's ``genotype``, or the blocks behind which a repair left a
    scale (``scaled``); where there is neither, the network is the original one.
    """
    if genotype := told.get("genotype"):
        network = install(network, told["block"], genotype_from_json(genotype))
    return fold(network, {"params": {}}, dict.fromkeys(told.get("scaled") or ()))[0]


def save(
    folder: pathlib.Path,
    network: Network,
    variables: Variables,
    model: ModelSettings,
    class_names: tuple[str, ...],
    told: dict[str, Any],
) -> None:
    """Writes the repaired network: its weights, then what they belong to."""
    description = {
        "model": dataclasses.asdict(model),
        "image_shape": network.image_shape,
        "class_names": class_names,
        "block": told["block"],
        "genotype": told.get("genotype"),
        "scaled": told.get("scaled"),
    }
    save_variables(folder / WEIGHTS, variables)
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    write_whole(folder / DESCRIPTION, text.encode())


def load(folder: str | os.PathLike) -> Classifier:
    """The repaired network of a finished run's work folder. Raises InputError where there is none, or a damaged one."""
    path = pathlib.Path(folder) / DESCRIPTION
    if not path.is_file():
        raise InputError(f"{folder} holds no repaired network: name the work folder of a run that repaired one")
    with intact(path):
        saved = json.loads(path.read_text())
        tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in saved["model"].items()}
        model = ModelSettings(**tuples)
        network = build(model, tuple(saved["image_shape"]), len(saved["class_names"]))
        network = rebuild(regroup(network, {}, model.groups)[0], saved)
    variables = load_variables(path.with_name(WEIGHTS), network)
    return Classifier(network, variables, tuple(saved["class_names"]))
