"""One trial: a program is trained, looked at, and what came out is told to the store."""

import hashlib
import json

import jax
from jaxtyping import PRNGKeyArray
from optuna.trial import Trial, TrialState

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.line.clock import Clock
from archrepair_jax.programs import trials
from archrepair_jax.programs.data import WORST
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.search import PIECES, Search
from archrepair_jax.programs.symptoms import observe
from archrepair_jax.programs.training import Run
from archrepair_jax.training.ledger import GRADIENT, Cost, Ledger


def attempt(search: Search, trial: Trial, thinking: float) -> bool:
    """Tries one program, and tells the store; whether it could be tried at all."""
    try:
        program = search.space.program(trial.params)
    except InputError:
        return end(search, trial, "refused")
    trial.set_user_attr("price", search.cost(program))  # before anybody's are added up
    others = [each for each in search.study.get_trials(deepcopy=False) if each.number != trial.number]
    earlier = [each for each in others if each.number < trial.number and each.state != TrialState.FAIL]
    first = program == search.space.faulty and "proposed" not in trial.user_attrs
    if first and any(each.params == trial.params for each in earlier):
        return end(search, trial, "known")  # two workers who began at once have both put it in the queue
    if not search.space.fits(program):
        return end(search, trial, "unfit")
    taken = sum(each.user_attrs["passes"] for each in trials.paid(others))
    taken += sum(each.user_attrs.get("price", 0) for each in others if each.state == TrialState.RUNNING)
    if search.cost(program) > search.limit - taken:
        return end(search, trial, "too dear")
    again = sum(dict(each.params) == dict(trial.params) for each in trials.paid(others) if each.number < trial.number)
    key = jax.random.fold_in(named(search.key, digest(program)), again)
    ledger = Ledger()
    ledger.limit, ledger.spent = Cost(search.limit), Cost(taken)
    with Clock() as clock:
        score, state, status = tell(search, program, key, ledger, trial)
    trial.set_user_attr("seconds", {**clock.cost, "thinking": thinking})
    trial.set_user_attr("score", score)
    trial.set_user_attr("multiply_adds", ledger.spent.multiply_adds)
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
    return hashlib.sha256(json.dumps(program.fields, sort_keys=True).encode()).hexdigest()
