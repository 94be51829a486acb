"""What a repair over input regions can be told, as frozen settings; a config file holds the same as a ConfigDict."""

import dataclasses

from ml_collections import ConfigDict

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.line.settings import as_config, as_dataclass
from archrepair_jax.proof.branch_and_bound import ProofSettings
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.method import Method
from archrepair_jax.repair.regions import DECISIONS, RegionRepairSettings

TASK = "regions"


@dataclasses.dataclass(frozen=True)
class SurveySettings:
    """What judges a repair, on samples that it has not seen.

    Attributes:
        region: fresh uniform inputs of the regions, on which violations are counted.
        domain: fresh uniform inputs of the whole domain, on which decisions are compared.
        doubt: one less the confidence of the bound on the share of violations.
    """

    region: int = 10_000_000
    domain: int = 1_000_000
    doubt: float = 1e-3

    def __post_init__(self):
        for name in ("region", "domain"):
            within(name, getattr(self, name), 1, 2_000_000_000)  # counted in int32
        within("doubt", self.doubt, 1e-12, 1 - 1e-12)


@dataclasses.dataclass(frozen=True)
class RegionSettings:
    """One run: a network and a property, or many such cases.

    Attributes:
        task: says that this is such a run.
        path: the folder that holds ``nnet/`` and ``vnnlib/``.
        network: ``N2_9`` for that network of ACAS Xu in ``path``, or a file, ``.nnet`` or ``.onnx``.
        property: ``8`` for ``vnnlib/prop_8.vnnlib``, or a file.
        cases: ``network:property`` each, instead of the two above.
        seed, seeds: each case is repaired with the seeds ``seed``, ``seed + 1``, …, ``seeds`` of them.
        domain: the lowest and the highest value of each input, in the network's own unit: where a repair is to change
            nothing beside the regions. Left empty, it is what a ``.nnet`` file's header says.
        decision: which output decides: the ``smallest`` (ACAS Xu's scores) or the ``largest`` (logits).
        controls: methods to compare with, none by default.
        devices, steps_per_call: as for images.
        prove: whether to prove the property in the end.
        check: whether to have a proof's certificate checked at once.
        patience: boxes that a proof may make until the network is retrained to be easier to prove, with bounds in the
            loss of boxes that the proof could not decide, which costs some decisions; of a network that was retrained
            with bounds, ten times as many. As long as it is slow and enough decisions are kept, bounds weigh
            ``repair.insist`` times as much.
        proof_rounds: how often a proof's counter-example goes back into the repair.
        repair, proof, survey: see there.
    """

    task: str = TASK
    path: str = ""
    network: str = ""
    property: str = ""
    cases: tuple[str, ...] = ()
    seed: int = 0
    seeds: int = 1
    domain: tuple[tuple[float, ...], ...] = ()
    decision: str = "smallest"
    controls: tuple[str, ...] = ()
    devices: int = 0
    steps_per_call: int = 100
    prove: bool = True
    check: bool = True
    patience: int = 40_000
    proof_rounds: int = 5
    repair: RegionRepairSettings = RegionRepairSettings()
    proof: ProofSettings = ProofSettings()
    survey: SurveySettings = SurveySettings()

    def __post_init__(self):
        one_of("task", [self.task], [TASK])
        one_of("decision", [self.decision], DECISIONS)
        one_of("repair.method", [self.repair.method], known())
        one_of("controls", self.controls, known())
        within("seed", self.seed, 0, 2**32 - 1)
        for name in ("seeds", "steps_per_call", "patience"):
            within(name, getattr(self, name), 1)
        within("proof_rounds", self.proof_rounds, 0)
        for case in self.cases:
            if ":" not in case:
                raise InputError(f"cases cannot hold {case!r}: write network:property, as N2_9:8")
        for pair in self.domain:
            if len(pair) != 2 or not pair[0] <= pair[1]:
                raise InputError(f"domain cannot hold {pair}: write the lowest and the highest value of each input")


def known() -> dict[str, Method]:
    """The methods for regions."""
    return {name: method for name, method in METHODS.items() if method.scope == "region"}


def pairs(settings: RegionSettings) -> tuple[tuple[str, str], ...]:
    """The cases, as network and property."""
    if settings.cases and not (settings.network or settings.property):
        return tuple(tuple(case.rsplit(":", 1)) for case in settings.cases)
    return ((settings.network, settings.property),)


def default_config() -> ConfigDict:
    """The defaults, for a config file to change; keys and types are fixed."""
    return as_config(RegionSettings())


def from_config(config: ConfigDict) -> RegionSettings:
    """The settings that a config holds. Raises InputError for a key, a type or a value that no run can have."""
    settings = as_dataclass(RegionSettings, config.to_dict())
    for name, example in (("network", "N2_9"), ("property", "8")):
        if not all(pair[name == "property"] for pair in pairs(settings)):
            raise InputError(f"{name} is empty: name one, as --config.{name}={example}")
    return settings
