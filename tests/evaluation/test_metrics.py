import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from archrepair_jax.evaluation.metrics import accuracy, break_rate, paired_difference, repair_rate

RATES = (repair_rate, break_rate)


@st.composite
def two_arms(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12)))
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


def right(views, images, count):
    """``count`` images right in all views, the others in none."""
    return np.broadcast_to(np.arange(images) < count, (views, images)).copy()


def test_rates_count_what_was_fixed_and_what_was_broken():
    before = np.array([[True, True, False, False], [True, False, False, False]])
    after = np.array([[True, False, True, False], [True, False, False, False]])
    assert (repair_rate(before, after).value, repair_rate(before, after).count) == (1 / 5, 5)
    assert (break_rate(before, after).value, break_rate(before, after).count) == (1 / 3, 3)


@given(two_arms())
def test_rates_lie_inside_their_intervals_inside_zero_and_one(arms):
    for rate in [metric(*arms, replicates=50) for metric in RATES] + [accuracy(arms[0], replicates=50)]:
        if rate.count == 0:
            assert rate.value is rate.low is rate.high is rate.interval is None
        else:
            assert 0 <= rate.low <= rate.value <= rate.high <= 1


@given(two_arms(), st.randoms())
def test_the_order_of_the_images_does_not_matter(arms, random):
    order = random.sample(range(arms[0].shape[1]), arms[0].shape[1])
    shuffled = [arm[:, order] for arm in arms]
    for metric in (*RATES, paired_difference):
        assert metric(*arms, replicates=50) == metric(*shuffled, replicates=50)


@given(two_arms())
def test_an_arm_that_changes_nothing_repairs_and_breaks_nothing(arms):
    before, _ = arms
    assert repair_rate(before, before, replicates=50).value in (0, None)
    assert break_rate(before, before, replicates=50).value in (0, None)
    difference = paired_difference(before, before, replicates=50)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


@given(two_arms())
def test_the_difference_of_two_arms_changes_sign_with_their_order(arms):
    forth, back = paired_difference(*arms, replicates=50), paired_difference(*arms[::-1], replicates=50)
    assert forth.value == pytest.approx(-back.value)
    assert forth.value == pytest.approx(arms[0].mean() - arms[1].mean())
    assert -1 <= forth.low <= forth.value <= forth.high <= 1


@pytest.mark.parametrize("metric", [repair_rate, break_rate])
def test_there_is_no_rate_of_nothing(metric):
    before = np.full((2, 5), metric is repair_rate)
    rate = metric(before, ~before)
    assert rate.as_json() == {"value": None, "low": None, "high": None, "count": 0}


def test_no_images_have_no_accuracy_and_no_difference():
    nothing = np.zeros((1, 0), bool)
    assert accuracy(nothing).value is None
    assert paired_difference(nothing, nothing).value is None


def test_copies_of_an_image_add_no_certainty():
    one = np.random.default_rng(0).random((1, 100)) < 0.5
    before, many = np.zeros_like(one), np.repeat(one, 15, axis=0)
    single, copied = repair_rate(before, one), repair_rate(np.repeat(before, 15, axis=0), many)
    assert copied.count == 15 * single.count
    assert copied.interval == pytest.approx(single.interval)


def test_nothing_broken_among_few_images_does_not_prove_that_nothing_breaks():
    before = np.ones((3, 20), bool)
    few, more = break_rate(before, before), break_rate(np.ones((3, 2000), bool), np.ones((3, 2000), bool))
    assert few.low == 0
    assert few.high == pytest.approx(0.161, abs=1e-3)  # Wilson, 0 of 20
    assert more.high < few.high / 50


def test_wilson_interval_of_one_view():
    rate = accuracy(right(1, 1000, 900))
    assert (rate.value, rate.count) == (0.9, 1000)
    assert rate.interval == pytest.approx([0.8799, 0.9171], abs=1e-4)


def test_bootstrap_agrees_with_theory_where_images_are_independent():
    before, after = np.zeros((1, 4000), bool), right(1, 4000, 1200)
    rate = repair_rate(before, after)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 4000)
    assert rate.interval == pytest.approx([0.3 - half, 0.3 + half], abs=0.1 * half)


def test_the_95_percent_interval_covers_the_truth_about_95_times_in_100():
    rng, covered = np.random.default_rng(3), 0
    for trial in range(300):
        hard = rng.random(150)  # the views of one image fail together
        before, after = (rng.random((5, 150)) < hard for _ in range(2))
        truth = (1 / 2 - 1 / 3) / (1 / 2)  # E[(1 - p) p] / E[1 - p] for p uniform
        rate = repair_rate(before, after, seed=trial, replicates=400)
        covered += rate.low <= truth <= rate.high
    assert 0.9 <= covered / 300 <= 0.985


def test_pairing_sees_a_difference_that_unpaired_intervals_hide():
    first, second = right(1, 2000, 1000), right(1, 2000, 980)
    assert paired_difference(first, second).low > 0
    assert accuracy(first).low < accuracy(second).high


def test_one_seed_gives_one_interval():
    rng = np.random.default_rng(1)
    before, after = rng.random((3, 200)) < 0.5, rng.random((3, 200)) < 0.6
    assert repair_rate(before, after, seed=4) == repair_rate(before, after, seed=4)
    assert repair_rate(before, after, seed=4) != repair_rate(before, after, seed=5)


def test_rates_go_into_json():
    rate = repair_rate(right(2, 10, 4), right(2, 10, 6))
    assert json.loads(json.dumps(rate.as_json())) == rate.as_json()
    assert rate.interval == [rate.low, rate.high]


@pytest.mark.parametrize("after", [np.zeros((2, 3), bool), np.zeros((1, 4), int), np.zeros(4, bool)])
def test_arms_of_different_form_are_refused(after, unchecked):
    with pytest.raises(AssertionError):
        repair_rate(np.zeros((1, 4), bool), after)
