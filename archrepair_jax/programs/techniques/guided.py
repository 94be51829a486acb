"""Ours: what symptoms suggest, all of it at once, then local search by single edits in the order of suspicion.

Faults come in company, and then no single edit helps; what a patch does not need is taken back afterwards, as from
every technique's. A trial that shows nothing after a third of its training is stopped. What is best is trained again on
fresh seeds, for which budget is kept back, and these runs alone speak for it.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from archrepair_jax.programs.space import Space
from archrepair_jax.programs.techniques.contract import Moves, Technique, Tried, Values
from archrepair_jax.programs.techniques.local import shuffled
from archrepair_jax.programs.techniques.suspicions import suspicions

FRESH, STEADY = 2, 6  # runs that confirm a program, and of one that is perfect so many in all
HEAVY, CERTAIN = 4.0, 9.0  # weights of what is suspicious and not only often better, and of what cannot be meant
FURTHER = 0.02  # of the loss
PERFECT = 0.995  # an accuracy that is not worth improving, or the share of the faulty program's error that is gone


def margin(score: float) -> float:
    """How far apart two scores are that differ: accuracies by 0.01, errors (which are negated) by a fiftieth."""
    return 0.01 if score >= 0 else 0.02 * -score


def fallen(symptoms: Mapping[str, Any]) -> float:
    """Which share of the first epoch's loss is gone; accuracies may not show yet that a program learns."""
    first, last = symptoms.get("first"), symptoms.get("last")
    return (first - last) / abs(first) if first and last is not None else 0.0


class Hopeless(BasePruner):
    """Stops a trial that is behind the best one at the same look, or as good where that one stayed as it was there.

    Not one whose loss has fallen clearly further, nor what was tried before: that is there to be confirmed.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step, before = trial.last_step, study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        known = [each for each in before if step in each.intermediate_values]
        if not known or any(each.params == trial.params for each in before):
            return False
        best = max(known, key=lambda each: each.value)
        gone, before = (each.user_attrs.get("symptoms", {}).get(str(step), {}) for each in (trial, best))
        if fallen(gone) > fallen(before) + FURTHER:
            return False
        there, now = best.intermediate_values[step], trial.intermediate_values[step]
        stayed = best.value - there <= margin(best.value)
        return now <= there if stayed and best.value < PERFECT else now < there - margin(there)


@dataclasses.dataclass
class Candidate:
    """Values that were tried, how their first training went, and the scores of all of them."""

    seen: Tried
    scores: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


def better(new: Candidate, old: Candidate) -> bool:
    """Whether one is better by a margin; or as good, and its loss, of the same kind, has fallen clearly further."""
    if new.seen.stopped or abs(new.mean - old.mean) > margin(old.mean):
        return not new.seen.stopped and new.mean > old.mean
    alike = new.seen.values.get("loss") == old.seen.values.get("loss")
    return alike and fallen(new.seen.symptoms) > fallen(old.seen.symptoms) + FURTHER


def guided(space: Space, random: np.random.Generator) -> Moves:
    """Moves to every edit that is better by a margin, and confirms where that leads, until the budget is spent.

    What is confirmed to be worse than it seemed makes room for the next best, the faulty program among them.
    """
    first = yield space.origin
    current = Candidate(first, [first.score])
    known, left = [current], first.left
    while True:
        values = following(space, known, current, left, random)
        if values is None:
            return
        seen = yield values
        left = seen.left
        if values == current.seen.values:
            current.scores.append(seen.score)
            current = best_of(space, known, current, left)
        else:
            known.append(Candidate(seen, [seen.score]))
            current = known[-1] if better(known[-1], current) else current


def best_of(space: Space, known: list[Candidate], current: Candidate, left: float) -> Candidate:
    """The current one, or one whose mean is above it by a margin and that can still be confirmed."""
    needed = current.mean + margin(current.mean)
    rivals = [each for each in known if not each.seen.stopped and each.mean > needed]
    payable = [each for each in rivals if FRESH * cost(space, each.seen.values) <= left]
    return current if perfect(current, known[0]) else max(payable, key=lambda each: each.mean, default=current)


def perfect(own: Candidate, faulty: Candidate) -> bool:
    """Whether there is nothing left to improve; of the faulty program's error a trace may be left."""
    return own.mean >= (PERFECT if own.mean >= 0 else (1 - PERFECT) * faulty.mean)


def following(
    space: Space, known: list[Candidate], current: Candidate, left: float, random: np.random.Generator
) -> Values | None:
    """What to try next: what is perfect again, else something new, else the best again; None for nothing."""
    own, tried = current.seen.values, [each.seen.values for each in known]
    again = own if cost(space, own) <= left else None
    runs = len(current.scores)
    if perfect(current, known[0]) and again:
        return again if runs < STEADY else None
    missing = max(1 + FRESH - runs, 0) * cost(space, own)
    for values in (*bundles(space, known[0].seen), *ordered(space, current.seen, random)):
        if values not in tried and cost(space, values) + max(FRESH * cost(space, values), missing) <= left:
            return values
    return again if runs <= FRESH and own != space.origin else None


def bundles(space: Space, seen: Tried) -> Iterator[Values]:
    """A single edit that is all but certain; then all fields at their most suspicious one, if heavy, and if any.

    Epochs stay as they are, so that a bundle costs what the program did.
    """
    found = suspicions(space, space.program(seen.values), seen.symptoms)
    yield from ({**seen.values, each.field: each.value} for each in found[:1] if each.weight >= CERTAIN)
    for least in (HEAVY, 0.0):
        heaviest = {each.field: each.value for each in reversed(found) if each.weight >= least}
        bundle = {**seen.values, **heaviest} | {name: own for name, own in seen.values.items() if name == "epochs"}
        if space.fits(space.program(bundle)):
            yield bundle


def cost(space: Space, values: Values) -> float:
    """About how many trainings of the faulty program a training costs, looks included."""
    return 1.1 * values["epochs"] / space.faulty.epochs if "epochs" in values else 1.1


def ordered(space: Space, seen: Tried, random: np.random.Generator) -> Iterator[Values]:
    """Single edits: suspicious ones first, then all others in random order."""
    found = suspicions(space, space.program(seen.values), seen.symptoms)
    yield from ({**seen.values, each.field: each.value} for each in found)
    yield from shuffled(space, seen.values, random)


GUIDED = {
    "guided": Technique(
        "single edits in the order of symptoms, confirmed on fresh seeds",
        moves=guided,
        pruner=Hopeless,
        looks=(1 / 3,),
        observes=True,
        fresh=FRESH,
        abstains=True,
    )
}
