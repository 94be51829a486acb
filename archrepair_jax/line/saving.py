"""What a run keeps: the parts of a repair and a verdict, and in the end a network that ``load`` gives back."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from archrepair_jax import __version__
from archrepair_jax.errors import InputError
from archrepair_jax.files import read_json, write_whole
from archrepair_jax.line.settings import as_dataclass
from archrepair_jax.line.work_folder import WorkFolder, intact
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.weights import load_variables, save_variables
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.sampling import Cells
from archrepair_jax.repair.edits import Edit, apply, from_json, to_json
from archrepair_jax.training.batches import Samples

DESCRIPTION, WEIGHTS = "repaired.json", "repaired.safetensors"
ARRAYS = {kind.__name__: kind for kind in (Samples, Cells)}
VARIABLES = ("variables", "start")  # the fields that hold a network's


def keep(work: WorkFolder, name: str, value: Any) -> dict[str, Any]:
    """Writes the arrays of a repair or a verdict beside a work folder's result ``name``; the rest of it, as JSON."""
    rest = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if field.name == "edits":
            part = to_json(part)
        elif field.name in VARIABLES and part is not None:
            work.keep(f"{name}-{field.name}", part)
            part = "kept"
        elif isinstance(part, Samples | Cells):
            arrays = {each.name: np.asarray(getattr(part, each.name)) for each in dataclasses.fields(part)}
            work.keep_arrays(f"{name}-{field.name}", arrays)
            part = {"kept": type(part).__name__}
        rest[field.name] = part
    return rest


def kept(work: WorkFolder, name: str, kind: type, rest: Mapping[str, Any], network: Network) -> Any:
    """The inverse of ``keep``; variables are those of the original ``network`` with the repair's edits."""
    with intact(work.path / f"{name}.json", but=(InputError,)):
        edited = apply(network, from_json(rest["edits"])) if "edits" in rest else network
        parts = {}
        for field in dataclasses.fields(kind):
            part = rest[field.name]
            if field.name == "edits":
                part = from_json(part)
            elif field.name in VARIABLES and part is not None:
                part = work.variables(f"{name}-{field.name}", edited)
            elif isinstance(part, dict) and part.get("kept") in ARRAYS:
                part = ARRAYS[part["kept"]](**work.arrays(f"{name}-{field.name}", lambda: {}))
            parts[field.name] = part
        return kind(**parts)


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

    def __call__(self, images: Shaped[ArrayLike, "B ..."]) -> Float[Array, "B K"]:
        """Logits of images [B, H, W, C], uint8 or float in [0, 1]; of inputs [B, D], for a network of vectors.

        Raises InputError for another shape or type, and for images whose floats lie outside of [0, 1].
        """
        images = jnp.asarray(images)
        shape = self.network.image_shape
        if images.ndim != len(shape) + 1 or images.shape[1:] != shape:
            raise InputError(
                f"images of shape {images.shape} do not fit: this network takes [B, {', '.join(map(str, shape))}]"
            )
        if len(shape) == 1:
            return self.network.apply(self.variables, images)
        if images.dtype == jnp.uint8:
            return self.network.apply(self.variables, images / 255.0)
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(f"images are {images.dtype}: give uint8, or floats in [0, 1]")
        if images.size and not bool(((images >= 0) & (images <= 1)).all()):
            low, high = float(images.min()), float(images.max())
            raise InputError(f"images range over {low:g}..{high:g}: divide them by 255, or give uint8")
        return self.network.apply(self.variables, images)


def save(
    folder: pathlib.Path,
    model: Mapping[str, Any],
    class_names: tuple[str, ...],
    edits: tuple[Edit, ...],
    variables: Variables,
) -> None:
    """Writes a repaired network: its weights, then what they belong to; ``model`` is a ``description``."""
    saved = {"version": __version__, "model": model, "class_names": class_names, "edits": to_json(edits)}
    save_variables(folder / WEIGHTS, variables)
    write_whole(folder / DESCRIPTION, f"{json.dumps(saved, indent=2, sort_keys=True)}\n".encode())


def description(settings: ModelSettings, network: Network) -> dict[str, Any]:
    """What ``load`` needs to build the original network again, JSON."""
    return {"settings": dataclasses.asdict(settings), "image_shape": network.image_shape}


def load(folder: str | os.PathLike, case: str = "") -> Classifier:
    """The repaired network of a finished run's work folder; of one over regions that had several, that of ``case``.

    Raises InputError where there is none, for a damaged one, and for one that another version has written.
    """
    path = described(pathlib.Path(folder).expanduser(), case)
    with intact(path):
        saved = read_json(path)
    with intact(path, but=(InputError,)):
        if not isinstance(saved, dict):
            raise ValueError
        if (version := saved.get("version", "an older version")) != __version__:
            raise InputError(f"{path} was written by {version}, this is {__version__}: repair again with this one")
        settings = as_dataclass(ModelSettings, saved["model"]["settings"], "model.")
        names, shape = tuple(map(str, saved["class_names"])), tuple(map(int, saved["model"]["image_shape"]))
        network, _ = regroup(build(settings, shape, len(names)), {}, settings.groups)
        network = apply(network, from_json(saved["edits"]))
    return Classifier(network, load_variables(path.with_name(WEIGHTS), network), names)


def described(folder: pathlib.Path, case: str) -> pathlib.Path:
    """Where a work folder describes its repaired network, or that of one case."""
    cases = {"-".join(path.parts[-3:-1]): path for path in sorted(folder.glob(f"cases/*/*/{DESCRIPTION}"))}
    if (folder / DESCRIPTION).is_file() and not case:
        return folder / DESCRIPTION
    if not cases:
        raise InputError(f"{folder} holds no repaired network: name the work folder of a run that repaired one")
    if case not in cases and (case or len(cases) > 1):
        raise InputError(f"{folder} holds the repaired networks of several cases: name one, {', '.join(cases)}")
    return cases[case or next(iter(cases))]
