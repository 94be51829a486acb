"""Repair by whichever method suits: a race of several within one budget.

Successive halving (Jamieson and Talwalkar, AISTATS 2016) over methods: in every round each one that is left repairs
with an equal part of a share of the budget, and the half whose repairs the guard's rule likes best on validation
examples goes on; the last one repairs anew with all that is left. That a method starts anew each time is ours: methods
plan their steps for the budget that they get. The guard itself, and the test set, see the last repair alone.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.keys import named
from archrepair_jax.repair.guard import accept, guard_price
from archrepair_jax.repair.method import Method, Plan, Team, check_batches
from archrepair_jax.repair.problem import Problem, Repair
from archrepair_jax.repair.settings import GuardSettings, RepairSettings
from archrepair_jax.training.ledger import Cost, Overspent
from archrepair_jax.training.loop import Diverged, Loop

RACERS = ("conditional", "conditional_group", "fine_tune_network", "imitation_retraining")


@dataclasses.dataclass(frozen=True)
class AutoSettings:
    """Of the race.

    Attributes:
        methods: who takes part, each with its own settings; of equally good ones the first is preferred.
        share: of the budget, for all rounds but the last repair.
        fractions: at which the rounds' repairs are judged, see ``GuardSettings``.
        examples: validation examples at most that they are judged on, as many of each view.
    """

    methods: tuple[str, ...] = RACERS
    share: float = 0.5
    fractions: tuple[float, ...] = (1.0, 0.5)
    examples: int = 512

    def __post_init__(self):
        one_of("methods", self.methods, self.methods)  # none twice
        if not self.methods:
            raise InputError("methods is empty: name those that race")
        within("share", self.share, 0.01, 0.99)
        within("examples", self.examples, 1)
        GuardSettings(self.fractions)


def race(methods: Mapping[str, Method]) -> Method:
    """The method that lets others race; ``methods`` are those that there are."""

    def check(plan: Plan) -> None:
        """Raises InputError where no racer can work."""
        check_batches(plan)
        if not any(fits(methods, plan, name) is None for name in plan.own.others):
            raise InputError(f"none of {', '.join(plan.own.others)} fits here: name others in methods.auto.methods")

    def least(plan: Plan) -> int:
        """So much that the cheapest racer can take part in the first round: one that cannot pay loses."""
        own = [name for name in plan.own.others if fits(methods, plan, name) is None]
        each = min(methods[name].least(dataclasses.replace(plan, own=plan.own.others[name])) for name in own)
        if not (rounds := halvings(len(own))):
            return each
        judged = len(plan.own.settings.fractions) * min(plan.own.settings.examples, plan.rows["validation"])
        return math.ceil((each + judged) * len(own) * rounds / plan.own.settings.share)

    def story(trace: Mapping[str, Any]) -> list[str]:
        """How the race went, and what the winner tells."""
        rounds = [", ".join(f"{each['method']} {each['told']}" for each in tried) for tried in trace["race"]]
        told = [f"round {number}, examples repaired less broken: {line}" for number, line in enumerate(rounds, 1)]
        won = trace["won"]
        return [f"of {', '.join(trace['racers'])} the race chose {won}", *told, *methods[won].story(trace["of"])]

    return Method(
        "auto",
        "network",
        functools.partial(run, methods),
        AutoSettings,
        check,
        least,
        story,
        TRACE,
        lambda own: own.methods,
        functools.partial(raced, methods),
    )


def halvings(racers: int) -> int:
    """The rounds until one is left, half of them, rounded down, going on after each."""
    return racers.bit_length() - 1


def fits(methods: Mapping[str, Method], plan: Plan, name: str) -> str | None:
    """What speaks against a racer; None if nothing does."""
    try:
        methods[name].check(dataclasses.replace(plan, own=plan.own.others[name]))
    except InputError as error:
        return str(error)


def raced(
    methods: Mapping[str, Method], problem: Problem, settings: RepairSettings, own: Team, key: jax.Array, loop: Loop
) -> Callable[[Problem, Loop], Repair]:
    """The rounds, and what the winner does."""
    plan = Plan(
        settings, own, problem.network, problem.block, loop.devices, rows(problem), bool(problem.suspiciousness)
    )
    against = {name: fits(methods, plan, name) for name in own.others}
    racers = left = [name for name, reason in against.items() if reason is None]
    told = []
    share = loop.ledger.left.share(own.settings.share / max(halvings(len(racers)), 1))
    while len(left) > 1:
        tried = {}
        for name in left:
            do = functools.partial(methods[name].run, problem, settings, own.others[name], named(key, name))
            racing = loop.part(f"{name}{len(told)}", share.share(1 / len(left)))
            tried[name] = try_out(problem, settings, own.settings, do, racing)
            loop.ledger.charge(name, tried[name].spent)
        told.append([each.told(name) for name, each in tried.items()])
        left = sorted(left, key=lambda name: -tried[name].gain)[: len(left) // 2]
    (won,) = left

    def repair(problem: Problem, loop: Loop) -> Repair:
        made = methods[won].run(problem, settings, own.others[won], named(key, won), loop)
        return dataclasses.replace(made, trace={"racers": racers, "race": told, "won": won, "of": made.trace})

    return repair


def run(
    methods: Mapping[str, Method], problem: Problem, settings: RepairSettings, own: Team, key: jax.Array, loop: Loop
) -> Repair:
    """The rounds, and the winner's repair."""
    return raced(methods, problem, settings, own, key, loop)(problem, loop)


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a racer did in one round: examples repaired less examples broken, and its cost; or why it did nothing."""

    gain: float
    spent: Cost
    trouble: str = ""

    def told(self, name: str) -> dict[str, Any]:
        """JSON for the report."""
        return {"method": name, "told": self.trouble or f"{self.gain:+.0f}"}


def try_out(
    problem: Problem,
    settings: RepairSettings,
    own: AutoSettings,
    do: Callable[[Loop], Repair],
    loop: Loop,
) -> Trial:
    """One racer's repair, judged on validation examples by the guard's rule."""
    rule = GuardSettings(own.fractions, settings.guard.clean_drop)
    few = problem.validation.some(own.examples)
    shown = dataclasses.replace(problem, examples=lambda _: few)
    try:
        with loop.ledger.set_aside(guard_price(shown, rule, loop.devices)):
            repair = do(loop)
        verdict = accept(shown, repair, rule, loop)
    except (InputError, Overspent, Diverged) as error:
        return Trial(-math.inf, loop.ledger.spent, str(error))
    return Trial(verdict.evidence["fixed"] - verdict.evidence["broken"], loop.ledger.spent)


def rows(problem: Problem) -> dict[str, int]:
    return {name: len(problem.examples(name).labels) for name in ("train", "validation", "guard")}


TRIED = {
    "type": "object",
    "additionalProperties": False,
    "required": ["method", "told"],
    "properties": {
        "method": {"type": "string"},
        "told": {"type": "string", "description": "Validation examples repaired less broken, or what went wrong."},
    },
}
TRACE = {
    "racers": {"type": "array", "items": {"type": "string"}},
    "race": {"type": "array", "description": "Its rounds.", "items": {"type": "array", "items": TRIED}},
    "won": {"type": "string"},
    "of": {"type": "object", "description": "What the winner tells of its last repair."},
}
