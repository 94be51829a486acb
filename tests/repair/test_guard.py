"""The guard: how far a repair is taken."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_networks import vector_network

from archrepair_jax.repair import guard
from archrepair_jax.repair.edits import Scaled
from archrepair_jax.repair.guard import accept
from archrepair_jax.repair.problem import Examples, Problem, Repair
from archrepair_jax.repair.settings import GuardSettings
from archrepair_jax.repair.verdict import at_fraction, taken
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.view import CLEAN, View

IMAGES = 10
EDITS = (Scaled("layer2"),)
SETTINGS = GuardSettings(fractions=(1.0, 0.75, 0.5, 0.25), clean_drop=0.1)


def scores(right: np.ndarray) -> np.ndarray:
    """Logits that are right (class 1) where told."""
    return np.stack([~right.reshape(-1), right.reshape(-1)], -1).astype(np.float32)


def before() -> np.ndarray:
    """All ten clean images right, four of the ten noisy ones."""
    return np.stack([np.ones(IMAGES, bool), np.arange(IMAGES) < 4])


def after(clean_broken: int = 0, noisy_broken: int = 0, noisy_fixed: int = 0) -> np.ndarray:
    right = before()
    right[0, :clean_broken] = False
    right[1, :noisy_broken] = False
    right[1, 4 : 4 + noisy_fixed] = True
    return right


@pytest.fixture
def judged(monkeypatch):
    """Runs the guard on a repair that does at each fraction what it is told."""

    def run(outcomes: dict[float, np.ndarray], *, way_back: bool = True, settings: GuardSettings = SETTINGS):
        told = lambda problem, repair, fraction, loop: outcomes[fraction]  # noqa: E731
        monkeypatch.setattr(guard, "predictions_right", told)
        views = (CLEAN, View("gaussian_noise", 3))
        examples = Examples(np.zeros((20, 1, 1, 1), np.uint8), np.ones(20, np.int32), scores(before()), views)
        at = lambda place: {"params": {"w": np.float32(place)}}  # noqa: E731
        problem = Problem(vector_network(), at(-1), "layer2", lambda part: examples, jax.random.key(0))
        repair = Repair(EDITS, at(1), at(0) if way_back else None)
        verdict = accept(problem, repair, settings, Loop(choose_devices(1)))
        edits, variables = taken(problem.variables, repair, verdict)
        return verdict, edits, variables["params"]["w"]

    return run


def test_a_repair_that_fixes_more_than_it_breaks_is_taken_whole(judged):
    whole = after(noisy_fixed=5, noisy_broken=1)
    outcomes = {1.0: whole, 0.75: after(noisy_fixed=3), 0.5: after(noisy_fixed=2), 0.25: before()}
    verdict, edits, params = judged(outcomes)
    assert (verdict.decision, verdict.fraction, edits, params) == ("repaired", 1.0, EDITS, 1)
    *trials, clean_before = (verdict.evidence[name] for name in ("candidates", "clean_before"))
    assert trials[0][0] == {"fraction": 1.0, "fixed": 5, "broken": 1, "clean_after": 1.0}
    assert clean_before == 1.0 and [trial["fraction"] for trial in trials[0]] == [1.0, 0.75, 0.5, 0.25]
    assert verdict.counterexamples is None


def test_a_part_of_the_way_is_taken_where_it_is_better(judged):
    verdict, edits, params = judged(
        {
            1.0: after(noisy_fixed=5, noisy_broken=3),
            0.75: before(),
            0.5: after(noisy_fixed=4),
            0.25: after(noisy_fixed=1),
        }
    )
    assert (verdict.decision, verdict.fraction, edits, params) == ("interpolated", 0.5, EDITS, 0.5)


def test_of_equally_good_parts_the_longest_is_taken(judged):
    verdict, *_ = judged({f: after(noisy_fixed=2) for f in SETTINGS.fractions})
    assert verdict.fraction == 1.0


def test_a_repair_that_breaks_as_much_as_it_fixes_leaves_the_original_untouched(judged):
    verdict, edits, params = judged({f: after(noisy_fixed=2, noisy_broken=2) for f in SETTINGS.fractions})
    assert (verdict.decision, verdict.fraction, edits, params) == ("unchanged", 0.0, (), -1)
    assert (verdict.evidence["fixed"], verdict.evidence["broken"], verdict.evidence["clean_after"]) == (0, 0, 1.0)


@pytest.mark.parametrize(("drop", "decision"), [(0.1, "unchanged"), (0.2, "repaired"), (1.0, "repaired")])
def test_clean_accuracy_may_drop_by_so_much_and_no_more(judged, drop, decision):
    costly = {f: after(clean_broken=2, noisy_fixed=6) for f in SETTINGS.fractions}
    assert judged(costly, settings=dataclasses.replace(SETTINGS, clean_drop=drop))[0].decision == decision


def test_without_a_way_back_it_is_all_or_nothing(judged):
    verdict, *_ = judged({1.0: after(noisy_fixed=3)}, way_back=False)
    assert (verdict.decision, len(verdict.evidence["candidates"])) == ("repaired", 1)
    verdict, edits, _ = judged({1.0: after(noisy_broken=3)}, way_back=False)
    assert (verdict.decision, edits) == ("unchanged", ())


def test_the_line_from_the_original_to_the_repair():
    start, end = {"params": {"w": np.array([0.0, 2.0])}}, {"params": {"w": np.array([1.0, 0.0])}}
    repair = Repair((), end, start)
    assert at_fraction(repair, 1.0) is end
    np.testing.assert_allclose(at_fraction(repair, 0.25)["params"]["w"], [0.25, 1.5])
    np.testing.assert_array_equal(at_fraction(repair, 0.0)["params"]["w"], [0.0, 2.0])
