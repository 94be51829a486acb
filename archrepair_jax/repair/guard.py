"""The guard: a repair is taken only as far as examples that nobody learned from say it fixes more than it breaks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from archrepair_jax.repair.edits import apply
from archrepair_jax.repair.problem import Problem, Repair, prefix_map
from archrepair_jax.repair.settings import GuardSettings
from archrepair_jax.repair.verdict import Verdict, at_fraction
from archrepair_jax.training.ledger import Cost
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices

GROWTH = 1.25  # for how much costlier a repaired network multiply-adds are set aside


@dataclasses.dataclass(frozen=True)
class Trial:
    """What the repair does to the guard's examples at one fraction of the way."""

    fraction: float
    fixed: int
    broken: int
    clean_after: float


def accept(problem: Problem, repair: Repair, settings: GuardSettings, loop: Loop) -> Verdict:
    """How far the repair is admissible: ``repaired``, ``interpolated`` or ``unchanged``, with all trials as evidence.

    Walks from the original to the repair (a line in weight space, as in WiSE-FT, Wortsman et al. 2022) and takes, of
    the fractions at which it fixes more than it breaks and loses at most ``clean_drop`` of the clean accuracy, the one
    that fixes most beyond what it breaks. A repair that was cross-fitted has been looked at already.
    """
    seen = repair.seen or evidence(problem.guard.correct, look(problem, repair, settings, loop))
    clean_before, trials = seen["clean_before"], [Trial(**each) for each in seen["candidates"]]
    admissible = [
        t for t in trials if t.fixed > t.broken and t.clean_after >= clean_before - settings.clean_drop - 1e-9
    ]
    best = max(admissible, key=lambda t: (t.fixed - t.broken, t.fraction), default=Trial(0.0, 0, 0, clean_before))
    decision = {0.0: "unchanged", 1.0: "repaired"}.get(best.fraction, "interpolated")
    told = {**dataclasses.asdict(best), **seen, "clean_drop": settings.clean_drop}
    return Verdict(decision, fraction=best.fraction, evidence=told)


def look(problem: Problem, repair: Repair, settings: GuardSettings, loop: Loop) -> dict[float, Bool[np.ndarray, "V N"]]:
    """What of the guard's examples is right, at every fraction of the way that there is."""
    fractions = settings.fractions if repair.start is not None else (1.0,)
    return {fraction: predictions_right(problem, repair, fraction, loop) for fraction in fractions}


def evidence(before: Bool[np.ndarray, "V N"], after: Mapping[float, Bool[np.ndarray, "V N"]]) -> dict[str, Any]:
    """What the guard decides by, as JSON."""
    return {
        "clean_before": clean_accuracy(before),
        "images": before.shape[1],
        "failing": int((~before).sum()),
        "passing": int(before.sum()),
        "candidates": [dataclasses.asdict(judge(before, right, fraction)) for fraction, right in after.items()],
    }


def guard_price(problem: Problem, settings: GuardSettings, devices: Devices) -> Cost:
    """What the guard will cost, at most; a repaired network is allowed to be ``GROWTH`` times as costly."""
    whole = prefix_map(problem.network, len(problem.network.blocks), devices)
    price = whole.price(problem.variables, problem.guard.images) * len(settings.fractions)
    return dataclasses.replace(price, multiply_adds=round(GROWTH * price.multiply_adds))


def predictions_right(problem: Problem, repair: Repair, fraction: float, loop: Loop) -> Bool[np.ndarray, "V N"]:
    network, examples = apply(problem.network, repair.edits), problem.guard
    whole = prefix_map(network, len(network.blocks), loop.devices)
    scores = loop.map("guard", whole, at_fraction(repair, fraction), examples.images)
    return dataclasses.replace(examples, logits=scores).correct


def judge(before: np.ndarray, after: np.ndarray, fraction: float) -> Trial:
    fixed, broken = int((~before & after).sum()), int((before & ~after).sum())
    return Trial(fraction, fixed, broken, clean_accuracy(after))


def clean_accuracy(correct: Bool[np.ndarray, "V N"]) -> float:
    """Accuracy on the clean view, which is the first."""
    return float(correct[0].mean())
