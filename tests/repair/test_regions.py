"""Repair over whole regions, with every activation: clean, faithful and, where there are bounds, proved."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from tiny_networks import planar_network

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.survey import survey
from archrepair_jax.models.families.mlp import ACTIVATIONS
from archrepair_jax.proof.bounds import certain_slack
from archrepair_jax.proof.branch_and_bound import COUNTEREXAMPLE, PROVED, prove
from archrepair_jax.regions.properties import make_property
from archrepair_jax.regions.sampling import CHUNK, draw_cells, make_regions
from archrepair_jax.repair import regions
from archrepair_jax.repair.imitation.cases import Original
from archrepair_jax.repair.imitation.retraining import ImitationRetrainingSettings, retrain
from archrepair_jax.repair.imitation.tuning import ImitationTuningSettings
from archrepair_jax.repair.regions import (
    DECISIONS,
    RegionProblem,
    RegionRepairSettings,
    SamplingSettings,
    examples,
    margins,
    nearby,
    repair_regions,
    suspicious,
    take,
)
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.swarm import SwarmSettings

BOX = np.array([0.0, -1.0]), np.array([1.0, 1.0])
SETTINGS = RegionRepairSettings(
    fidelity_region=0.95,
    fidelity_domain=0.9,
    certain_steps=200,
    certain_learning_rate=3e-3,
    sampling=SamplingSettings(scan=20_000, starts=200, negatives=500, positives=2_000, outside=2_000),
    retraining=ImitationRetrainingSettings(
        neighbours=10,
        imitate=1.0,
        hold=1.0,
        outside=1.0,
        preferences=1.0,
        margin=0.2,
        margin_weight=1.0,
        steps=200,
        learning_rate=3e-3,
        batch_size=256,
    ),
    tuning=ImitationTuningSettings(neurons=8, fidelity=0.0, swarm=SwarmSettings(iterations=30)),
)
LOOP = Loop(tuple(jax.devices()[:1]), steps_per_call=100)


def make_problem(activation: str = "relu", share: float = 0.05, below: float = 0.0) -> RegionProblem:
    """The first output is to stay above a level that it misses on a small share of the box."""
    network, variables = planar_network(activation=activation, stretch=2.0)
    inside = np.random.default_rng(0).uniform(*BOX, (4_000, 2)).astype(np.float32)
    level = float(np.quantile(network.apply(variables, inside)[:, 0], share)) - below
    prop = make_property([(BOX, [(np.array([[1.0, 0.0]]), np.array([level]))])])
    domain = make_regions(np.array([[-1.0, -1.0]]), np.array([[1.0, 1.0]]))
    regions = make_regions(prop.lower, prop.upper)
    return RegionProblem(Original(network, variables, DECISIONS["smallest"]), prop, regions, domain)


def searched(problem: RegionProblem) -> RegionProblem:
    """With its violations, and with inputs that are none."""
    negatives, positives = examples(problem, SETTINGS.sampling, jax.random.key(2))
    return dataclasses.replace(problem, negatives=negatives, positives=positives)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_region_is_repaired_whatever_the_activation(activation):
    problem = searched(make_problem(activation))
    repair = repair_regions(problem, SETTINGS, "retraining", jax.random.key(3), LOOP)
    assert repair.clean
    networks = problem.original.network, problem.original.network
    variables = problem.original.variables, repair.variables
    tally = survey(
        networks, variables, problem.original.specification, problem.prop, problem.regions, jax.random.key(9), chunks=20
    )
    assert int(tally.samples) == 20 * CHUNK and int(tally.wrong_before) > 0.03 * 20 * CHUNK
    assert int(tally.wrong_after) == int(tally.broken) == 0 < float(tally.least)
    assert tally.fidelity_right > 0.9
    if activation == "gelu":
        with pytest.raises(InputError, match="no proof for the activation gelu"):
            prove(problem.original.network, repair.variables, problem.prop)
    else:
        assert prove(problem.original.network, repair.variables, problem.prop).status == PROVED
        assert prove(problem.original.network, problem.original.variables, problem.prop).status == COUNTEREXAMPLE


@pytest.mark.slow
def test_what_is_to_be_certain_is_proved_in_fewer_boxes():
    problem = searched(make_problem())
    repair = repair_regions(problem, SETTINGS, "retraining", jax.random.key(3), LOOP)
    start = repair.edits, repair.variables
    learn = dataclasses.replace(SETTINGS.retraining, certainty=100.0)  # so easy a property wants a strong nudge
    settings = dataclasses.replace(SETTINGS, rounds=2, retraining=learn)
    again = repair_regions(
        dataclasses.replace(problem, start=start, certain=1.0), settings, "retraining", jax.random.key(4), LOOP
    )
    assert [entry["certain"] for entry in repair.trace["rounds"] + again.trace["rounds"]] == [0.0] * len(
        repair.trace["rounds"]
    ) + [1.0]
    cells = draw_cells(problem.regions, jax.random.key(5), 500)
    before, after = (
        certain_slack(problem.original.network, variables, problem.prop, cells)
        for variables in (repair.variables, again.variables)
    )
    assert (after > 0).sum() > (before > 0).sum()
    verdicts = [prove(problem.original.network, each.variables, problem.prop) for each in (repair, again)]
    assert verdicts[1].status == PROVED and verdicts[1].looked_at < verdicts[0].looked_at


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "weights"), [("relu", [0.0, 1.0]), ("gelu", [0.0, 0.0])])
def test_violations_that_a_round_leaves_bring_bounds_into_the_loss(activation, weights):
    """Unless the network has none."""
    problem = searched(make_problem(activation))
    hardly = dataclasses.replace(
        SETTINGS, rounds=2, certain_steps=1, retraining=dataclasses.replace(SETTINGS.retraining, steps=1)
    )
    repair = repair_regions(problem, hardly, "retraining", jax.random.key(3), LOOP)
    assert not repair.clean and repair.trace["rounds"][0]["violations_found"] > 0
    assert [entry["certain"] for entry in repair.trace["rounds"]] == weights


def test_examples_are_sorted_by_the_original():
    problem = make_problem()
    negatives, positives = examples(problem, SETTINGS.sampling, jax.random.key(2))
    assert (margins(problem, problem.original.network, problem.original.variables, negatives) <= 0).all()
    assert (margins(problem, problem.original.network, problem.original.variables, positives) > 0).all()
    assert len(negatives.tags) + len(positives.tags) == 2_000 + 2 * 200


def test_where_all_is_wrong_there_is_nothing_to_imitate():
    with pytest.raises(InputError, match="no positive example satisfies the property"):
        examples(make_problem(share=1.0, below=-0.1), SETTINGS.sampling, jax.random.key(2))


def test_a_search_looks_where_violations_are():
    problem = make_problem(share=0.0005)
    found = suspicious(
        problem, problem.original.network, problem.original.variables, SETTINGS.sampling, jax.random.key(4)
    )
    wrong = margins(problem, problem.original.network, problem.original.variables, found) <= 0
    assert wrong.mean() > 0.1
    around = nearby(
        problem,
        problem.original.network,
        problem.original.variables,
        take(found, np.flatnonzero(wrong)[:1]),
        SETTINGS.sampling,
        jax.random.key(5),
    )
    assert (margins(problem, problem.original.network, problem.original.variables, around) <= 0).mean() > 0.5
    assert np.ptp(around.inputs, axis=0).max() < 0.5


@pytest.mark.slow
def test_tuning_repairs_too_and_concentration_decides():
    problem = searched(make_problem())

    def styles(style, **changes) -> list[str]:
        settings = dataclasses.replace(SETTINGS, rounds=2, **changes)
        repair = repair_regions(problem, settings, style, jax.random.key(3), LOOP)
        left = (margins(problem, problem.original.network, repair.variables, problem.negatives) <= 0).mean()
        assert left < 0.9
        return [entry["style"] for entry in repair.trace["rounds"]]

    assert set(styles("tuning")) == {"tuning"}
    assert styles("combined", concentration=0.0)[0] == "tuning"
    assert styles("combined", concentration=1.0)[0] == "retraining"


def test_too_little_fidelity_is_insisted_on_and_the_other_kind_does_not_pay():
    problem = searched(make_problem())
    strict = dataclasses.replace(SETTINGS, rounds=2, fidelity_region=1.0, fidelity_domain=0.0)
    rounds = repair_regions(problem, strict, "retraining", jax.random.key(3), LOOP).trace["rounds"]
    assert [entry["emphasis"] for entry in rounds] == [(1.0, 1.0), (4.0, 2.0)]


@pytest.mark.slow
def test_a_clean_round_is_not_lost_to_a_later_one_that_is_not(monkeypatch):
    problem, rounds = searched(make_problem()), itertools.count(1)

    def worse(*arguments):
        return retrain(*arguments) if next(rounds) < 3 else problem.original.variables

    monkeypatch.setattr(regions, "retrain", worse)
    strict = dataclasses.replace(SETTINGS, rounds=3, fidelity_region=1.0)
    repair = repair_regions(problem, strict, "retraining", jax.random.key(3), LOOP)
    assert repair.trace["rounds"][1]["violations_found"] == 0 < repair.trace["rounds"][2]["violations_found"]
    assert repair.clean and not repair.faithful
    assert (margins(problem, problem.original.network, repair.variables, problem.negatives) > 0).all()
