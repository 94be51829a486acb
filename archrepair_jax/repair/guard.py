"""The guard: a repair is taken only as far as examples that nobody learned from say it fixes more than it breaks."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from archrepair_jax.models.network import Variables
from archrepair_jax.repair.problem import Examples, Problem, Repair, prefix_map
from archrepair_jax.repair.settings import GuardSettings
from archrepair_jax.training.ledger import Cost
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices

GROWTH = 1.25
MADE_OF = ("genotype", "scaled", "neurons")  # details of what is not in the original network


@dataclasses.dataclass(frozen=True)
class Trial:
    """What the repair does to the guard's examples at one fraction of the way."""

    fraction: float
    fixed: int
    broken: int
    clean_after: float


def guarded(problem: Problem, repair: Repair, settings: GuardSettings, loop: Loop) -> tuple[Repair, dict[str, Any]]:
    """The repair as far as it is admissible, and what was decided.

    Walks from the original to the repair (a line in weight space, as in WiSE-FT, Wortsman et al. 2022) and takes, of
    the fractions at which it fixes more than it breaks and loses at most ``clean_drop`` of the clean accuracy, the one
    that fixes most beyond what it breaks. Where there is none the untouched original comes back.

    Returns:
        The admitted repair, and the decision (``repaired``, ``interpolated`` or ``unchanged``) with all trials.
    """
    examples, before = problem.guard, problem.guard.correct
    fractions = settings.fractions if repair.start is not None else (1.0,)
    trials = [
        judge(examples, before, predictions_right(repair, fraction, examples, loop), fraction) for fraction in fractions
    ]
    clean_before = clean_accuracy(examples, before)
    admissible = [
        t for t in trials if t.fixed > t.broken and t.clean_after >= clean_before - settings.clean_drop - 1e-9
    ]
    best = max(admissible, key=lambda t: (t.fixed - t.broken, t.fraction), default=Trial(0.0, 0, 0, clean_before))
    decision = {0.0: "unchanged", 1.0: "repaired"}.get(best.fraction, "interpolated")
    verdict = {
        "decision": decision,
        **dataclasses.asdict(best),
        "clean_before": clean_before,
        "candidates": [dataclasses.asdict(trial) for trial in trials],
    }
    if decision == "unchanged":
        details = {f"rejected_{name}" if name in MADE_OF else name: told for name, told in repair.details.items()}
        return dataclasses.replace(
            repair, network=problem.network, variables=problem.variables, details=details
        ), verdict
    return dataclasses.replace(repair, variables=at_fraction(repair, best.fraction)), verdict


def guard_price(problem: Problem, settings: GuardSettings, devices: Devices) -> Cost:
    """What the guard will cost, at most; a repaired network is allowed to be ``GROWTH`` times as costly."""
    whole = prefix_map(problem.network, len(problem.network.blocks), devices)
    price = whole.price(problem.variables, problem.guard.images) * len(settings.fractions)
    return dataclasses.replace(price, multiply_adds=round(GROWTH * price.multiply_adds))


def at_fraction(repair: Repair, fraction: float) -> Variables:
    """The variables on the line from the original (0) to the repair (1)."""
    if fraction == 1.0:
        return repair.variables
    return jax.tree.map(lambda a, b: (1 - fraction) * a + fraction * b, repair.start, repair.variables)


def predictions_right(repair: Repair, fraction: float, examples: Examples, loop: Loop) -> Bool[np.ndarray, "V N"]:
    whole = prefix_map(repair.network, len(repair.network.blocks), loop.devices)
    scores = loop.map("guard", whole, at_fraction(repair, fraction), examples.images)
    return dataclasses.replace(examples, logits=scores).correct


def judge(examples: Examples, before: np.ndarray, after: np.ndarray, fraction: float) -> Trial:
    fixed, broken = int((~before & after).sum()), int((before & ~after).sum())
    return Trial(fraction, fixed, broken, clean_accuracy(examples, after))


def clean_accuracy(examples: Examples, correct: Bool[np.ndarray, "V N"]) -> float:
    """Accuracy on the clean view, which is the first."""
    return float(correct[0].mean())
