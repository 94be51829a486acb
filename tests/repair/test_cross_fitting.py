"""Acceptance by cross-fitting, where there are too few images for a guard of its own."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import vector_network

from archrepair_jax.repair import cross_fitting, guard
from archrepair_jax.repair.cross_fitting import cross_fitted, dealt
from archrepair_jax.repair.guard import accept
from archrepair_jax.repair.problem import Examples, Problem, Repair
from archrepair_jax.repair.settings import GuardSettings
from archrepair_jax.training.ledger import Cost, Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.view import CLEAN, View

SETTINGS = GuardSettings(fractions=(1.0, 0.5))
VIEWS = (CLEAN, View("gaussian_noise", 3))
COUNTS = {"train": 9, "validation": 2, "guard": 3}
FIRST = {"train": 0, "validation": 50, "guard": 100}  # by which a test knows an image: its only pixel


def examples(part: str, beside: int = 0, one: bool = False) -> Examples:
    """Right when clean, wrong when noisy, or noisy image 8 ``one`` alone; the images beside have the pixel 200."""
    count = COUNTS[part]
    numbers = np.concatenate([np.tile(FIRST[part] + np.arange(count), len(VIEWS)), np.full(beside, 200)])
    noisy = numbers[count : 2 * count] != 8 if one else np.zeros(count, int)
    right = np.concatenate([np.ones(count, int), noisy, np.ones(beside, int)])
    images = numbers.astype(np.uint8).reshape(-1, 1, 1, 1)
    return Examples(
        images, np.ones(len(numbers), np.int32), np.stack([1 - right, right], -1).astype("f4"), VIEWS, beside
    )


def numbers(examples: Examples, beside: bool = False) -> set[int]:
    return {int(each) for each in examples.images.ravel() if beside or each != 200}


@pytest.fixture
def run(monkeypatch):
    """Cross-fits a method that notes what it was shown, and spends all that it has; what it then does is told."""

    def run(does, budget=1_000, beside=4, one=False):
        parts = {part: examples(part, beside * (part == "train"), one) for part in COUNTS}
        problem = Problem(vector_network(), {"params": {}}, "layer2", parts.__getitem__, jax.random.key(0))
        shown = []

        def method(problem: Problem, loop: Loop) -> Repair:
            shown.append((numbers(problem.train), numbers(problem.guard), numbers(problem.validation), loop.ledger))
            assert numbers(problem.train, beside=True) - numbers(problem.train) == ({200} if beside else set())
            loop.ledger.charge("all", loop.ledger.left)
            return Repair((), {"params": {}}, {"params": {}}, {"shown": len(shown)})

        monkeypatch.setattr(cross_fitting, "guard_price", lambda *_: Cost(30))
        monkeypatch.setattr(guard, "predictions_right", lambda p, repair, fraction, loop: does(p.guard, fraction))
        loop = Loop(choose_devices(1), ledger=Ledger(budget))
        repair = cross_fitted(problem, SETTINGS, method, loop)
        return repair, shown, accept(problem, repair, SETTINGS, loop), loop.ledger

    return run


def everything_right(judged: Examples, fraction: float) -> np.ndarray:
    return np.ones_like(judged.correct)


def test_every_image_judges_a_repair_that_has_not_learned_from_it_and_the_last_one_learns_from_all(run):
    repair, (*folds, last), verdict, _ = run(everything_right)
    everyone = {*range(9), 100, 101, 102}
    assert [train | judged for train, judged, *_ in folds] == [everyone] * 4
    assert all(not train & judged for train, judged, *_ in folds)
    assert sorted(number for _, judged, *_ in folds for number in judged) == sorted(everyone)  # each once
    assert last[0] == everyone and {frozenset(chosen) for _, _, chosen, _ in (*folds, last)} == {frozenset({50, 51})}
    assert repair.trace == {"shown": 5}  # the last one is returned
    assert verdict.decision == "repaired" and verdict.evidence["folds"] == 4
    assert (verdict.evidence["images"], verdict.evidence["fixed"], verdict.evidence["broken"]) == (12, 12, 0)


def test_half_of_the_budget_is_the_folds_and_none_of_it_is_left_or_overdrawn(run):
    _, (*folds, last), _, ledger = run(everything_right)
    assert [each.limit.passes for *_, each in folds] == [3_000 // 8] * 4
    assert all(each.spent.passes == each.limit.passes - 30 for *_, each in folds)  # what judging costs is kept back
    assert ledger.spent.passes == 3_000


def test_what_breaks_clean_images_in_the_folds_goes_only_as_far_as_it_does_not(run):
    def clean_wrong(judged: Examples, fraction: float) -> np.ndarray:
        right = np.ones_like(judged.correct)
        right[0] = fraction < 1
        return right

    _, _, verdict, _ = run(clean_wrong)
    assert (verdict.decision, verdict.fraction) == ("interpolated", 0.5)
    assert [each["clean_after"] for each in verdict.evidence["candidates"]] == [0.0, 1.0]


def test_folds_without_a_failure_to_learn_from_count_as_unchanged(run):
    _, (*folds, _), verdict, _ = run(everything_right, one=True)
    assert len(folds) == 3 and all(8 in train for train, *_ in folds)
    assert verdict.decision == "unchanged"  # nobody judged the only failure


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 4))
def test_folds_hold_every_image_once_and_classes_evenly(labels, folds):
    labels, masks = np.array(labels), dealt(np.array(labels), folds)
    assert len(masks) == folds and (np.sum(masks, 0) == 1).all()
    for label in set(labels.tolist()):
        counts = [int((labels[mask] == label).sum()) for mask in masks]
        assert max(counts) - min(counts) <= 1
