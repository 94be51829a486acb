"""The race of methods within one budget, on one small problem."""

import dataclasses
import json

import jax
import jsonschema
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.line.settings import Settings
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.auto import AutoSettings
from archrepair_jax.repair.cross_fitting import cross_fitted
from archrepair_jax.repair.fine_tuning import NetworkTuningSettings
from archrepair_jax.repair.method import Plan, Team
from archrepair_jax.repair.settings import GuardSettings, RepairSettings
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import Cost, Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices

ONE, AUTO = choose_devices(1), METHODS["auto"]
SETTINGS = RepairSettings(
    budget=1600, tuning=TuningSettings(batch_size=8, learning_rate=0.01), guard=GuardSettings(clean_drop=1.0)
)


def team(*names: str, **own) -> Team:
    settings = {name: METHODS[name].settings() for name in names} | own
    return Team(AutoSettings(tuple(settings), fractions=(1.0,)), settings)


def raced(problem, own: Team, multiply_adds: int = 0, budget: int = SETTINGS.budget):
    done, ledger = {}, Ledger(budget, multiply_adds)
    loop = Loop(ONE, lambda name, step, *_: done.update({name: step}), ledger=ledger)
    return AUTO.run(problem, SETTINGS, own, jax.random.key(0), loop), done, ledger


@pytest.fixture(scope="module")
def result(problem):
    """Labels are made up, so examples are validated on that were learned; at a rate of nothing, nothing is."""
    known, idle = problem.train, NetworkTuningSettings(learning_rate=1e-12)
    problem = dataclasses.replace(problem, examples=lambda part: known)
    return raced(problem, team("fine_tune_block", "batch_statistics", "fine_tune_last", fine_tune_network=idle))


@pytest.mark.slow
def test_the_best_on_validation_examples_wins_within_the_budget(problem, result):
    repair, done, ledger = result
    trace = json.loads(json.dumps(repair.trace))
    assert trace["racers"] == ["fine_tune_block", "fine_tune_last", "fine_tune_network"]  # there are no statistics
    first = {each["method"]: float(each["told"]) for each in trace["race"][0]}
    assert first["fine_tune_network"] == 0 < max(first.values()) == first[trace["won"]]
    assert ledger.limit.passes - 3 * SETTINGS.tuning.batch_size < ledger.spent.passes <= ledger.limit.passes
    assert done["tuning"] > 2 * max(steps for name, steps in done.items() if name != "tuning")


@pytest.mark.slow
def test_it_returns_what_the_winner_makes_of_what_is_left(problem, result):
    repair, done, ledger = result
    changed = {
        name
        for name, own in repair.variables["params"].items()
        if not all(jax.tree.leaves(jax.tree.map(np.array_equal, own, problem.variables["params"][name])))
    }
    assert changed == {problem.block if repair.trace["won"] == "fine_tune_block" else problem.network.names[-1]}


@pytest.mark.slow
def test_what_it_tells(result):
    trace = json.loads(json.dumps(result[0].trace))
    jsonschema.validate(trace, {"properties": AUTO.trace, "additionalProperties": False})
    first, second, *_ = AUTO.story(trace)
    assert first.endswith(f"the race chose {trace['won']}") and second.startswith("round 1, examples repaired less")


@pytest.mark.slow
def test_a_racer_that_its_part_cannot_pay_for_loses(problem):
    own = team("conditional_search", "fine_tune_block")
    repair, _, _ = raced(problem, own, budget=600)
    assert repair.trace["won"] == "fine_tune_block"
    assert "sample-gradients" in repair.trace["race"][0][0]["told"]


@pytest.mark.slow
def test_multiply_adds_limit_it_too(problem, result):
    most = round(0.5 * result[2].spent.multiply_adds)
    _, _, ledger = raced(problem, team("fine_tune_block", "fine_tune_last"), most)
    assert 0.8 * most < ledger.spent.multiply_adds <= most


@pytest.mark.slow
def test_the_least_that_it_says_lets_one_take_part(problem):
    views = {part: len(problem.examples(part).labels) for part in ("train", "validation", "guard")}
    own = team("fine_tune_block", "fine_tune_last")
    least = AUTO.least(Plan(SETTINGS, own, problem.network, "layer2", ONE, views))
    repair, _, _ = raced(problem, own, budget=Cost(least).sample_gradients + 10)
    assert any(each["told"].strip("+-").isdecimal() for each in repair.trace["race"][0])


def test_none_that_fits_is_refused(problem):
    plan = Plan(SETTINGS, team("batch_statistics"), problem.network, "layer2", ONE, {})
    with pytest.raises(InputError, match="none of batch_statistics fits here"):
        AUTO.check(plan)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"methods": ()}, "methods is empty"),
        ({"methods": ("conditional", "conditional")}, "twice"),
        ({"share": 1.0}, "share=1.0 is out of range"),
        ({"fractions": ()}, "fractions is empty"),
    ],
)
def test_settings_that_make_no_race(own, words):
    with pytest.raises(InputError, match=words):
        AutoSettings(**own)


@pytest.mark.parametrize("name", ["auto", "combined", "conditoinal"])
def test_who_cannot_race(name):
    auto = dataclasses.replace(Settings().methods["auto"], methods=(name,))
    with pytest.raises(InputError, match=f"methods.auto.methods cannot hold '{name}'"):
        Settings(methods={"auto": auto})


@pytest.mark.slow
def test_where_repairs_are_cross_fitted_one_race_speaks_for_all_folds(problem):
    own, ledger, names = team("fine_tune_block", "fine_tune_last"), Ledger(6_400), []
    loop = Loop(ONE, lambda name, *_: names.append(name), ledger=ledger)
    run = AUTO.settled(problem, SETTINGS, own, jax.random.key(0), loop)
    assert {name.split(":")[0] for name in names} == {"fine_tune_block0", "fine_tune_last0"}
    names.clear()
    repair = cross_fitted(problem, SETTINGS.guard, run, loop)
    assert set(names) == {"tuning", *(f"fold {number}: tuning" for number in range(1, 5))}
    assert repair.seen["folds"] == 4 and repair.trace["won"] in own.others
    assert ledger.spent.passes <= ledger.limit.passes
