"""The guard: how far a repair is taken."""

import dataclasses

import numpy as np
import pytest

from archrepair_jax.repair import guard
from archrepair_jax.repair.guard import at_fraction, guarded
from archrepair_jax.repair.problem import Examples, Problem, Repair
from archrepair_jax.repair.settings import GuardSettings
from archrepair_jax.views.view import CLEAN, View

IMAGES = 10
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
        monkeypatch.setattr(
            guard, "logits", lambda network, variables, *_: scores(outcomes[float(variables["params"])])
        )
        views = (CLEAN, View("gaussian_noise", 3))
        examples = Examples(np.zeros((20, 1)), np.ones(20, np.int32), scores(before()), views)
        problem = Problem("original", {"params": np.float32(-1)}, "block", None, None, examples, None)
        start = {"params": np.float32(0)} if way_back else None
        repair = Repair("repaired", {"params": np.float32(1)}, start, 64, {"genotype": {"nodes": 2}, "more": 1})
        return guarded(problem, repair, settings, ())

    return run


def test_a_repair_that_fixes_more_than_it_breaks_is_taken_whole(judged):
    whole = after(noisy_fixed=5, noisy_broken=1)
    repair, verdict = judged({1.0: whole, 0.75: after(noisy_fixed=3), 0.5: after(noisy_fixed=2), 0.25: before()})
    assert (repair.network, repair.variables["params"], repair.sample_gradients) == ("repaired", 1, 64)
    assert repair.details == {"genotype": {"nodes": 2}, "more": 1}
    assert verdict["candidates"][0] == {"fraction": 1.0, "fixed": 5, "broken": 1, "clean_after": 1.0}
    told = {name: verdict[name] for name in ("decision", "fraction", "fixed", "broken", "clean_before", "clean_after")}
    assert told == dict(decision="repaired", fraction=1.0, fixed=5, broken=1, clean_before=1.0, clean_after=1.0)
    assert [trial["fraction"] for trial in verdict["candidates"]] == [1.0, 0.75, 0.5, 0.25]


def test_a_part_of_the_way_is_taken_where_it_is_better(judged):
    repair, verdict = judged(
        {
            1.0: after(noisy_fixed=5, noisy_broken=3),
            0.75: before(),
            0.5: after(noisy_fixed=4),
            0.25: after(noisy_fixed=1),
        }
    )
    assert (verdict["decision"], verdict["fraction"], repair.variables["params"]) == ("interpolated", 0.5, 0.5)
    assert repair.network == "repaired"


def test_of_equally_good_parts_the_longest_is_taken(judged):
    _, verdict = judged({f: after(noisy_fixed=2) for f in SETTINGS.fractions})
    assert verdict["fraction"] == 1.0


def test_a_repair_that_breaks_as_much_as_it_fixes_leaves_the_original_untouched(judged):
    repair, verdict = judged({f: after(noisy_fixed=2, noisy_broken=2) for f in SETTINGS.fractions})
    assert (repair.network, repair.variables["params"], repair.sample_gradients) == ("original", -1, 64)
    assert repair.details == {"rejected_genotype": {"nodes": 2}, "more": 1}
    told = {name: verdict[name] for name in ("decision", "fraction", "fixed", "broken", "clean_before", "clean_after")}
    assert told == dict(decision="unchanged", fraction=0.0, fixed=0, broken=0, clean_before=1.0, clean_after=1.0)


@pytest.mark.parametrize(("drop", "decision"), [(0.1, "unchanged"), (0.2, "repaired"), (1.0, "repaired")])
def test_clean_accuracy_may_drop_by_so_much_and_no_more(judged, drop, decision):
    costly = {f: after(clean_broken=2, noisy_fixed=6) for f in SETTINGS.fractions}
    assert judged(costly, settings=dataclasses.replace(SETTINGS, clean_drop=drop))[1]["decision"] == decision


def test_without_a_way_back_it_is_all_or_nothing(judged):
    _, verdict = judged({1.0: after(noisy_fixed=3)}, way_back=False)
    assert (verdict["decision"], len(verdict["candidates"])) == ("repaired", 1)
    repair, verdict = judged({1.0: after(noisy_broken=3)}, way_back=False)
    assert (verdict["decision"], repair.network) == ("unchanged", "original")


def test_the_line_from_the_original_to_the_repair():
    start, end = {"params": {"w": np.array([0.0, 2.0])}}, {"params": {"w": np.array([1.0, 0.0])}}
    repair = Repair(None, end, start, 0)
    assert at_fraction(repair, 1.0) is end
    np.testing.assert_allclose(at_fraction(repair, 0.25)["params"]["w"], [0.25, 1.5])
    np.testing.assert_array_equal(at_fraction(repair, 0.0)["params"]["w"], [0.0, 2.0])
