"""Repair of a network over whole input regions, until no violation is found there (BIRDNN's domain-wise repair).

Violations are looked for with samples and with descents from the most suspicious of them. A round of imitation repairs
what was found; what is found after it is added, and the round repeated.
"""

import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from archrepair_jax.errors import InputError, within
from archrepair_jax.evaluation.specification import Specification
from archrepair_jax.evaluation.survey import survey
from archrepair_jax.keys import named
from archrepair_jax.models.cost import multiply_adds
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.proof.bounds import certain_slack, has_bounds
from archrepair_jax.regions.properties import Property, margin
from archrepair_jax.regions.sampling import CHUNK, SEEK_STEPS, Cells, Regions, draw_cells, scan, seek, uniform
from archrepair_jax.repair.edits import Edit, apply
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.repair.imitation.retraining import ImitationRetrainingSettings, retrain
from archrepair_jax.repair.imitation.tuning import (
    ImitationTuningSettings,
    behaviour_differences,
    choose_neurons,
    swarm_price,
    tune_neurons,
)
from archrepair_jax.repair.method import Method
from archrepair_jax.repair.problem import Repair
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.ledger import FORWARD, GRADIENT, Cost
from archrepair_jax.training.loop import Loop

Rows = TypeVar("Rows", Samples, Cells)

FIDELITY_CHUNKS = 20  # of sampling.CHUNK inputs, to see what a round has kept
CELLS = 50_000  # small boxes to learn from, where that is wanted
DECISIONS = {name: Specification(margin, certain_slack, sign) for name, sign in (("smallest", -1), ("largest", 1))}


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """How many inputs are looked at, and kept to learn from.

    Attributes:
        scan: uniform inputs of the regions whose margins are computed to find violations.
        searches: how many such scans may be made until there is one to learn from.
        starts: how many descents start from the worst of them: the worst of each of so many groups.
        negatives, positives, outside: sizes of the sets that a repair learns from. What was found is repeated, or cut
            off, to these numbers, so that all networks of a shape share what is compiled.
    """

    scan: int = 500_000
    searches: int = 5
    starts: int = 4_096
    negatives: int = 10_000
    positives: int = 40_000
    outside: int = 100_000

    def __post_init__(self):
        for name, count in dataclasses.asdict(self).items():
            within(name, count, 1)
        within("starts", self.starts, 1, self.scan)


@dataclasses.dataclass(frozen=True)
class RegionRepairSettings:
    """How to repair.

    Attributes:
        method: ``retraining``, ``tuning``, or ``combined``: tunes if a few neurons are to blame, and else retrains.
        concentration: for ``combined``: the share of all differences in behaviour from which the chosen neurons are
            the ones to blame.
        rounds: at most so many.
        fidelity_region, fidelity_domain: shares of decisions to keep, on the region's well-behaved inputs and in the
            whole domain; after a round of retraining that kept fewer, keeping them weighs ``insist`` times as much, and
            the other kind, lest it pay for them, the square root of that.
        certain_steps, certain_learning_rate: of retraining with bounds in the loss, in place of ``retraining``'s, since
            such a step takes some four times as long; fewer and longer ones cost a few decisions.
        sampling, retraining, tuning: see there.
    """

    method: str = "retraining"
    concentration: float = 0.5
    rounds: int = 8
    fidelity_region: float = 0.992
    fidelity_domain: float = 0.996
    insist: float = 4.0
    certain_steps: int = 400
    certain_learning_rate: float = 3e-4
    sampling: SamplingSettings = SamplingSettings()
    retraining: ImitationRetrainingSettings = ImitationRetrainingSettings()
    tuning: ImitationTuningSettings = ImitationTuningSettings()

    def __post_init__(self):
        for name in ("rounds", "certain_steps", "insist"):
            within(name, getattr(self, name), 1)
        for name in ("concentration", "fidelity_region", "fidelity_domain"):
            within(name, getattr(self, name), 0, 1)
        within("certain_learning_rate", self.certain_learning_rate, 0)
        within("retraining.steps", self.retraining.steps, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class RegionProblem:
    """A network, what must hold in which regions, and where a repair begins.

    Attributes:
        original: the network, and the property's margin and how the network decides.
        prop: the property.
        regions: its boxes, to draw from.
        domain: the whole domain, to draw from; None if it is not known, so that nothing outside can be kept.
        negatives, positives: inputs that violate the property, and inputs that do not; see ``examples``.
        start: where to begin, as edits and variables; the original by default.
        certain: more than 0 if bounds are to be a part of the loss at once, with so many times their weight, which
            makes the property easy to prove. Needs a network that has bounds.
        cells: the boxes of these bounds; drawn from the regions by default.
    """

    original: Original
    prop: Property
    regions: Regions
    domain: Regions | None
    negatives: Samples | None = None
    positives: Samples | None = None
    start: tuple[tuple[Edit, ...], Variables] | None = None
    certain: float = 0.0
    cells: Cells | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class RegionRepair(Repair):
    """What rounds of imitation made of a problem; see ``Repair``, whose ``variables`` are those of the best round.

    The trace holds an entry for every round, also for those after the best: its style, by how much it weighed what is
    kept and bounds, how many violations were found after it, the least margin, and the shares of decisions kept; and
    what decided the style.

    Attributes:
        negatives: all violations that were repaired, the original's and those that rounds left.
        clean: whether the search after that round found no violation.
        faithful: whether it keeps enough decisions.
        certain: by how much bounds weighed in the last round.
        cells: where they were taken, if that was told.
        number: how many repairs the network has been through.
        aim: the violations for which the first of them was made.
        patience: boxes that a proof may make until it is given up.
    """

    negatives: Samples | None = None
    clean: bool = True
    faithful: bool = True
    certain: float = 0.0
    cells: Cells | None = None
    number: int = 0
    aim: Samples | None = None
    patience: int = 0


def margins(problem: RegionProblem, network: Network, variables: Variables, samples: Samples) -> np.ndarray:
    """The margins [N] of a network's outputs; a violation where they are not positive."""
    if not len(samples.tags):
        return np.zeros(0, np.float32)
    return np.asarray(slack_of(network, problem.original.specification, variables, problem.prop, samples))


@functools.partial(jax.jit, static_argnames=("network", "specification"))
def slack_of(network, specification, variables, prop, samples):
    return specification.slack(prop, samples.tags, network.apply(variables, samples.inputs))


def suspicious(
    problem: RegionProblem, network: Network, variables: Variables, settings: SamplingSettings, key: PRNGKeyArray
) -> Samples:
    """Inputs of the regions: where descents from the worst of many uniform ones end, and those starts."""
    groups, size = settings.starts, max(settings.scan // settings.starts, 1)
    starts = jax.device_get(scan(network, variables, problem.prop, problem.regions, key, groups, size))
    return joined(descend(problem, network, variables, starts), starts)


def nearby(
    problem: RegionProblem,
    network: Network,
    variables: Variables,
    example: Samples,
    settings: SamplingSettings,
    key: PRNGKeyArray,
) -> Samples:
    """``example`` [1, D], and where descents end that start around it, within a fiftieth of the region."""
    region = example.tags[0]
    lower, upper = problem.regions.lower[region], problem.regions.upper[region]
    reach = (upper - lower) * jax.random.uniform(key, (settings.starts, len(lower)), minval=-1, maxval=1) / 50
    inputs = np.clip(np.asarray(example.inputs) + reach, lower, upper)
    starts = Samples(inputs, np.full(settings.starts, region))
    return joined(example, descend(problem, network, variables, starts))


def descend(problem: RegionProblem, network: Network, variables: Variables, starts: Samples) -> Samples:
    return seek(network, variables, problem.prop, problem.regions, starts)[0]


def take(samples: Rows, chosen: Any) -> Rows:
    return jax.tree.map(lambda array: np.asarray(array)[chosen], samples)


def joined(*parts: Rows) -> Rows:
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def examples(problem: RegionProblem, settings: SamplingSettings, key: PRNGKeyArray) -> tuple[Samples, Samples]:
    """The original's negatives and positives, uniform inputs and suspicious ones, as many as were found.

    Raises InputError if every input violates the property, so that there is no behaviour to imitate.
    """
    original = problem.original.network, problem.original.variables
    found = jax.device_get(uniform(problem.regions, named(key, "uniform"), settings.positives))
    for number in range(settings.searches):
        own_key = jax.random.fold_in(named(key, "search"), number)
        found = joined(found, suspicious(problem, *original, settings, own_key))
        safe = margins(problem, *original, found) > 0
        if not safe.all():
            break
    if not safe.any():
        raise InputError("no positive example satisfies the property: behaviour imitation has nothing to imitate")
    return take(found, ~safe), take(found, safe)


def repair_regions(
    problem: RegionProblem, settings: RegionRepairSettings, style: str, key: PRNGKeyArray, loop: Loop
) -> RegionRepair:
    """Rounds of imitation until a search finds no violation and enough decisions are kept.

    If none ends so, the last of the best is returned: clean ones are better than faithful ones.

    After a round of retraining that left violations, which samples are then likely to miss again, bounds on small boxes
    become a part of the loss, if the network has bounds.
    """
    sampling, order = settings.sampling, np.random.default_rng(np.asarray(jax.random.key_data(key)))
    original, positives, certain, cells = problem.original, problem.positives, problem.certain, problem.cells
    outside = (
        uniform(problem.domain, named(key, "outside"), sampling.outside)
        if problem.domain
        else take(positives, slice(0))
    )
    edits, variables = problem.start or ((), original.variables)
    faster = {"steps": settings.certain_steps, "learning_rate": settings.certain_learning_rate}
    verge = settings.retraining.margin * np.median(margins(problem, original.network, original.variables, positives))
    rounds, trace, now, emphasis, negatives = [], {}, style, (1.0, 1.0), problem.negatives
    best = (False, False), edits, variables
    for number in range(1, settings.rounds + 1):
        if certain and cells is None:
            cells = draw_cells(problem.regions, named(key, "cells"), CELLS)
        cases = Cases(
            sized(negatives, sampling.negatives, order),
            sized(positives, sampling.positives, order),
            jax.device_get(outside),
            problem.prop,
            sized(cells, CELLS, order) if certain else None,
            (*emphasis, certain),
        )
        if style == "combined":
            trace["concentration"] = trace.get("concentration") or concentration(original, cases, settings.tuning)
            few = trace["concentration"] >= settings.concentration
            now = "tuning" if few and number == 1 and not certain else "retraining"
        own_key = jax.random.fold_in(named(key, "round"), number)
        if now == "tuning":
            some = sum(len(part.tags) for part in (cases.negatives, cases.positives, cases.outside))
            loop.ledger.charge("swarm", swarm_price(original.network, original.variables, settings.tuning) * some)
            tuned = tune_neurons(original, cases, settings.tuning, own_key)
            edits, variables = tuned.edits, tuned.variables
        else:
            learn = dataclasses.replace(settings.retraining, **faster) if certain else settings.retraining
            variables = retrain(original, cases, learn, own_key, loop, variables, f"round {number}")
        network = apply(original.network, edits)
        loop.ledger.charge("survey", survey_price(network, variables, sampling))
        found = suspicious(problem, network, variables, sampling, named(own_key, "suspicious"))
        left = margins(problem, network, variables, found)
        kept = fidelity(problem, network, variables, named(own_key, "fidelity"))
        rounds.append(
            {
                "style": now,
                "certain": certain,
                "violations_found": int((left <= 0).sum()),
                "least_margin": float(left.min()),
                "fidelity": kept,
                "emphasis": emphasis,
            }
        )
        wanted = settings.fidelity_region, settings.fidelity_domain
        poor = [share is not None and share < want for share, want in zip(kept, wanted, strict=True)]
        clean, faithful = bool((left > 0).all()), not any(poor)
        if (clean, faithful) >= best[0]:
            best = (clean, faithful), edits, variables
        if clean and (now == "tuning" or faithful):
            break
        if not faithful:
            more = (settings.insist ** (1.0 if wanting else 0.5) for wanting in poor)
            emphasis = tuple(map(operator.mul, emphasis, more))
        if not clean and now == "retraining" and has_bounds(network, variables):
            certain = certain or 1.0
        negatives = joined(take(found, left <= verge), negatives)
    (clean, faithful), edits, variables = best
    certain = rounds[-1]["certain"]
    return RegionRepair(edits, variables, None, {"rounds": rounds, **trace}, negatives, clean, faithful, certain)


def survey_price(network: Network, variables: Variables, settings: SamplingSettings) -> Cost:
    """What it costs to look at a repaired network: uniform inputs, descents, and decisions beside the original's."""
    forward = settings.scan + 2 * settings.starts + 4 * FIDELITY_CHUNKS * CHUNK
    descents = settings.starts * SEEK_STEPS  # each a gradient for inputs, which costs two forward passes, and one more
    each = multiply_adds(network, variables)
    return Cost(FORWARD * forward + (GRADIENT + FORWARD) * descents, each * (forward + 3 * descents))


def fidelity(
    problem: RegionProblem, network: Network, variables: Variables, key: PRNGKeyArray
) -> tuple[float | None, float | None]:
    """The shares of decisions that are the original's, on the region's well-behaved inputs and in the whole domain."""

    def tally(regions: Regions, name: str):
        original = problem.original
        arguments = (original.network, network), (original.variables, variables), original.specification, problem.prop
        return jax.device_get(survey(*arguments, regions, named(key, name), chunks=FIDELITY_CHUNKS))

    return tally(problem.regions, "region").fidelity_right, tally(
        problem.domain, "domain"
    ).fidelity if problem.domain else None


def sized(samples: Any, count: int, order: np.random.Generator) -> Any:
    """``count`` of them in a new order, repeated if there are fewer."""
    return take(samples, np.resize(order.permutation(len(samples.tags)), count))


def concentration(original: Original, cases: Cases, settings: ImitationTuningSettings) -> float:
    """The share that the chosen neurons have in all differences between positives' and negatives' behaviour."""
    differences = jax.device_get(
        behaviour_differences(original.network, original.variables, cases.negatives, cases.positives, settings.chunk)
    )
    chosen = choose_neurons(original.network, differences, settings.neurons)
    return float(
        sum(differences[name][channel] for name, channel in chosen) / sum(x.sum() for x in differences.values())
    )


def region_method(style: str) -> Method:
    """One style of imitation over regions, with the settings of ``repair`` and none of its own."""

    def run(problem: RegionProblem, settings: RegionRepairSettings, own: None, key: PRNGKeyArray, loop: Loop):
        return repair_regions(problem, settings, style, key, loop)

    return Method(style, "region", run, story=tell_rounds, trace=TRACE)


def tell_rounds(trace: Mapping[str, Any]) -> list[str]:
    left = [str(each["violations_found"]) for each in trace.get("rounds", [])]
    return [f"Rounds of imitation: {len(left)}; violations found after each: {', '.join(left)}."] if left else []


TRACE = {
    "rounds": {"type": "array", "description": "One entry a round.", "items": {"type": "object"}},
    "concentration": {"type": "number", "description": "The chosen neurons' share in all differences in behaviour."},
}
RETRAINING, TUNING, COMBINED = map(region_method, ("retraining", "tuning", "combined"))
