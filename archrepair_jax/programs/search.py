"""One search: a technique tries programs until its budget is spent; every trial is in the store as soon as it ends."""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from optuna import Study
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.line.clock import Clock
from archrepair_jax.programs import trials
from archrepair_jax.programs.data import WORST, Data
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.space import Space
from archrepair_jax.programs.symptoms import observe
from archrepair_jax.programs.techniques.contract import Technique, Tried, Values
from archrepair_jax.programs.training import Run, price
from archrepair_jax.training.ledger import GRADIENT, Cost, Ledger
from archrepair_jax.training.loop import Stopped

PIECES = 729  # a share of a training as a whole number, for Optuna's steps
REFUSALS = 20  # proposals in a row that cannot be tried, after which a search is over
WAIT = 0.2  # seconds until a worker looks again whether the other one has ended a trial

Score = Callable[["Search", Program, PRNGKeyArray, Ledger, Trial], tuple[float, TrialState, str]]


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
        seen = looks * GRADIENT * 32 if self.technique.observes else 0
        return price(program, self.data, looks).passes + seen


def run(search: Search, stopping: Callable[[], bool] = lambda: False, report: Callable = lambda *_: None) -> None:
    """Tries programs until no other can be paid, or the technique has no more to propose.

    Started again after a kill, it goes on; what it had under way is tried again, and counted once. Raises Stopped when
    asked to stop, after the trial under way.
    """
    trials.recover(search.study, alone=search.alone)
    if not search.study.get_trials(deepcopy=False):
        search.study.enqueue_trial(search.space.origin, skip_if_exists=True)
    refused = 0
    while refused < REFUSALS:
        if stopping():
            raise Stopped("the search was stopped between two trials")
        trials.recover(search.study)
        started = time.monotonic()
        if (trial := proposed(search)) is None:
            break
        thinking = time.monotonic() - started
        refused = 0 if attempt(search, trial, thinking) else refused + 1
        spent = sum(each.user_attrs["passes"] for each in trials.paid(search.study.get_trials(deepcopy=False)))
        report("programs", min(spent, search.limit), search.limit, f"trial {trial.number}")


def proposed(search: Search) -> Trial | None:
    """The next trial: one that waits in the queue, or else what the technique proposes; None if that is nothing."""
    technique, study = search.technique, search.study
    while True:
        known = study.get_trials(deepcopy=False)
        waiting = any(trial.state == TrialState.WAITING for trial in known)
        if technique.moves and not waiting:
            found = moved(search, known)
            if found == "wait":
                time.sleep(WAIT)
                trials.recover(study)
                continue
            if found is None:
                return None
            study.enqueue_trial(dict(found))
        if technique.sampler:
            study.sampler = technique.sampler(search.seed + len(known))
        study.pruner = technique.pruner()
        return study.ask(trials.distributions(search.space))


def moved(search: Search, known: list[FrozenTrial]) -> Values | None | str:
    """What a technique's moves give after all that was tried: they are played again from the start.

    "wait" where another worker's trial is not known yet.
    """
    moves = search.technique.moves(search.space, np.random.default_rng(search.seed))
    left = [trial for trial in known if trial.state.is_finished() and "status" in trial.user_attrs]
    spent, whole = 0, search.limit / search.budget
    under_way = [dict(trial.params) for trial in known if not trial.state.is_finished()]
    try:
        values = next(moves)
        while True:
            place = next((at for at, trial in enumerate(left) if trial.params == dict(values)), None)
            if place is None:
                return "wait" if dict(values) in under_way else values
            trial = left.pop(place)
            spent += trial.user_attrs.get("passes", 0)
            values = moves.send(dataclasses.replace(tried(trial), left=(search.limit - spent) / whole))
    except StopIteration:
        return None


def tried(trial: FrozenTrial) -> Tried:
    looks = {str(step / PIECES): value for step, value in trial.intermediate_values.items() if step < PIECES}
    attributes = trial.user_attrs
    stopped, seen = trial.state != TrialState.COMPLETE, attributes.get("symptoms", {})
    last = seen[max(seen, key=int)] if seen else {}
    return Tried(trial.params, attributes.get("score", -np.inf), stopped, looks, last)


def attempt(search: Search, trial: Trial, thinking: float) -> bool:
    """Tries one program, and tells the store; whether it could be tried at all."""
    try:
        program = search.space.program(trial.params)
    except InputError:
        return end(search, trial, "refused")
    others = [each for each in search.study.get_trials(deepcopy=False) if each.number != trial.number]
    taken = sum(each.user_attrs["passes"] for each in trials.paid(others))
    taken += sum(  # two workers: who began first has his share
        each.user_attrs.get("price", 0) for each in others
        if each.state == TrialState.RUNNING and each.number < trial.number
    )  # fmt: skip
    if not search.space.fits(program):
        return end(search, trial, "unfit")
    if search.cost(program) > search.limit - taken:
        return end(search, trial, "too dear")
    trial.set_user_attr("price", search.cost(program))
    again = sum(dict(each.params) == dict(trial.params) for each in trials.paid(others) if each.number < trial.number)
    key = jax.random.fold_in(named(search.key, digest(program)), again)
    ledger = Ledger()
    ledger.limit, ledger.spent = Cost(search.limit), Cost(taken)
    with trials.alive(search.storage, trial), Clock() as clock:
        score, state, status = tell(search, program, key, ledger, trial)
    trial.set_user_attr("seconds", {**clock.cost, "thinking": thinking})
    trial.set_user_attr("score", score)
    trial.set_user_attr("passes", ledger.spent.passes - taken)
    return end(search, trial, status, score, state)


def tell(
    search: Search, program: Program, key: PRNGKeyArray, ledger: Ledger, trial: Trial
) -> tuple[float, TrialState, str]:
    """Trains a program with looks at it: its score, how the trial ends, and a word on it."""
    worst = WORST[search.data.metric]
    try:
        training = Run(program, search.data, key, ledger)
    except (InputError, ValueError):  # an initialiser that does not fit: Keras fails on the first batch
        ledger.charge("failure", Cost(GRADIENT * min(program.batch_size, len(search.data.train))))
        return worst, TrialState.COMPLETE, "failed"
    for share in (*search.technique.looks, 1.0):
        training.advance(share)
        score = training.score(search.data.validation)
        trial.report(score, step=round(PIECES * share))
        if search.technique.observes:
            symptoms = {**trial.user_attrs.get("symptoms", {}), str(round(PIECES * share)): observe(training)}
            trial.set_user_attr("symptoms", symptoms)
        if not training.finite:
            return score, TrialState.COMPLETE, "not finite"
        if share < 1 and trial.should_prune():
            return score, TrialState.PRUNED, "stopped"
    return score, TrialState.COMPLETE, "ended"


def end(search: Search, trial: Trial, status: str, score: float | None = None, state=TrialState.FAIL) -> bool:
    """Tells the store how a trial has ended."""
    trial.set_user_attr("status", status)
    search.study.tell(trial, score if state == TrialState.COMPLETE else None, state=state)
    return state != TrialState.FAIL


def digest(program: Program) -> str:
    return hashlib.sha256(json.dumps(dataclasses.asdict(program), sort_keys=True).encode()).hexdigest()


def chosen(search: Search) -> tuple[Program, str]:
    """The program that a search comes to, and a word on it; the faulty one where no other can be shown to be better.

    That is the one with the best score. Where a technique asks for ``fresh`` runs, these alone speak for a program, and
    their mean has to be above the faulty program's score.
    """
    runs: dict[Program, list[float]] = {}
    for trial in trials.paid(search.study.get_trials(deepcopy=False)):
        if trial.state == TrialState.COMPLETE:
            runs.setdefault(search.space.program(trial.params), []).append(trial.user_attrs["score"])
    faulty, fresh = search.space.faulty, search.technique.fresh
    before = runs.get(faulty, [WORST[search.data.metric]])[0]
    sure = {own: float(np.mean(scores[1:] if fresh else scores)) for own, scores in runs.items() if len(scores) > fresh}
    best = max(sure, key=sure.__getitem__, default=faulty)
    if best == faulty or not sure[best] > before:
        return faulty, "nothing better was confirmed" if fresh else "nothing better was found"
    return best, "confirmed" if fresh else "found"
