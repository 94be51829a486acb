"""Repair of all weights, then the best mixture with the original's: the control that interpolates for itself.

WiSE-FT (Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022); choosing the fraction on validation
examples in all views is ours.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from archrepair_jax.repair.fine_tuning import NetworkTuningSettings, fine_tune
from archrepair_jax.repair.method import Method, Plan, step_passes
from archrepair_jax.repair.problem import Problem, Repair, prefix_map
from archrepair_jax.repair.settings import RepairSettings, check_fractions
from archrepair_jax.repair.verdict import at_fraction
from archrepair_jax.training.ledger import FORWARD
from archrepair_jax.training.loop import Loop


@dataclasses.dataclass(frozen=True)
class WeightAverageSettings(NetworkTuningSettings):
    """As there, and where to look.

    Attributes:
        fractions: of the way from the original (0) to the tuned weights (1); each costs a forward pass of all
            validation examples.
    """

    fractions: tuple[float, ...] = tuple(step / 20 for step in range(1, 21))

    def __post_init__(self):
        super().__post_init__()
        check_fractions(self.fractions)


def weight_average(
    problem: Problem, settings: RepairSettings, own: WeightAverageSettings, key: jax.Array, loop: Loop
) -> Repair:
    """The fraction of the way at which most validation examples are right; of several, the one that goes furthest.

    It starts at the original, so the guard may go back further.
    """
    network, examples = problem.network, problem.validation
    whole = prefix_map(network, len(network.blocks), loop.devices)
    with loop.ledger.set_aside(whole.price(problem.variables, examples.images) * len(own.fractions)):
        tuned = fine_tune(problem, dict.fromkeys(network.names, 1.0), own.tuning(settings), loop)
    accuracies = {0.0: float(examples.right.mean())}  # the original's, which is known
    for fraction in own.fractions:
        scores = loop.map("validation", whole, at_fraction(tuned, fraction), examples.images)
        accuracies[fraction] = float((scores.argmax(-1) == examples.labels).mean())
    best = max(own.fractions, key=lambda fraction: (accuracies[fraction], fraction))
    trace = {
        "fraction": best,
        "validation": [{"fraction": fraction, "accuracy": each} for fraction, each in accuracies.items()],
    }
    return Repair((), at_fraction(tuned, best), problem.variables, trace)


def least(plan: Plan) -> int:
    """A step, and the validation examples at all fractions."""
    return step_passes(plan) + FORWARD * plan.rows["validation"] * len(plan.own.fractions)


def story(trace: Mapping[str, Any]) -> list[str]:
    right = {each["fraction"]: f"{100 * each['accuracy']:.1f} %" for each in trace["validation"]}
    best, last = trace["fraction"], max(right)
    return [
        f"{100 * best:.0f} % of the way to the tuned weights was taken: {right[best]} of the validation examples are "
        f"right there, {right[last]} at {100 * last:.0f} %, {right[0.0]} at the original"
    ]


SHARE = {"type": "number", "minimum": 0, "maximum": 1}
TRACE = {
    "fraction": SHARE | {"description": "How far from the original (0) to the tuned weights (1) the repair goes."},
    "validation": {
        "type": "array",
        "description": "The share of validation examples, in all views, that are right at each fraction.",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["fraction", "accuracy"],
            "properties": {"fraction": SHARE, "accuracy": SHARE},
        },
    },
}
AVERAGE = Method(
    "weight_average", "network", weight_average, WeightAverageSettings, least=least, story=story, trace=TRACE
)
