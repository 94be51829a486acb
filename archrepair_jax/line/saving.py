"""What a stage keeps: the parts of a repair and of a verdict, as JSON with arrays beside it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.line.work_folder import WorkFolder, intact
from archrepair_jax.models.network import Network
from archrepair_jax.regions.sampling import Cells
from archrepair_jax.repair.edits import apply, from_json, to_json
from archrepair_jax.training.batches import Samples

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
