"""Searches as a user meets them: equal budgets, what is counted, going on after a kill, and what is claimed."""

import signal
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from program import ROOT
from tiny_subject import DATA, FAULTY, searching

from archrepair_jax.errors import InputError
from archrepair_jax.programs import search as searches
from archrepair_jax.programs import trials
from archrepair_jax.programs.search import chosen, run
from archrepair_jax.programs.techniques import TECHNIQUES
from archrepair_jax.programs.training import price
from archrepair_jax.training.loop import Stopped

QUICK = [name for name in TECHNIQUES if name != "gp"]


def spent(search):
    return sum(each.user_attrs["passes"] for each in paid(search))


def paid(search):
    return trials.paid(search.study.get_trials(deepcopy=False))


def told(search):
    return [(each.params, each.user_attrs["score"]) for each in paid(search)]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_every_technique_starts_from_the_fault_and_stays_within_its_budget(name, tmp_path):
    search = searching(tmp_path, name, budget=4)
    run(search)
    first, *others = paid(search)
    assert search.space.program(first.params) == FAULTY and others
    assert spent(search) <= search.limit == 4 * price(FAULTY, DATA).passes
    best, _ = chosen(search)
    scores = [score for params, score in told(search) if search.space.program(params) == best]
    assert max(scores) >= first.user_attrs["score"]


@pytest.mark.parametrize(
    "name",
    ["guided", *(pytest.param(name, marks=pytest.mark.slow) for name in ("random", "tpe", "bohb", "quasi_random"))],
)
def test_a_search_that_was_killed_comes_to_the_same(name, tmp_path):
    whole = searching(tmp_path / "whole", name)
    run(whole)
    killed = searching(tmp_path / "killed", name)
    looks = iter([False, False, False, True])
    with pytest.raises(Stopped):
        run(killed, stopping=lambda: next(looks))
    assert 0 < len(paid(killed)) < len(paid(whole))
    again = searching(tmp_path / "killed", name)
    run(again)
    assert told(again) == told(whole)


def test_a_trial_whose_worker_died_is_tried_again_and_counted_once(tmp_path):
    whole = searching(tmp_path / "whole", "random", budget=2)
    run(whole)
    search = searching(tmp_path / "killed", "random", budget=2)
    search.study.enqueue_trial(search.space.origin)
    search.study.ask(trials.distributions(search.space))  # and dies
    run(searching(tmp_path / "killed", "random", budget=2))
    states = [each.state for each in search.study.get_trials()]
    assert states.count(TrialState.FAIL) >= 1 and TrialState.RUNNING not in states
    assert told(search)[0] == told(whole)[0]
    assert spent(search) <= search.limit


@pytest.mark.slow
def test_two_workers_share_one_budget_and_one_is_killed(tmp_path):
    search = searching(tmp_path, "random", budget=30)
    command = [sys.executable, str(ROOT / "tests/tiny_subject.py"), str(tmp_path), "30"]
    victim, other = (subprocess.Popen(command, cwd=ROOT) for _ in range(2))
    while len(search.study.get_trials(deepcopy=False)) < 4:
        time.sleep(0.05)
        assert victim.poll() is None
    victim.send_signal(signal.SIGKILL)
    assert other.wait(300) == 0
    victim.wait()
    time.sleep(trials.GRACE + trials.BEAT)
    trials.recover(search.study)
    found = search.study.get_trials(deepcopy=False)
    assert spent(search) <= search.limit
    assert all("passes" not in each.user_attrs for each in found if each.state == TrialState.FAIL)
    numbers = [each.number for each in found]
    assert numbers == list(range(len(found))) and not any(each.state == TrialState.RUNNING for each in found)


def test_a_store_of_another_search_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    trials.opened(url, "one", {"subject": "D6"})
    with pytest.raises(InputError, match="holds a search of another subject: D6, this is D7"):
        trials.opened(url, "one", {"subject": "D7"})
    with pytest.raises(InputError, match="cannot be used"):
        trials.opened(f"sqlite:///{tmp_path}/no/such/folder/trials.db", "one", {})


def test_what_no_fresh_run_confirms_is_not_claimed(tmp_path):
    search = searching(tmp_path, "guided")
    values, better = search.space.origin, {**search.space.origin, "lr": 0.05}

    def entered(params, score):
        trial = optuna.trial.create_trial(
            params=params, distributions=trials.distributions(search.space), value=score,
            user_attrs={"score": score, "passes": 1, "status": "ended"},
        )  # fmt: skip
        search.study.add_trial(trial)

    entered(values, 0.5)
    entered(better, 0.9)
    assert chosen(search) == (FAULTY, "nothing better was confirmed")
    for score in (0.4, 0.5):
        entered(better, score)
    assert chosen(search)[0] == FAULTY  # 0.9 was luck
    entered(better, 0.9)
    assert chosen(search) == (search.space.program(better), "confirmed")


def test_a_program_that_cannot_be_built_costs_a_batch_and_is_the_worst(tmp_path):
    search = searching(tmp_path, "random", space="S0")
    search.study.enqueue_trial({**search.space.origin, "bi1": "orthogonal"})
    assert searches.attempt(search, searches.proposed(search), 0.0)
    (trial,) = paid(search)
    assert trial.user_attrs["status"] == "failed" and trial.value == 0.0
    assert 0 < trial.user_attrs["passes"] < price(FAULTY, DATA).passes


def test_a_look_that_shows_nothing_stops_a_trial_and_a_confirmation_goes_on(tmp_path):
    search = searching(tmp_path, "guided", budget=12)
    run(search)
    stopped = [each for each in paid(search) if each.state == TrialState.PRUNED]
    assert stopped and all(
        each.user_attrs["passes"] < search.cost(search.space.program(each.params)) for each in stopped
    )
    best, word = chosen(search)
    assert word == "confirmed" and best != FAULTY
    assert sum(search.space.program(each.params) == best for each in paid(search)) == 1 + search.technique.fresh


def test_other_seeds_are_other_searches(tmp_path):
    one, other = (searching(tmp_path / str(seed), "random", budget=2, seed=seed) for seed in (0, 1))
    run(one)
    run(other)
    assert told(one) != told(other)


def test_the_searcher_s_own_time_is_kept_beside_training_and_compiling(tmp_path):
    search = searching(tmp_path, "tpe", budget=2)
    run(search)
    for trial in paid(search):
        assert set(trial.user_attrs["seconds"]) == {"seconds", "compile_seconds", "thinking"}
        assert np.isfinite(list(trial.user_attrs["seconds"].values())).all()
