"""Everything a run can be told, as frozen settings; a config file holds the same as an ml_collections ConfigDict."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from archrepair_jax.data.augment import AUGMENTATIONS
from archrepair_jax.data.corruptions import KINDS, SEVERITIES
from archrepair_jax.data.sources import DataSettings
from archrepair_jax.errors import InputError
from archrepair_jax.localization import LocalizationSettings
from archrepair_jax.models import ModelSettings
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.imitation.retraining import BEHAVIOURS, REDUCTIONS, ImitationRetrainingSettings
from archrepair_jax.repair.imitation.tuning import ImitationTuningSettings
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.operations import SPATIAL, VECTOR
from archrepair_jax.training.descent import OPTIMIZERS, TuningSettings
from archrepair_jax.views.view import ADAPTIVE, ATTACKS, CLEAN, View

STAGES = ("localize", "repair", "controls", "evaluate")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a network without weights is trained: ``steps`` of ``descent`` on the clean train split."""

    steps: int = 600
    descent: TuningSettings = TuningSettings(
        optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, failing_share=0.0, preserve=0.0, augment=("shift",)
    )


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """Which corruptions and attacks images are seen under: every kind at every severity, beside the clean view.

    An attack's severity is the radius of its ball: ``localization.attacks.GREY_LEVELS``.
    """

    kinds: tuple[str, ...] = KINDS
    severities: tuple[int, ...] = (3,)

    @property
    def views(self) -> tuple[View, ...]:
        return (CLEAN, *(View(kind, severity) for kind in self.kinds for severity in self.severities))


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        seed: decides everything that is drawn.
        devices: how many to use; 0 for all.
        steps_per_call: steps between two looks at progress, checkpoints and signals (1 on CPUs).
        stages: which of the line to run, out of localize, repair, controls, evaluate; obtaining the network and
            writing the report always belong to it.
        controls: methods that get the repair's budget too.
        failures: the views in which the network is to be repaired, on train and validation images.
        evaluation: the views in which it is judged, on test images.
        data, model, training, localization, repair: see there.
    """

    seed: int = 0
    devices: int = 0
    steps_per_call: int = 10
    stages: tuple[str, ...] = STAGES
    controls: tuple[str, ...] = ("fine_tune_block", "fine_tune_network", "random_architecture")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    failures: ViewSettings = ViewSettings(kinds=("gaussian_noise", "defocus_blur", "contrast"), severities=(4,))
    localization: LocalizationSettings = LocalizationSettings()
    repair: RepairSettings = RepairSettings()
    evaluation: ViewSettings = ViewSettings()

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that will run: the repair's, then the controls, as far as the stages ask for them."""
        repair = (self.repair.method,) if "repair" in self.stages else ()
        controls = self.controls if "controls" in self.stages else ()
        return repair + tuple(name for name in controls if name != self.repair.method)


def default_config() -> ConfigDict:
    """The defaults, for a config file to change; keys and types are fixed."""
    config = ConfigDict(dataclasses.asdict(Settings()), convert_dict=True)
    return config.lock()


def from_config(config: ConfigDict) -> Settings:
    """The settings that a config holds. Raises InputError for a key, a type or a value that no run can have."""
    settings = as_dataclass(Settings, config.to_dict())
    check(settings)
    return settings


def as_dataclass(kind: type, values: dict[str, Any], section: str = "") -> Any:
    """Nested dictionaries as nested dataclasses, lists as tuples; what is left out keeps its default.

    A config from ``default_config`` has the right keys and, but for what is in tuples, the right types already.
    Raises InputError where it has not.
    """
    kinds = typing.get_type_hints(kind)
    for name in values:
        one_of(section.rstrip(".") or "the config", [name], kinds)
    return kind(**{name: fitting(f"{section}{name}", kinds[name], value) for name, value in values.items()})


def fitting(name: str, kind: Any, value: Any) -> Any:
    """``value`` as the type that a dataclass declares for the key ``name``."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return as_dataclass(kind, value, f"{name}.")
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(fitting(name, typing.get_args(kind)[0], entry) for entry in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        wanted = {int: "a whole number", float: "a number", str: "a text"}.get(kind)
        wanted = wanted or ("a section" if dataclasses.is_dataclass(kind) else "a tuple")
        raise InputError(f"{name} cannot hold {value!r}: it takes {wanted}")
    return value


def check(settings: Settings) -> None:
    """Raises InputError for names that do not exist and numbers that make no sense."""
    repair, training = settings.repair, settings.training.descent
    tuning, search = repair.tuning, repair.search
    one_of("stages", settings.stages, STAGES)
    one_of("controls", settings.controls, METHODS)
    one_of("repair.method", [repair.method], METHODS)
    one_of("repair.search.selection", [search.selection], ("perturbation", "alpha"))
    one_of("repair.search.operations", search.operations, SPATIAL | VECTOR)
    one_of("repair.search.order", [search.order], (1, 2))
    one_of("failures.kinds", settings.failures.kinds, (*KINDS, *ATTACKS))
    one_of("evaluation.kinds", settings.evaluation.kinds, (*KINDS, *ATTACKS, *ADAPTIVE))
    for section, views in (("failures", settings.failures), ("evaluation", settings.evaluation)):
        one_of(f"{section}.severities", views.severities, SEVERITIES)
    for section, descent in (("training.descent", training), ("repair.tuning", tuning)):
        one_of(f"{section}.optimizer", [descent.optimizer], OPTIMIZERS)
        one_of(f"{section}.augment", descent.augment, AUGMENTATIONS)
        within(f"{section}.failing_share", descent.failing_share, 0, 1)
        for name in ("learning_rate", "weight_decay", "preserve"):
            within(f"{section}.{name}", getattr(descent, name), 0)
    if tuning.augment:
        raise InputError("repair.tuning.augment must be empty: the repair learns from features that are computed once")
    within("seed", settings.seed, 0, 2**32 - 1)
    within("training.steps", settings.training.steps, 1)
    within("steps_per_call", settings.steps_per_call, 1)
    within("repair.budget", repair.budget, 1)
    within("repair.network_learning_rate", repair.network_learning_rate, 0)
    within("repair.recalibration_batches", repair.recalibration_batches, 0)
    check_scaling("repair.imitation_tuning", repair.imitation_tuning)
    check_retraining("repair.imitation_retraining", repair.imitation_retraining)
    for name in ("steps", "batch_size", "outside", "certainty", "cells"):
        if getattr(repair.imitation_retraining, name) != getattr(RepairSettings().imitation_retraining, name):
            raise InputError(
                f"repair.imitation_retraining.{name} is of no use here, where steps follow from repair.budget, batches "
                "from repair.tuning, no example lies outside, and no proof follows: leave it alone"
            )
    within("repair.guard.clean_drop", repair.guard.clean_drop, 0, 1)
    for name in ("hidden", "warmup_steps", "steps", "projection_steps", "alpha_learning_rate", "alpha_weight_decay"):
        within(f"repair.search.{name}", getattr(search, name), 0)
    for fraction in repair.guard.fractions:
        within("repair.guard.fractions", fraction, 0.01, 1)
    if not repair.guard.fractions:
        raise InputError("repair.guard.fractions is empty, so that no repair could be accepted: take (1.0,) or more")
    if not settings.stages:
        raise InputError(f"stages is empty: name some of {', '.join(STAGES)}")
    if {"repair", "controls"} & set(settings.stages) and "localize" not in settings.stages and not repair.block:
        raise InputError("there is no block to repair: add localize to stages, or name one in repair.block")


def check_scaling(section: str, settings: ImitationTuningSettings) -> None:
    """As ``check``, for one section."""
    swarm = settings.swarm
    for name in ("neurons", "chunk"):
        within(f"{section}.{name}", getattr(settings, name), 1)
    for name in ("unrepaired", "broken", "fidelity"):
        within(f"{section}.{name}", getattr(settings, name), 0)
    for name in ("particles", "iterations", "patience"):
        within(f"{section}.swarm.{name}", getattr(swarm, name), 1)
    for name in ("inertia", "cognitive", "social", "bound", "velocity", "tolerance"):
        within(f"{section}.swarm.{name}", getattr(swarm, name), 0)


def check_retraining(section: str, settings: ImitationRetrainingSettings) -> None:
    """As ``check``, for one section."""
    one_of(f"{section}.behaviour", [settings.behaviour], BEHAVIOURS)
    one_of(f"{section}.reduce", [settings.reduce], REDUCTIONS)
    for name in ("neighbours", "steps", "cells"):
        within(f"{section}.{name}", getattr(settings, name), 1)
    within(f"{section}.batch_size", settings.batch_size, 4)
    for name in ("margin", "temperature"):
        within(f"{section}.{name}", getattr(settings, name), 1e-6)
    for name in ("imitate", "hold", "outside", "preferences", "margin_weight", "certainty", "learning_rate"):
        within(f"{section}.{name}", getattr(settings, name), 0)


def one_of(name: str, values: Iterable, allowed: Iterable) -> None:
    """Raises InputError, with the nearest name there is, for a value that is not allowed or comes twice."""
    values, allowed = list(values), list(allowed)
    for place, value in enumerate(values):
        if value not in allowed:
            near = difflib.get_close_matches(str(value), map(str, allowed), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{name} cannot hold {value!r}: {hint}choose from {', '.join(map(str, allowed))}")
        if value in values[:place]:
            raise InputError(f"{name} holds {value!r} twice: leave one out")


def within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises InputError for a number that is not finite or out of its range, both ends being allowed."""
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise InputError(f"{name}={value} is out of range: take a number {bounds}")
