"""Repair over input regions, from a network and a property to a table, a certificate and the repaired network."""

import dataclasses
import functools
import importlib.util
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.metrics import violation_bound
from archrepair_jax.evaluation.survey import survey
from archrepair_jax.line.region_settings import RegionSettings, pairs
from archrepair_jax.line.summary import environment
from archrepair_jax.line.work_folder import Clock, WorkFolder
from archrepair_jax.models.formats.nnet import Normalization, read_nnet, write_nnet
from archrepair_jax.models.formats.onnx import read_onnx, write_onnx
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import cpu
from archrepair_jax.proof.branch_and_bound import COUNTEREXAMPLE, OPEN, PROVED, Verdict, prove
from archrepair_jax.proof.certificate import make_certificate, write_certificate
from archrepair_jax.proof.checker import Rejected
from archrepair_jax.proof.checker import check as check_certificate
from archrepair_jax.regions.properties import Property
from archrepair_jax.regions.sampling import CHUNK, Cells, Regions, inward, make_regions
from archrepair_jax.regions.vnnlib import read_vnnlib
from archrepair_jax.repair.regions import (
    DECISIONS,
    RegionProblem,
    examples,
    joined,
    margins,
    nearby,
    repair_regions,
)
from archrepair_jax.reporting import regions as reports
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.loop import Loop, Stopped
from archrepair_jax.training.parallel import check_batch, choose_devices

ACAS = re.compile(r"N(\d)_(\d)")
NO_BOUNDS, NOT_TRIED, REJECTED = "no bounds", "not tried", "certificate rejected"
PATIENT = 10  # times as many boxes are made until a network is retrained with bounds again
STAGES = ("repair", "proof", "judgement", "check")
KEYS = {name: i for i, name in enumerate(("examples", "repair", "nearby", "held out", "region", "domain"))}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A network, with what it needs to be written back, its whole domain if that is known, and a property.

    The names are short.
    """

    network_name: str
    property_name: str
    network: Network
    variables: Variables
    header: Normalization | None
    domain: Regions | None
    prop: Property


@dataclasses.dataclass(frozen=True, eq=False)
class Attempt:
    """What came of proving: a status, the boxes that were looked at, a word on it, and what was found.

    ``slow`` are the boxes it could not decide, if it was given up before it had ``proof.max_boxes``.
    """

    status: str
    boxes: int = 0
    reason: str = ""
    verdict: Verdict | None = None
    counterexample: Samples | None = None
    slow: Cells | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """A network, how it came about, what it was repaired for, and its proof; no rounds: it is the original."""

    network: Network
    variables: Variables
    rounds: list[dict[str, Any]]
    details: dict[str, Any]
    repair_set: Samples
    proof: Attempt


class Stages:
    """Runs a case's stages one after the other, and adds up what each has cost."""

    def __init__(self, name: str, loop: Loop):
        self.name, self.loop = name, loop
        self.spent = {stage: {"seconds": 0.0, "compile_seconds": 0.0} for stage in STAGES}

    def __call__(self, stage: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """What ``work`` returns. Raises Stopped if the user has asked for it."""
        if self.loop.stopping():
            raise Stopped(f"{self.name}, {stage}: stopped")
        self.loop.report(f"{self.name}: {stage}", 0, 1, "")
        with Clock() as clock:
            result = work(*arguments)
        self.spent[stage]["seconds"] += clock.seconds - clock.compile_seconds
        self.spent[stage]["compile_seconds"] += clock.compile_seconds
        return result


def run(
    settings: RegionSettings,
    workdir: str | pathlib.Path,
    progress: Callable[[str, int, int, str], None] = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Repairs all cases with all seeds; what is finished in ``workdir`` is not done again.

    Writes ``<case>.nnet`` (and ``.onnx``), ``<case>.npz``, the certificate, ``table.csv``, ``report.md`` and, last,
    ``report.json``, which it returns. Raises as ``images.run`` does.
    """
    devices = choose_devices(settings.devices)
    if settings.prove:
        cpu()  # refuses at once, and not after the repair
    check_batch(settings.repair.retraining.batch_size // 4, devices, "a quarter of repair.retraining.batch_size")
    check_batch(settings.repair.retraining.cells, devices, "repair.retraining.cells")
    cases = [read_case(settings, *pair) for pair in pairs(settings)]
    names = [f"{case.network_name}-{case.property_name}" for case in cases]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two cases are called {twice[0]}, and would share its files: name files or cases apart")
    work = WorkFolder(workdir, what_matters(settings))
    loop = Loop(devices, progress, stopping, steps_per_call=settings.steps_per_call)
    records, seeds = [], range(settings.seed, settings.seed + settings.seeds)
    for number, (case, seed) in enumerate((case, seed) for seed in seeds for case in cases):
        name = f"{case.network_name}-{case.property_name}-{settings.repair.style}-{seed}"
        make = functools.partial(solve, settings, case, seed, loop, work.path / name)
        records.append(work.json(f"cases/{name}", make))
        progress("cases", number + 1, len(cases) * len(seeds), f"{name}: {records[-1]['status']}")
        reports.write(work.path, environment(), records)
    return reports.write(work.path, environment(), records)


def what_matters(settings: RegionSettings) -> dict[str, Any]:
    """What a finished case depends on, besides its network, property and seed."""
    elsewhere = ("network", "property", "cases", "seed", "seeds", "out", "devices", "steps_per_call")
    return {key: value for key, value in dataclasses.asdict(settings).items() if key not in elsewhere}


def read_case(settings: RegionSettings, network: str, prop: str) -> Case:
    """Reads the files. Raises InputError for those that do not exist, are malformed or do not fit together."""
    folder = pathlib.Path(settings.path).expanduser()
    file, short = pathlib.Path(network).expanduser(), pathlib.Path(network).stem
    if found := ACAS.fullmatch(network):
        file = folder / "nnet" / f"ACASXU_run2a_{found[1]}_{found[2]}_batch_2000.nnet"
    if file.suffix not in (".nnet", ".onnx"):
        raise InputError(f"network={network} is neither an ACAS Xu network, as N2_9, nor a .nnet or .onnx file")
    description, variables, header = read_nnet(file) if file.suffix == ".nnet" else (*read_onnx(file), None)
    file, short_property = pathlib.Path(prop).expanduser(), pathlib.Path(prop).stem
    if prop.isdecimal():
        file, short_property = folder / "vnnlib" / f"prop_{prop}.vnnlib", prop
    inputs, outputs = description.image_shape[0], description.num_classes
    if settings.domain and len(settings.domain) != inputs:
        raise InputError(f"domain has {len(settings.domain)} pairs, but {short} takes {inputs} inputs: one for each")
    domain = whole_domain(settings, header)
    return Case(short, short_property, description, variables, header, domain, read_vnnlib(file, inputs, outputs))


def whole_domain(settings: RegionSettings, header: Normalization | None) -> Regions | None:
    """What the settings say, or else the network's header."""
    if settings.domain:
        lower, upper = np.asarray(settings.domain).T
    elif header:
        lower, upper = (header.normalize(np.asarray(end)) for end in (header.minimum, header.maximum))
    else:
        return None
    return make_regions(lower[None], upper[None])


def make_problem(settings: RegionSettings, case: Case) -> RegionProblem:
    """The case as a repair sees it."""
    regions = make_regions(case.prop.lower, case.prop.upper)
    return RegionProblem(case.network, case.variables, case.prop, regions, case.domain, DECISIONS[settings.decision])


def solve(settings: RegionSettings, case: Case, seed: int, loop: Loop, stem: pathlib.Path) -> dict[str, Any]:
    """One case: repaired and proved in turns, then judged on fresh samples, and written; the record of it."""
    problem, stages = make_problem(settings, case), Stages(stem.name, loop)
    keys = {name: jax.random.fold_in(jax.random.key(seed), number) for name, number in KEYS.items()}
    outcome = repair_and_prove(settings, problem, keys, loop, stages)
    repaired, rounds, proof = (outcome.network, outcome.variables), outcome.rounds, outcome.proof
    judged = stages("judgement", judge, settings, problem, repaired, outcome.repair_set, keys)
    if rounds:
        write_network(stem, case, *repaired)
    if proof.status == PROVED:
        certificate = make_certificate(*repaired, case.prop, proof.verdict)
        write_certificate(stem.with_name(f"{stem.name}.npz"), certificate)
        if settings.check:
            try:
                stages("check", check_certificate, *repaired, case.prop, certificate)
            except Rejected as error:
                proof = dataclasses.replace(proof, status=REJECTED, reason=str(error))
    clean = proof.status != COUNTEREXAMPLE and not judged["fresh"]["violations_after"]
    return {
        "network": case.network_name,
        "property": case.property_name,
        "style": settings.repair.style,
        "seed": seed,
        "status": ("repaired" if clean else "not clean") if rounds else "nothing to repair",
        "rounds": rounds,
        **outcome.details,
        **judged,
        "proof": {"status": proof.status, "boxes": proof.boxes, "reason": proof.reason},
        "cost": stages.spent,
    }


def repair_and_prove(
    settings: RegionSettings, problem: RegionProblem, keys: dict[str, jax.Array], loop: Loop, stages: Stages
) -> Outcome:
    """Repairs until there is a proof: again where it finds a counter-example, and to be easier where it is slow."""
    sampling, network, variables = settings.repair.sampling, problem.network, problem.variables
    most, learns = settings.proof.max_boxes, settings.repair.style != "tuning"

    def attempt(boxes: int) -> Attempt:
        return stages("proof", try_to_prove, settings, network, variables, problem.prop, loop, min(boxes, most))

    negatives, positives = stages("repair", examples, problem, sampling, keys["examples"])
    repair_set, rounds, details = negatives, [], {}
    proof = None if len(negatives.tags) else attempt(most)  # where samples find nothing, a proof may
    certain, cells = 0.0, None
    for number in range(settings.proof_rounds + 1):
        slow = proof is not None and proof.slow is not None
        if slow:
            certain, cells = certain * settings.repair.insist or 1.0, proof.slow
        elif proof and proof.counterexample:
            key = jax.random.fold_in(keys["nearby"], number)
            found = stages("repair", nearby, problem, network, variables, proof.counterexample, sampling, key)
            negatives = joined(found, negatives)
            repair_set = repair_set if len(repair_set.tags) else negatives
        elif proof:
            break
        key, start = jax.random.fold_in(keys["repair"], number), (network, variables) if rounds else None
        arguments = problem, negatives, positives, settings.repair, key, loop, start, certain, cells
        repair = stages("repair", repair_regions, *arguments)
        rounds, details = rounds + repair.rounds, details | repair.details
        certain = rounds[-1]["certain"]
        patience = settings.patience * (PATIENT if certain else 1) if learns else most
        if slow and not (repair.clean and repair.faithful):  # what there was is better, and only slow to prove
            patience = most
        else:
            network, variables, negatives = repair.network, repair.variables, repair.negatives
        unclean = not slow and not repair.clean
        last = number == settings.proof_rounds
        proof = Attempt(COUNTEREXAMPLE, reason="found by sampling") if unclean else attempt(most if last else patience)
    return Outcome(network, variables, rounds, details, repair_set, proof)


def try_to_prove(
    settings: RegionSettings, network: Network, variables: Variables, prop: Property, loop: Loop, max_boxes: int
) -> Attempt:
    """A proof, or why there is none."""

    def report(looked_at: int, waiting: int) -> None:
        loop.report("proof", looked_at, max_boxes, f"{waiting} boxes waiting")
        if loop.stopping():
            raise Stopped("proof: stopped")

    if not settings.prove:
        return Attempt(NOT_TRIED)
    try:
        verdict = prove(network, variables, prop, dataclasses.replace(settings.proof, max_boxes=max_boxes), report)
    except InputError as error:
        return Attempt(NO_BOUNDS, reason=str(error))
    counterexample = None if verdict.counterexample is None else rounded(prop, verdict)
    slow = undecided(verdict) if verdict.status == OPEN and max_boxes < settings.proof.max_boxes else None
    return Attempt(verdict.status, verdict.looked_at, verdict=verdict, counterexample=counterexample, slow=slow)


def undecided(verdict: Verdict) -> Cells:
    """The boxes that were split, and those that were waiting."""
    split, waiting = verdict.child >= 0, np.arange(len(verdict.child)) >= verdict.looked_at
    boxes = verdict.boxes.at(split | waiting)
    return Cells(np.float32(boxes.lower), np.float32(boxes.upper), boxes.region)


def rounded(prop: Property, verdict: Verdict) -> Samples:
    """A proof's counter-example in float32, inside the region that it violates."""
    region = np.array([verdict.region])
    lower, upper = inward(prop.lower[region], prop.upper[region])
    return Samples(np.clip(np.float32(verdict.counterexample), lower, upper), region)


def judge(
    settings: RegionSettings,
    problem: RegionProblem,
    repaired: tuple[Network, Variables],
    repair_set: Samples,
    keys: dict[str, jax.Array],
) -> dict[str, Any]:
    """How the repaired network compares with the original, on samples that nothing has learned from."""

    def rate(samples: Samples, wrong: bool) -> dict[str, Any]:
        """The share of samples on which the repaired network is wrong, or is not."""
        found = (margins(problem, *repaired, samples) <= 0) == wrong
        return {"share": float(found.mean()) if len(found) else None, "count": len(found)}

    def tally(regions, wanted: int, name: str):
        networks, variables = (problem.network, repaired[0]), (problem.variables, repaired[1])
        arguments = problem.specification, problem.prop, regions, keys[name]
        return jax.device_get(survey(networks, variables, *arguments, chunks=-(-wanted // CHUNK)))

    negatives, positives = examples(problem, settings.repair.sampling, keys["held out"])
    fresh = tally(problem.regions, settings.survey.region, "region")
    whole = tally(problem.domain, settings.survey.domain, "domain") if problem.domain else None
    violations, samples = int(fresh.wrong_after), int(fresh.samples)
    return {
        "repair_success": rate(repair_set, wrong=False),
        "generalisation": rate(negatives, wrong=False),
        "drawdown": rate(positives, wrong=True),
        "fresh": {
            "samples": samples,
            "violations_before": int(fresh.wrong_before),
            "violations_after": violations,
            "broken": int(fresh.broken),
            "least_margin": float(fresh.least),
            "rate_bound": violation_bound(violations, samples, settings.survey.doubt),
            "confidence": 1 - settings.survey.doubt,
        },
        "fidelity": {
            "region": fresh.fidelity_right,
            "domain": whole and whole.fidelity,
            "domain_samples": int(whole.samples) if whole else 0,
        },
    }


def write_network(stem: pathlib.Path, case: Case, network: Network, variables: Variables) -> None:
    """The repaired network in the formats that can hold it: ``.nnet`` with its own header, ``.onnx`` with the extra."""
    if case.header:
        write_nnet(stem.with_name(f"{stem.name}.nnet"), network, variables, case.header)
    if importlib.util.find_spec("onnx"):
        write_onnx(stem.with_name(f"{stem.name}.onnx"), network, variables)
