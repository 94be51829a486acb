"""The run over images for who holds a model and arrays: the same stages, guard, ledger, controls and record."""

import dataclasses
import functools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from archrepair_jax.data.sources.arrays import to_mask
from archrepair_jax.data.splits import Dataset, Split
from archrepair_jax.errors import InputError
from archrepair_jax.line import images
from archrepair_jax.line.classifiers import Classifier, describe, description, load
from archrepair_jax.line.marked import answered
from archrepair_jax.line.settings import Settings, as_dataclass, from_config
from archrepair_jax.models import CALLERS, ModelSettings
from archrepair_jax.models.adopt import Model
from archrepair_jax.models.network import Variables
from archrepair_jax.repair.method import Unfit
from archrepair_jax.reporting.summary import summary

KEPT = ("report.*", "figures/*", "arms/*/repaired.*")  # of a work folder, in a report's


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What a repair came to.

    Attributes:
        record: as ``report.json`` has it.
        model_given: what was to be repaired.
        class_names: by label.
        folder: where the run was made.
    """

    record: Mapping[str, Any]
    model_given: Model
    class_names: tuple[str, ...]
    folder: pathlib.Path
    _temporary: tempfile.TemporaryDirectory | None = None  # lasts as long as the result

    def __repr__(self) -> str:
        return "\n".join([self.summary, *self.notes])

    @property
    def summary(self) -> str:
        """One sentence: what the best accepted arm fixed and broke, and what the others would have."""
        return summary(self.record)

    @property
    def notes(self) -> tuple[str, ...]:
        """What one should know of the model and the data; may be empty."""
        return tuple(self.record["notes"])

    @property
    def arms(self) -> dict[str, Mapping[str, Any]]:
        """Every arm by its name, the original first, as ``report.json`` has it."""
        return {arm["name"]: arm for arm in self.record["arms"]}

    @functools.cached_property
    def best(self) -> Classifier:
        """The best accepted arm (``best.arm`` says which): called on images, it gives logits [B, K].

        It is chosen on the guard's examples, see ``load``; the original where no arm was accepted.
        """
        return self.arm("best")

    def arm(self, name: str) -> Classifier:
        """Any arm, as far as it was accepted. Raises InputError for one that there is not."""
        if len(self.record["arms"]) == 1:
            own, settings = self.model_given, as_dataclass(ModelSettings, dict(self.record["config"]["model"]))
            described = describe(description(settings, own.network), self.class_names, own.network)
            return Classifier(own.network, own.variables, self.class_names, "original", described, own.back)
        return load(self.folder, name, model=self.model_given)

    @property
    def model(self) -> Any:
        """The best accepted arm in the form in which the model was given, see ``Classifier.model``."""
        return self.best.model

    def export(self, folder: str | os.PathLike, form: str, arm: str = "best") -> pathlib.Path:
        """Writes an arm's classifier to take home, as safetensors, stablehlo or onnx: see ``Classifier.export``."""
        return self.arm(arm).export(folder, form)

    def report(self, folder: str | os.PathLike) -> pathlib.Path:
        """Writes report.html, the same as report.md and report.json, and every arm for ``load``; gives the first."""
        target = pathlib.Path(folder).expanduser()
        for path in (path for pattern in KEPT for path in self.folder.glob(pattern)):
            place = target / path.relative_to(self.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        return target / "report.html"


def carry_out(
    model: Model,
    dataset: Dataset,
    settings: Settings,
    folder: str | os.PathLike | None,
    progress: Callable[[str, int, int, str], None],
    call: str,
) -> Result:
    """Repairs the model; without a folder, in a temporary one. Raises as ``images.run`` does.

    ``call`` is what the report says that made it.
    """
    if not has_numbers(model.variables):
        raise InputError(f"{model.name} has weights that are NaN or infinite: give those of a trained model")
    temporary = tempfile.TemporaryDirectory(prefix="archrepair-") if folder is None else None
    place = pathlib.Path(temporary.name if temporary else folder).expanduser()
    original, notes = (model.network, model.variables), [model.note] if model.note else []
    try:
        record = images.carry_out(settings, dataset, original, place, {"notes": notes, "call": call}, progress)
    except Unfit as error:
        raise Unfit(f"{error} ({model.note})" if model.note else str(error), error.method) from error
    return Result(record, model, dataset.class_names, place, temporary)


def has_numbers(variables: Variables) -> bool:
    """Whether all that is floating there is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(variables) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)


def make_settings(model: Model, told: Mapping[str, Any], tested: bool) -> Settings:
    """Settings from dotted keys, as on the command line. Raises InputError for one that there is not."""
    defaults: dict[str, Any] = {
        "controls": ("fine_tune_network",),
        "stages": ("localize", "repair", "controls", *(("evaluate",) if tested else ())),
    }
    names = [name for name, block in model.network.blocks if block.has_branch]
    if len(names) == 1:  # nothing to localize
        defaults |= {"repair.block": names[0], "stages": defaults["stages"][1:]}
    given = {
        "model.name": f"{CALLERS}{model.name}",
        "model.weights": "the caller's",
        "data.name": "the arrays given",
    }
    nested: dict[str, Any] = {}
    for key, value in (defaults | dict(told) | given).items():
        *sections, last = key.split(".")
        functools.reduce(lambda at, section: at.setdefault(section, {}), sections, nested)[last] = value
    return from_config(ConfigDict(nested))


def only_these_failures(model: Model, train: Split, failing: Any) -> Split:
    """A split without the failures that are not among those to repair; ``failing`` are indices, or a mask.

    Raises InputError for what is no index, and for images that the model gets right.
    """
    named = to_mask(np.asarray(failing), len(train), "failing")
    right = answered(model.network, model.variables, train)
    if (fine := np.flatnonzero(named & right)).size:
        raise InputError(
            f"failing names {len(fine)} images that the model gets right as its labels have it (the first: {fine[0]}): "
            "leave them out, or mend their labels"
        )
    return train.take(np.flatnonzero(right | named))
