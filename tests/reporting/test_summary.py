"""One sentence on what a caller holds: counts, the change, the other arms, and on what it rests."""

import copy

import pytest

from archrepair_jax.reporting.markdown import render
from archrepair_jax.reporting.report import assemble
from archrepair_jax.reporting.summary import sentence, summary

GUARD = {"images": 500, "clean_drop": 0.02, "failing": 240, "passing": 760}


@pytest.fixture
def named(record):
    for arm in record["arms"][1:]:
        arm["verdict"] |= GUARD
    return {arm["name"]: arm for arm in record["arms"]}


def test_counts_are_of_test_examples_where_there_are_some(record, named):
    told = summary(assemble(record))
    assert told.startswith("203 of 812 failures fixed, 84 of 4,188 broken, by a new branch of block5 (search, ")
    assert "; fine tune network would have fixed 162 and broken 209" in told
    named["search"]["edits"] = [
        {"kind": "inserted", "before": "stem", "genotype": {"form": "filters", "operations": ["median"], "hidden": 0}}
    ]
    assert "broken, by a block of 1,000 parameters in front of stem (search); fine tune" in summary(assemble(record))
    assert told.endswith("(on 1,000 test images, which had no part in the choice).") and "\n" not in told


def test_without_a_test_they_are_the_guards_and_that_is_said(record, named):
    for arm in record["arms"]:
        arm["measures"] = None
    named["fine_tune_block"]["verdict"] |= {"decision": "unchanged", "fraction": 0.0}
    told = summary(assemble(record))
    assert told.startswith("111 of 240 failures fixed, 22 of 760 broken, by ")
    assert "; fine tune block was refused by the guard" in told and "by which the arm was chosen too" in told


def test_a_control_that_the_guard_likes_best_is_what_one_holds(record, named):
    named["fine_tune_network"]["verdict"] |= {"decision": "interpolated", "fraction": 0.5, "fixed": 180}
    told = summary(assemble(record))
    assert "broken, by fine tune network in part; search would have fixed 203" in told


def test_nothing_accepted_and_too_small_a_guard(record, named):
    for arm in record["arms"][1:]:
        arm["verdict"] |= {"decision": "unchanged", "fraction": 0.0, "images": 12}
    told = summary(assemble(record))
    assert told.startswith("Nothing was accepted, the original stays; search was refused by the guard; ")
    assert told.endswith("The guard has 12 images, too few to tell whether over 2 % of clean accuracy are lost: "
                         "give 300 validation images.")  # fmt: skip


def test_of_many_arms_the_three_that_did_most_are_named(record, named):
    named["fine_tune_block"]["verdict"] |= {"decision": "unchanged", "fraction": 0.0}
    weaker = copy.deepcopy(named["random_architecture"]) | {"name": "scaling"}
    weaker["measures"]["outcome"] |= {"repair_rate": 0.1}
    record["arms"].append(weaker)
    told = summary(assemble(record))
    assert "; scaling would have fixed 81 and broken 209; 1 more arm did less (on" in told
    assert "fine tune block" not in told


def test_a_run_without_arms_has_its_outcome_alone(record):
    report = assemble(record | {"status": "evaluated", "arms": record["arms"][:1], "gallery": None})
    assert summary(report) == sentence(report) == report["outcome_line"]
    assert render(report).count(report["outcome_line"]) == 1


def test_a_small_guard_is_spoken_of_once_in_a_report(record, named):
    for arm in record["arms"][1:]:
        arm["verdict"] |= {"images": 12}
    assert render(assemble(record)).count("too few to tell") == 1
