"""Everything a run can be told, as frozen settings; a config file holds the same as an ``ml_collections`` ConfigDict."""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from archrepair_jax.data.augment import AUGMENTATIONS
from archrepair_jax.data.corruptions import KINDS, SEVERITIES
from archrepair_jax.data.sources import DataSettings
from archrepair_jax.data.views import CLEAN, View
from archrepair_jax.errors import InputError
from archrepair_jax.localization import LocalizationSettings
from archrepair_jax.models import ModelSettings
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.tuning import OPTIMIZERS, TuningSettings

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
    """Which corruptions images are seen under: every kind at every severity, beside the clean view."""

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


def default_config() -> ConfigDict:
    """The defaults, for a config file to change; keys and types are fixed."""
    config = ConfigDict(dataclasses.asdict(Settings()), convert_dict=True)
    return config.lock()


def from_config(config: ConfigDict) -> Settings:
    """The settings that a config holds. Raises InputError for a value that no run can have."""
    settings = as_dataclass(Settings, config.to_dict())
    check(settings)
    return settings


def as_dataclass(kind: type, values: dict[str, Any]) -> Any:
    """Nested dictionaries as nested dataclasses; lists as tuples."""
    defaults = kind()
    arguments = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = as_dataclass(type(getattr(defaults, name)), value)
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return kind(**arguments)


def check(settings: Settings) -> None:
    """Raises InputError for names that do not exist and numbers that make no sense."""
    tuning, search = settings.repair.tuning, settings.repair.search
    one_of("stages", settings.stages, STAGES)
    one_of("controls", settings.controls, METHODS)
    one_of("repair.method", [settings.repair.method], METHODS)
    one_of("repair.search.selection", [search.selection], ("perturbation", "alpha"))
    one_of("repair.search.order", [search.order], (1, 2))
    for section, views in (("failures", settings.failures), ("evaluation", settings.evaluation)):
        one_of(f"{section}.kinds", views.kinds, KINDS)
        one_of(f"{section}.severities", views.severities, SEVERITIES)
    for section, descent in (("training.descent", settings.training.descent), ("repair.tuning", tuning)):
        one_of(f"{section}.optimizer", [descent.optimizer], OPTIMIZERS)
        one_of(f"{section}.augment", descent.augment, AUGMENTATIONS)
        within(f"{section}.learning_rate", descent.learning_rate, 0, float("inf"))
        within(f"{section}.failing_share", descent.failing_share, 0, 1)
    if tuning.augment:
        raise InputError("repair.tuning.augment must be empty: the repair learns from features that are computed once")
    for name, value in (
        ("training.steps", settings.training.steps),
        ("steps_per_call", settings.steps_per_call),
        ("repair.budget", settings.repair.budget),
    ):
        within(name, value, 1, float("inf"))
    for name in ("hidden", "warmup_steps", "steps", "projection_steps"):
        within(f"repair.search.{name}", getattr(search, name), 0, float("inf"))
    for fraction in settings.repair.guard.fractions:
        within("repair.guard.fractions", fraction, 0.01, 1)


def one_of(name: str, values: Iterable, allowed: Iterable) -> None:
    allowed = list(allowed)
    for value in values:
        if value not in allowed:
            near = difflib.get_close_matches(str(value), map(str, allowed), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{name} cannot hold {value!r}: {hint}choose from {', '.join(map(str, allowed))}")


def within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{name}={value} is out of range: take a number from {low} to {high}")
