"""What is searched, where, and for how much; and what a search has come to."""

import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from optuna import Study
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from archrepair_jax.keys import named
from archrepair_jax.programs import trials
from archrepair_jax.programs.data import WORST, Data
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.space import Space
from archrepair_jax.programs.symptoms import EXAMPLES
from archrepair_jax.programs.techniques.contract import Technique, Tried
from archrepair_jax.programs.training import price
from archrepair_jax.training.ledger import GRADIENT

PIECES = 729  # a share of a training as a whole number, for Optuna's steps


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """What is searched, where, and for how much.

    Attributes:
        space, technique: see there.
        budget: in whole trainings of the faulty program, with one scoring each.
        key: decides everything that is drawn.
        storage, study: where trials are kept.
        alone: whether nobody else works on this study.
    """

    space: Space
    technique: Technique
    budget: int
    key: PRNGKeyArray
    storage: RDBStorage
    study: Study
    alone: bool = True

    @property
    def data(self) -> Data:
        return self.space.data

    @property
    def limit(self) -> int:
        """In passes."""
        return self.budget * price(self.space.faulty, self.data).passes

    @functools.cached_property
    def seed(self) -> int:
        return int(jax.random.randint(named(self.key, "technique"), (), 0, 2**31 - 1))

    def cost(self, program: Program) -> int:
        """Of a whole trial, in passes."""
        looks = len(self.technique.looks) + 1
        seen = looks * GRADIENT * EXAMPLES if self.technique.observes else 0
        return price(program, self.data, looks).passes + seen


def tried(trial: FrozenTrial) -> Tried:
    looks = {str(step / PIECES): value for step, value in trial.intermediate_values.items() if step < PIECES}
    attributes = trial.user_attrs
    stopped, seen = trial.state != TrialState.COMPLETE, attributes.get("symptoms", {})
    last = seen[max(seen, key=int)] if seen else {}
    return Tried(trial.params, attributes.get("score", -np.inf), stopped, looks, last)


def chosen(search: Search) -> tuple[Program, str]:
    """The program that a search comes to, and a word on it; the faulty one where no other can be shown to be better.

    That is the one with the best score. Where a technique asks for ``fresh`` runs, these alone speak for a program, and
    their mean has to be above that of the faulty program's runs.
    """
    runs: dict[Program, list[float]] = {}
    for trial in trials.paid(search.study.get_trials(deepcopy=False)):
        if trial.state == TrialState.COMPLETE:
            runs.setdefault(search.space.program(trial.params), []).append(trial.user_attrs["score"])
    faulty, fresh = search.space.faulty, search.technique.fresh
    before = float(np.mean(runs.get(faulty, [WORST[search.data.metric]])))
    sure = {own: float(np.mean(scores[1:] if fresh else scores)) for own, scores in runs.items() if len(scores) > fresh}
    best = max(sure, key=sure.__getitem__, default=faulty)
    if best == faulty or not sure[best] > before:
        return faulty, "nothing better was confirmed" if fresh else "nothing better was found"
    return best, "confirmed" if fresh else "found"
