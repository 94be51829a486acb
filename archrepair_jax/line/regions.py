"""The line over input regions: networks, properties, violations, and the proof that there are none left."""

import dataclasses
import functools
import hashlib
import importlib.util
import itertools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.metrics import violation_bound
from archrepair_jax.evaluation.survey import Tally, survey
from archrepair_jax.files import write_whole
from archrepair_jax.keys import named
from archrepair_jax.line import classifiers
from archrepair_jax.line.planes import plane
from archrepair_jax.line.record import arm_section, region_record, total_cost
from archrepair_jax.line.region_settings import RegionSettings, pairs
from archrepair_jax.line.stages import Arm, Line, follow
from archrepair_jax.line.work_folder import WorkFolder, locked
from archrepair_jax.models import ModelSettings
from archrepair_jax.models.formats.dense import to_layers
from archrepair_jax.models.formats.nnet import write_nnet
from archrepair_jax.models.formats.onnx import write_onnx
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.precision import cpu
from archrepair_jax.proof.branch_and_bound import COUNTEREXAMPLE, OPEN, PROVED, Proof, prove
from archrepair_jax.proof.certificate import make_certificate, read_certificate, write_certificate
from archrepair_jax.proof.checker import Rejected
from archrepair_jax.proof.checker import check as check_certificate
from archrepair_jax.regions.acasxu import Case, read_case
from archrepair_jax.regions.properties import Property
from archrepair_jax.regions.sampling import CHUNK, Cells, Regions, inward, make_regions
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.edits import apply
from archrepair_jax.repair.imitation.cases import Original
from archrepair_jax.repair.regions import DECISIONS, RegionProblem, RegionRepair, examples, joined, margins, nearby
from archrepair_jax.repair.verdict import Verdict
from archrepair_jax.reporting import report as reports
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.ledger import Ledger
from archrepair_jax.training.loop import Loop, Stopped
from archrepair_jax.training.parallel import check_batch, choose_devices

NO_BOUNDS, NOT_TRIED, REJECTED = "no bounds", "not tried", "certificate rejected"
WRITE_EVERY = 30.0  # seconds, since a report of many cases takes some
PATIENT = 10  # times as many boxes are made until a network is retrained with bounds again
CERTIFICATE = "certificate.npz"
KINDS = "negatives", "positives"  # of examples
ELSEWHERE = (
    "network",
    "property",
    "cases",
    "seed",
    "seeds",
    "devices",
    "steps_per_call",
    "path",
    "controls",
)  # of a single case


def run(
    settings: RegionSettings,
    workdir: str | pathlib.Path,
    progress: Callable[[str, int, int, str], None] = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Repairs all cases with all seeds; what is finished in ``workdir`` is not done again.

    Writes ``<case>.nnet`` (and ``.onnx``), ``<case>.npz``, the certificate, ``table.csv``, ``report.md``,
    ``report.html`` and, last, ``report.json``, which it returns. Raises as ``images.run`` does.
    """
    devices = choose_devices(settings.devices)
    if settings.prove:
        cpu()  # refuses at once, and not after the repair
    check_batch(settings.repair.retraining.batch_size // 4, devices, "a quarter of repair.retraining.batch_size")
    check_batch(settings.repair.retraining.cells, devices, "repair.retraining.cells")
    folder = pathlib.Path(settings.path).expanduser()
    cases = [read_case(folder, *pair, settings.domain) for pair in pairs(settings)]
    names = [case.name for case in cases]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two cases are called {twice[0]}, and would share its files: name files or cases apart")
    with locked(workdir):
        work = WorkFolder(workdir, what_matters(settings), say=lambda said: progress("work folder", 1, 1, said))
        loop = Loop(devices, progress, stopping, steps_per_call=settings.steps_per_call)
        sections, costs, total, written = [], {}, settings.seeds * len(cases), 0.0
        seeds = range(settings.seed, settings.seed + settings.seeds)
        for number, (seed, case) in enumerate(itertools.product(seeds, cases), 1):
            task = OverRegions.of(settings, case, seed, work, loop)
            arms = follow(task)
            for arm in arms[1:]:
                export(task, arm, work.path)
            sections += task.sections(arms)
            costs |= {f"{task.name}: {stage}": cost for stage, cost in task.line.costs.items()}
            if number == total or time.monotonic() - written > WRITE_EVERY:
                report, written = reports.write(work.path, region_record(settings, sections, costs)), time.monotonic()
            progress("cases", number, total, f"{task.name}: {arms[-1].verdict.decision}")
    return report


def what_matters(settings: RegionSettings) -> dict[str, Any]:
    """What a finished case depends on, besides its network, property and seed."""
    config = {name: value for name, value in dataclasses.asdict(settings).items() if name not in ELSEWHERE}
    return config | {"repair": {name: value for name, value in config["repair"].items() if name != "method"}}


def make_problem(case: Case, decision: str) -> RegionProblem:
    """The case as a repair sees it, before anything was looked for; ``decision`` is a key of ``DECISIONS``."""
    original = Original(case.network, case.variables, DECISIONS[decision])
    return RegionProblem(original, case.prop, make_regions(case.prop.lower, case.prop.upper), case.domain)


@dataclasses.dataclass
class OverRegions:
    """One case with one seed, as the line wants it (``stages.Task``)."""

    settings: RegionSettings
    case: Case
    seed: int
    line: Line
    problem: RegionProblem
    repair_type = RegionRepair

    @classmethod
    def of(cls, settings: RegionSettings, case: Case, seed: int, work: WorkFolder, loop: Loop) -> "OverRegions":
        """The task of a case, in a folder of its own that depends on what the files hold."""
        contents = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in case.files}
        name = f"{case.name}-{seed}"
        report = lambda stage, *rest: loop.report(f"{name}: {stage}", *rest)  # noqa: E731
        line = Line(work.part(f"cases/{name}", {}, contents), dataclasses.replace(loop, report=report))
        return cls(settings, case, seed, line, make_problem(case, settings.decision))

    @property
    def name(self) -> str:
        return f"{self.case.name}-{self.seed}"

    @property
    def roles(self) -> Mapping[str, str]:
        method = self.settings.repair.method
        return {method: "repair"} | {name: "control" for name in self.settings.controls if name != method}

    def settings_of(self, method: str) -> Mapping[str, Any]:
        return {}

    def key(self, name: str, number: int | None = None) -> jax.Array:
        key = named(jax.random.key(self.seed), name)
        return key if number is None else jax.random.fold_in(key, number)

    def obtain(self) -> tuple[Network, Variables]:
        return self.case.network, self.case.variables

    def diagnose(self, network: Network, variables: Variables) -> RegionProblem:
        """The problem with its violations and well-behaved inputs; where there are no violations, a proof decides."""
        work, sampling = self.line.work, self.settings.repair.sampling

        def search() -> dict[str, int]:
            counts = {}
            for kind, samples in zip(KINDS, examples(self.problem, sampling, self.key("examples")), strict=True):
                work.keep_arrays(
                    f"{kind}-examples", {"inputs": np.asarray(samples.inputs), "tags": np.asarray(samples.tags)}
                )
                counts[kind] = len(samples.tags)
            return counts

        self.line.stage("diagnose", search)
        return dataclasses.replace(
            self.problem, **{kind: Samples(**work.arrays(f"{kind}-examples", dict)) for kind in KINDS}
        )

    def ledger(self) -> Ledger:
        return Ledger()  # rounds end when the property holds, not when something is used up

    def repair(
        self, problem: RegionProblem, method: str, last: tuple[RegionRepair, Verdict] | None, loop: Loop
    ) -> RegionRepair:
        """Another repair: of what samples or a proof found, or to be easier to prove where the proof was slow."""
        settings, most = self.settings.repair, self.settings.proof.max_boxes
        if last is None and not len(problem.negatives.tags):
            return RegionRepair((), problem.original.variables, None, patience=most)
        before, verdict = last or (RegionRepair((), problem.original.variables, None), Verdict(""))
        negatives, certain, cells = before.negatives or problem.negatives, before.certain, before.cells
        slow = isinstance(verdict.counterexamples, Cells)
        if slow:
            certain, cells = certain * settings.insist or 1.0, verdict.counterexamples
        elif verdict.counterexamples is not None:
            network, key = apply(problem.original.network, before.edits), self.key("nearby", before.number)
            found = nearby(problem, network, before.variables, verdict.counterexamples, settings.sampling, key)
            negatives = joined(found, negatives)
        start = (before.edits, before.variables) if before.number else None
        now = dataclasses.replace(problem, negatives=negatives, start=start, certain=certain, cells=cells)
        repair = METHODS[method].run(now, settings, None, self.key("repair", before.number), loop)
        trace = {**before.trace, **repair.trace, "rounds": [*before.trace.get("rounds", []), *repair.trace["rounds"]]}
        patience = self.settings.patience * (PATIENT if repair.certain else 1) if method != "tuning" else most
        if slow and not (repair.clean and repair.faithful):  # what there was is better, and only slow to prove
            repair, patience = dataclasses.replace(before, certain=repair.certain), most
        aim = before.aim or (problem.negatives if len(problem.negatives.tags) else negatives)
        number = before.number + 1
        return dataclasses.replace(repair, trace=trace, cells=cells, number=number, aim=aim, patience=patience)

    def accept(self, problem: RegionProblem, repair: RegionRepair, folder: WorkFolder, loop: Loop) -> Verdict:
        """By proof: it says that the property holds, or where it does not, or where it could not tell in good time."""
        settings, fraction = self.settings, float(repair.number > 0)
        last = repair.number > settings.proof_rounds
        most = settings.proof.max_boxes if last else min(repair.patience, settings.proof.max_boxes)
        network, learn = apply(problem.original.network, repair.edits), None
        status, boxes, reason = COUNTEREXAMPLE, 0, "found by sampling"
        if repair.clean:
            status, boxes, reason, proof = self.prove(network, repair.variables, most, loop)
            if status == PROVED:
                certificate = make_certificate(network, repair.variables, problem.prop, proof)
                write_certificate(folder.path / CERTIFICATE, certificate)
                if settings.check:
                    try:
                        check_certificate(network, repair.variables, problem.prop, certificate)
                    except Rejected as error:
                        status, reason = REJECTED, str(error)
            elif status == COUNTEREXAMPLE and not last:
                learn = rounded(problem.prop, proof)
            elif status == OPEN and most < settings.proof.max_boxes:
                learn = undecided(proof)
        decision = "nothing to repair" if not fraction else "not clean" if status == COUNTEREXAMPLE else "repaired"
        evidence = {"proof": {"status": status, "boxes": boxes, "reason": reason}}
        return Verdict(decision, "", fraction, evidence, learn)

    def prove(
        self, network: Network, variables: Variables, max_boxes: int, loop: Loop
    ) -> tuple[str, int, str, Proof | None]:
        """A proof's status, its boxes, a word where there is none, and what it found."""

        def report(looked_at: int, waiting: int) -> None:
            loop.report("proof", looked_at, max_boxes, f"{waiting} boxes waiting")
            if loop.stopping():
                raise Stopped("proof: stopped")

        if not self.settings.prove:
            return NOT_TRIED, 0, "", None
        settings = dataclasses.replace(self.settings.proof, max_boxes=max_boxes)
        try:
            proof = prove(network, variables, self.case.prop, settings, report)
        except InputError as error:
            return NO_BOUNDS, 0, str(error), None
        return proof.status, proof.looked_at, "", proof

    def judge(self, arms: Sequence[Arm]) -> None:
        """Compares each repaired network with the original, on samples that nothing has learned from."""
        for arm in arms[1:]:
            arm.measures = self.line.stage(
                f"{arm.name}: judge", functools.partial(self.measure, arm), arm.work, "judge"
            )
            if arm.measures["fresh"]["violations_after"] and arm.verdict.decision == "repaired":
                arm.verdict = dataclasses.replace(arm.verdict, decision="not clean")

    def measure(self, arm: Arm) -> dict[str, Any]:
        problem, settings = self.problem, self.settings.survey
        original, repaired = problem.original, (arm.network, arm.variables)

        def rate(samples: Samples, wrong: bool) -> dict[str, Any]:
            """The share of samples on which the repaired network is wrong, or is not."""
            counted = (margins(problem, *repaired, samples) <= 0) == wrong
            return {"share": float(counted.mean()) if len(counted) else None, "count": len(counted)}

        def tally(regions: Regions, wanted: int, name: str) -> Tally:
            networks, variables = (original.network, arm.network), (original.variables, arm.variables)
            arguments = original.specification, problem.prop, regions, self.key(name)
            return jax.device_get(survey(networks, variables, *arguments, chunks=-(-wanted // CHUNK)))

        negatives, positives = examples(problem, self.settings.repair.sampling, self.key("held out"))
        fresh = tally(problem.regions, settings.region, "region")
        whole = tally(problem.domain, settings.domain, "domain") if problem.domain else None
        violations, samples = int(fresh.wrong_after), int(fresh.samples)
        proved = arm.verdict.evidence["proof"]["status"] == PROVED
        certificate = read_certificate(arm.work.path / CERTIFICATE) if proved else None
        return {
            "repair_success": rate(arm.repair.aim or negatives, wrong=False),
            "generalisation": rate(negatives, wrong=False),
            "drawdown": rate(positives, wrong=True),
            "fresh": {
                "samples": samples,
                "violations_before": int(fresh.wrong_before),
                "violations_after": violations,
                "broken": int(fresh.broken),
                "least_margin": float(fresh.least),
                "rate_bound": violation_bound(violations, samples, settings.doubt),
                "confidence": 1 - settings.doubt,
            },
            "fidelity": {
                "region": fresh.fidelity_right,
                "domain": whole and whole.fidelity,
                "domain_samples": int(whole.samples) if whole else 0,
            },
            "plane": plane(problem, repaired, negatives, certificate),
        }

    def sections(self, arms: Sequence[Arm]) -> list[dict[str, Any]]:
        """The arms for the record; what looked for examples counts as a part of every repair."""
        case = {"network": self.case.network_name, "property": self.case.property_name, "seed": self.seed}
        found = []
        for arm in arms:
            section = arm_section(arm, self.line.costs, case=case)
            if arm.verdict:
                proofs = total_cost(self.line.costs, f"{arm.name}: accept")
                section["verdict"]["proof"] |= proofs
                repairs = total_cost(self.line.costs, f"{arm.name}: repair", "diagnose")
                section["spent"] |= repairs
            found.append(section)
        return found


def undecided(proof: Proof) -> Cells:
    """The boxes that were split, and those that were waiting."""
    split, waiting = proof.child >= 0, np.arange(len(proof.child)) >= proof.looked_at
    boxes = proof.boxes.at(split | waiting)
    return Cells(np.float32(boxes.lower), np.float32(boxes.upper), boxes.region)


def rounded(prop: Property, proof: Proof) -> Samples:
    """A proof's counter-example in float32, inside the region that it violates."""
    region = np.array([proof.region])
    lower, upper = inward(prop.lower[region], prop.upper[region])
    return Samples(np.clip(np.float32(proof.counterexample), lower, upper), region)


def export(task: OverRegions, arm: Arm, folder: pathlib.Path) -> None:
    """The repaired network in the formats that can hold it, and the certificate of its proof.

    ``.nnet`` with the original's header, ``.onnx`` with the extra of that name, and what ``load`` reads.
    """
    case, stem = task.case, f"{task.case.name}-{arm.name}-{task.seed}"
    if arm.verdict.fraction:
        if case.header:
            write_nnet(folder / f"{stem}.nnet", arm.network, arm.variables, case.header)
        if importlib.util.find_spec("onnx"):
            write_onnx(folder / f"{stem}.onnx", arm.network, arm.variables)
    if arm.verdict.evidence["proof"]["status"] == PROVED:
        write_whole(folder / f"{stem}.npz", (arm.work.path / CERTIFICATE).read_bytes())
    layers, activation = to_layers(case.network, case.variables)
    settings = ModelSettings("mlp", widths=tuple(len(layer.bias) for layer in layers[:-1]), activation=activation)
    model, names = classifiers.description(settings, case.network), tuple(map(str, range(case.network.num_classes)))
    classifiers.save(arm.work.path, model, names, arm)
