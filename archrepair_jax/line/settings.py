"""Everything a run can be told, as frozen settings; a config file holds the same as an ml_collections ConfigDict."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from archrepair_jax.data.corruptions import KINDS, SEVERITIES
from archrepair_jax.data.sources import DataSettings
from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.localization import LocalizationSettings
from archrepair_jax.models import ModelSettings
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.method import Method, Team
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.views.view import ADAPTIVE, ATTACKS, CLEAN, View

STAGES = ("localize", "repair", "controls", "evaluate")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a network without weights is trained: ``steps`` of ``descent`` on the clean train split."""

    steps: int = 600
    descent: TuningSettings = TuningSettings(
        optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, failing_share=0.0, preserve=0.0, augment=("shift",)
    )

    def __post_init__(self):
        within("steps", self.steps, 1)


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """Which corruptions and attacks images are seen under: every kind at every severity, beside the clean view.

    A kind with a dash and a severity, ``contrast-5``, is seen at that one alone. An attack's severity is the radius of
    its ball: ``views.attacks.GREY_LEVELS``. Without kinds there are clean images alone.
    """

    kinds: tuple[str, ...] = KINDS
    severities: tuple[int, ...] = (3,)

    def __post_init__(self):
        one_of("severities", self.severities, SEVERITIES)
        one_of("kinds", dict.fromkeys(stated(kind)[0] for kind in self.kinds), (*KINDS, *ATTACKS, *ADAPTIVE))
        one_of("kinds", self.kinds, self.kinds)  # none twice

    @property
    def views(self) -> tuple[View, ...]:
        """The clean one first."""
        kinds = [(name, (own,) if own else self.severities) for name, own in map(stated, self.kinds)]
        return (CLEAN, *dict.fromkeys(View(name, severity) for name, own in kinds for severity in own))


def stated(kind: str) -> tuple[str, int]:
    """A kind's name and the severity that it brings; 0 for none."""
    name, _, severity = kind.rpartition("-")
    return (name, int(severity)) if severity in map(str, SEVERITIES) else (kind, 0)


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
        methods: each method's own settings, by its name.
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
    methods: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluation: ViewSettings = ViewSettings()

    def __post_init__(self):
        object.__setattr__(self, "methods", {name: each.settings() for name, each in known().items()} | self.methods)
        within("seed", self.seed, 0, 2**32 - 1)
        within("steps_per_call", self.steps_per_call, 1)
        one_of("stages", self.stages, STAGES)
        one_of("controls", self.controls, known())
        one_of("repair.method", [self.repair.method], known())
        one_of("methods.auto.methods", self.methods["auto"].methods, [name for name in known() if name != "auto"])
        one_of("failures.kinds", dict.fromkeys(view.kind for view in self.failures.views[1:]), (*KINDS, *ATTACKS))
        if not self.stages:
            raise InputError(f"stages is empty: name some of {', '.join(STAGES)}")
        if {"repair", "controls"} & set(self.stages) and "localize" not in self.stages and not self.repair.block:
            raise InputError("there is no block to repair: add localize to stages, or name one in repair.block")

    def of(self, method: str) -> Any:
        """A method's own settings, with those of the methods that it runs itself."""
        own = self.methods[method]
        others = {name: self.methods[name] for name in METHODS[method].others(own)}
        return Team(own, others) if others else own

    @property
    def roles(self) -> dict[str, str]:
        """The methods that will run with their roles: the repair's, then the controls, as the stages ask for them."""
        repair = {self.repair.method: "repair"} if "repair" in self.stages else {}
        controls = self.controls if "controls" in self.stages else ()
        return repair | {name: "control" for name in controls if name != self.repair.method}


def known() -> dict[str, Method]:
    """The methods for image classifiers."""
    return {name: method for name, method in METHODS.items() if method.scope != "region"}


def default_config() -> ConfigDict:
    """The defaults, for a config file to change; keys and types are fixed."""
    return as_config(Settings())


def as_config(settings: Any) -> ConfigDict:
    return ConfigDict(dataclasses.asdict(settings), convert_dict=True).lock()


def from_config(config: ConfigDict) -> Settings:
    """The settings that a config holds. Raises InputError for a key, a type or a value that no run can have."""
    values = config.to_dict()
    methods = values.pop("methods", {})
    one_of("methods", methods, known())
    own = {name: as_dataclass(known()[name].settings, each, f"methods.{name}.") for name, each in methods.items()}
    return as_dataclass(Settings, values, methods=own)


def as_dataclass(kind: type, values: dict[str, Any], section: str = "", **ready: Any) -> Any:
    """Nested dictionaries as nested dataclasses, lists as tuples; what is left out keeps its default.

    A config from ``default_config`` has the right keys and, but for what is in tuples, the right types already.
    Raises InputError where it has not, and for what the dataclasses themselves refuse.
    """
    kinds = typing.get_type_hints(kind)
    for name in values:
        one_of(section.rstrip(".") or "the config", [name], kinds)
    own = {name: fitting(f"{section}{name}", kinds[name], value) for name, value in values.items()}
    try:
        return kind(**own, **ready)
    except InputError as error:
        raise InputError(f"{section}{error}") from error


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
