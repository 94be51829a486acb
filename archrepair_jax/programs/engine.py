"""The course of a search: a technique tries programs until its budget is spent, and the store knows of every trial."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from archrepair_jax.errors import InputError
from archrepair_jax.programs import trials
from archrepair_jax.programs.attempt import attempt
from archrepair_jax.programs.search import Search, tried
from archrepair_jax.programs.techniques.contract import Values
from archrepair_jax.training.loop import Stopped

REFUSALS = 20  # proposals in a row that cannot be tried, after which a search is over
WAIT = 0.2  # seconds until a worker looks again whether the other one has ended a trial


def run(search: Search, stopping: Callable[[], bool] = lambda: False, report: Callable = lambda *_: None) -> None:
    """Tries programs until no other can be paid, or the technique has no more to propose.

    Started again after a kill, it goes on; what it had under way is tried again, and counted once. Raises Stopped when
    asked to stop, after the trial under way; InputError for a budget that does not even pay for the faulty program.
    """
    if search.cost(search.space.faulty) > search.limit:
        raise InputError(f"budget={search.budget} does not pay for one training with all looks at it: take 2 or more")
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
        try:
            with trials.alive(search.storage, trial):
                trials.fill(trial, search.space)
                refused = 0 if attempt(search, trial, time.monotonic() - started) else refused + 1
        except UpdateFinishedTrialError:
            continue  # another worker heard nothing of it for too long, and has put it back in the queue
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
            study.enqueue_trial(dict(found), user_attrs={"proposed": True})
        if technique.sampler:
            study.sampler = technique.sampler(search.seed + len(known))
        study.pruner = technique.pruner()
        trial = study.ask()
        if technique.sampler and trial.number != len(known):  # another worker was quicker, and has that seed
            study.sampler = technique.sampler(search.seed + trial.number)
        return trial


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
