"""Searches as a user meets them: equal budgets, what is counted, going on after a kill, and what is claimed."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from program import ROOT
from tiny_subject import DATA, FAULTY, searching

from archrepair_jax.errors import InputError
from archrepair_jax.programs import engine, trials
from archrepair_jax.programs.attempt import attempt
from archrepair_jax.programs.engine import proposed, run
from archrepair_jax.programs.search import chosen
from archrepair_jax.programs.techniques import TECHNIQUES
from archrepair_jax.programs.techniques.guided import STEADY, Hopeless
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


@pytest.mark.slow
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


@pytest.fixture
def postgresql():
    """The URL of a server of our own, in a folder that its user may write to."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: python -m pip install 'psycopg[binary]'")
    found = shutil.which("initdb") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))), None)
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = {"user": "postgres"} if os.getuid() == 0 else {}  # it refuses to run as root
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        own, quiet = {"cwd": folder, "check": True, **user}, {"stdout": subprocess.DEVNULL}
        bin_folder = os.path.dirname(os.path.realpath(found))
        subprocess.run([found, "-D", f"{folder}/data", "-A", "trust", "-U", "postgres"], **own, **quiet)
        control = [f"{bin_folder}/pg_ctl", "-D", f"{folder}/data", "-w"]
        subprocess.run(
            [*control, "-o", f"-k {folder} -c listen_addresses=''", "-l", f"{folder}/log", "start"], **own, **quiet
        )
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **own, **quiet)


def one_of_two_killed(folder, url=""):
    """Two workers on one search, of which one is killed in a trial; the search afterwards."""
    search = searching(folder, "random", budget=30, url=url)
    command = [sys.executable, str(ROOT / "tests/tiny_subject.py"), str(folder), "30", url]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    victim, other = (subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(2))
    try:
        while len(paid(search)) < 3:
            time.sleep(0.05)
            assert victim.poll() is None and other.poll() is None
        victim.send_signal(signal.SIGKILL)
        assert other.wait(300) == 0
    finally:
        for process in (victim, other):
            process.kill()
            process.wait()
    time.sleep(trials.GRACE + trials.BEAT)
    run(searching(folder, "random", budget=30, url=url, alone=False))
    return search


def is_whole(search):
    found = search.study.get_trials(deepcopy=False)
    assert 0 < spent(search) <= search.limit
    assert all("passes" not in each.user_attrs for each in found if each.state == TrialState.FAIL)
    assert [each.number for each in found] == list(range(len(found)))
    assert not any(each.params for each in found if each.state in (TrialState.RUNNING, TrialState.WAITING))
    tries = [tuple(sorted(each.params.items())) for each in paid(search)]
    assert len(set(tries)) == len(tries)  # random draws are never alike


@pytest.mark.slow
def test_a_trial_that_was_given_up_elsewhere_is_tried_again(tmp_path, monkeypatch):
    whole = searching(tmp_path / "whole", "random", budget=2)
    run(whole)
    search, lost = searching(tmp_path / "lost", "random", budget=2), []

    def given_up(search, trial, thinking):
        if not lost:
            lost.append(trial.number)
            search.study.tell(trial.number, state=TrialState.FAIL)
            trials.queue_again(search.study, search.study.trials[trial.number])
        return attempt(search, trial, thinking)

    monkeypatch.setattr(engine, "attempt", given_up)
    run(search)
    assert lost == [0] and told(search)[0] == told(whole)[0]  # the fault, tried again
    assert [each.params for each in paid(search)].count(search.space.origin) == 1
    assert all(each.state.is_finished() for each in search.study.get_trials(deepcopy=False))


@pytest.mark.slow
def test_two_workers_share_one_budget_and_one_is_killed(tmp_path):
    is_whole(one_of_two_killed(tmp_path))


@pytest.mark.slow
def test_the_same_with_postgresql(tmp_path, postgresql):
    is_whole(one_of_two_killed(tmp_path, postgresql))


def test_a_budget_that_does_not_pay_for_the_fault_is_refused_before_anything_runs(tmp_path):
    search = searching(tmp_path, "guided", budget=1)
    with pytest.raises(InputError, match="budget=1 does not pay for one training with all looks"):
        run(search)
    assert search.study.get_trials() == []


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
    trial = proposed(search)
    trials.fill(trial, search.space)
    assert attempt(search, trial, 0.0)
    (trial,) = paid(search)
    assert trial.user_attrs["status"] == "failed" and trial.value == 0.0
    assert 0 < trial.user_attrs["passes"] < price(FAULTY, DATA).passes


def test_what_wins_is_tried_again_on_fresh_seeds(tmp_path):
    search = searching(tmp_path, "guided", budget=12)
    run(search)
    best, word = chosen(search)
    assert word == "confirmed" and best != FAULTY
    runs = [each.user_attrs["score"] for each in paid(search) if search.space.program(each.params) == best]
    assert len(runs) == STEADY and set(runs) == {1.0}  # it is perfect, and so tried until that is sure


@pytest.mark.parametrize(
    ("lr", "score", "loss", "stopped"),
    [
        (0.1, 0.5, 1.0, True),  # no better than the fault, which stayed so
        (0.1, 0.4, 1.0, True),
        (0.1, 0.6, 1.0, False),
        (0.1, 0.5, 0.9, False),  # its loss has fallen further: accuracy may follow
        (0.2, 0.4, 1.0, False),  # the fault again, on a fresh seed
    ],
)
def test_a_trial_that_shows_nothing_is_stopped_at_its_look(lr, score, loss, stopped):
    def seen(last):
        return {"symptoms": {"243": {"first": 1.0, "last": last}}}

    study = optuna.create_study(direction="maximize", pruner=Hopeless())
    scale = {"lr": optuna.distributions.FloatDistribution(0.01, 1.0)}
    study.add_trial(
        optuna.trial.create_trial(
            params={"lr": 0.2}, distributions=scale, value=0.5, intermediate_values={243: 0.5}, user_attrs=seen(1.0)
        )
    )
    study.enqueue_trial({"lr": lr})
    trial = study.ask(scale)
    trial.set_user_attr("symptoms", seen(loss)["symptoms"])
    trial.report(score, 243)
    assert trial.should_prune() == stopped


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
