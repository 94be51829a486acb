"""Carving: disjoint, exhaustive, stratified, and a function of the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archrepair_jax.data.sources import DataSettings, load
from archrepair_jax.data.splits import carve

seeds = st.integers(-(2**63), 2**64)


@st.composite
def labels_and_size(draw):
    labels = np.array(draw(st.lists(st.integers(0, 6), max_size=120)), np.int32)
    return labels, draw(st.integers(0, len(labels)))


@given(labels_and_size(), seeds)
def test_carving_divides_every_class_in_proportion(case, seed):
    labels, size = case
    taken, rest = carve(labels, size, seed, "test")
    assert len(taken) == size
    np.testing.assert_array_equal(np.sort(np.concatenate([taken, rest])), np.arange(len(labels)))
    for label in np.unique(labels):
        share = size * np.mean(labels == label)
        assert abs(np.sum(labels[taken] == label) - share) < 1


@given(labels_and_size(), seeds)
def test_carving_is_a_function_of_its_arguments(case, seed):
    labels, size = case
    np.random.seed(size)  # the global state has no say
    first = carve(labels, size, seed, "test")
    np.random.random()
    for one, other in zip(first, carve(labels.astype(np.int64), size, seed, "test"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_seed_and_name_both_choose_other_rows():
    labels = np.arange(1000) % 10
    draws = [tuple(carve(labels, 100, seed, name)[0]) for seed in (0, 1, -1) for name in ("test", "validation")]
    assert len(set(draws)) == 6


def test_rows_of_a_seed_stay_the_same_between_releases():
    taken, _ = carve(np.arange(40) % 4, 8, seed=7, name="test")
    assert taken.tolist() == [3, 9, 14, 16, 23, 36, 37, 38]


def test_every_row_has_its_chance():
    labels = np.array([0] * 6 + [1] * 3)
    drawn = np.concatenate([carve(labels, 2, seed, "test")[0] for seed in range(300)])
    counts = np.bincount(drawn, minlength=9)
    # A share of 4/3 and of 2/3: one row of class 0, and the second from the class with the larger remainder, 1.
    assert counts[:6].sum() == counts[6:].sum() == 300
    assert counts[:6].min() > 25 and counts[6:].min() > 70


def test_ties_between_classes_are_drawn_by_lot():
    firsts = {int(carve(np.arange(5), 1, seed, "test")[0][0]) for seed in range(60)}
    assert firsts == set(range(5))


@pytest.mark.parametrize("size", [-1, 4])
def test_more_rows_than_there_are_is_refused(size):
    with pytest.raises(ValueError, match=f"cannot take {size} of 3"):
        carve(np.zeros(3, int), size, 0, "test")


@given(seed=st.integers(0, 2**32), fraction=st.floats(0.1, 0.6))
def test_validation_comes_from_train_and_never_from_test(tmp_path_factory, seed, fraction):
    path = tmp_path_factory.getbasetemp() / "numbered.npz"
    if not path.exists():  # image i is filled with the number i
        images = np.broadcast_to(np.arange(90, dtype=np.uint8)[:, None, None], (90, 8, 8))
        labels = np.arange(90) % 3
        np.savez(path, x_train=images[:60], y_train=labels[:60], x_test=images[60:], y_test=labels[60:])
    data = load(DataSettings("npz", str(path), validation_fraction=fraction), seed)
    train, validation, test = (split.images[:, 0, 0, 0].tolist() for split in (data.train, data.validation, data.test))
    assert len(validation) == round(60 * fraction)
    assert sorted(train + validation) == list(range(60))
    assert test == list(range(60, 90))
    for split in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(split.labels, split.images[:, 0, 0, 0] % 3)
