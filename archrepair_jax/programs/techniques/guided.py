"""Ours: local search by single edits, in the order in which symptoms suggest them.

A trial that shows nothing after a third of its training is stopped. What comes out best is trained again with fresh
seeds, for which budget is kept back, and these runs alone speak for it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.space import Space
from archrepair_jax.programs.techniques.contract import Moves, Technique, Tried, Values
from archrepair_jax.programs.techniques.local import shuffled
from archrepair_jax.programs.techniques.suspicions import suspicions

FRESH = 2
FURTHER = 0.02  # of the loss
PERFECT = 0.995  # an accuracy that is not worth improving; an error is never that small


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


def better(seen: Tried, best: Tried) -> bool:
    """Whether a trial is better by a margin; or as good, and its loss, of the same kind, has fallen clearly further."""
    if seen.stopped or abs(seen.score - best.score) > margin(best.score):
        return not seen.stopped and seen.score > best.score
    alike = seen.values.get("loss") == best.values.get("loss")
    return alike and fallen(seen.symptoms) > fallen(best.symptoms) + FURTHER


def guided(space: Space, random: np.random.Generator) -> Moves:
    """Moves to every edit that is better by a margin, and confirms where that leads."""
    current = space.origin
    best = yield current
    left, known = best.left, [current]
    while True:
        for values in ordered(space, current, best, random):
            needed = cost(space, values) + FRESH * max(cost(space, values), cost(space, current))
            if values in known or needed > left:
                continue
            known.append(values)
            seen = yield values
            left = seen.left
            if better(seen, best):
                current, best = values, seen
                break
        else:
            break
        if best.score >= PERFECT:
            runs = [best.score]
            for _ in range(FRESH):
                seen = yield current
                runs.append(seen.score)
            left, best = seen.left, Tried(current, float(np.mean(runs)), symptoms=best.symptoms, left=seen.left)
            if best.score >= PERFECT:
                return
    if current != space.origin:
        for _ in range(FRESH):
            yield current


def cost(space: Space, values: Values) -> float:
    """About how many trainings of the faulty program a training costs, looks included."""
    return 1.1 * values["epochs"] / space.faulty.epochs if "epochs" in values else 1.1


def ordered(space: Space, values: Values, seen: Tried, random: np.random.Generator) -> list[dict[str, Value]]:
    """Single edits: suspicious ones first, then all others in random order."""
    program = space.program(values)
    first = [{**values, each.field: each.value} for each in suspicions(space, program, seen.symptoms)]
    return first + [each for each in shuffled(space, values, random) if each not in first]


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
