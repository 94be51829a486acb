"""When the data are to blame, and when they are not."""

import dataclasses

import numpy as np
import pytest
from tiny_subject import DATA, FAULTY

from archrepair_jax.programs.data import Split
from archrepair_jax.programs.data_faults import data_faults
from archrepair_jax.programs.subjects import data, subject


def learnt(x=None, y=None):
    own = DATA.train
    return dataclasses.replace(DATA, train=Split(own.x if x is None else x, own.y if y is None else y))


def numbers(data_):
    return data_.train.y.argmax(1)


def swapped(share):
    y, random = DATA.train.y.copy(), np.random.default_rng(0)
    some = random.permutation(len(y))[: int(share * len(y))]
    y[some] = y[some][:, ::-1]
    return y


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y": numbers(DATA) / 255.0}, "labels are no class number, as 0.003922"),
        ({"y": numbers(DATA) + 1}, "labels are no class number, as 2"),
        ({"y": np.tile([1.0, 0.0], (64, 1)).astype(np.float32)}, "all 64 labels are"),
        ({"x": DATA.train.x * 255}, "inputs are as large as"),
        ({"x": np.full_like(DATA.train.x, np.nan)}, "no finite numbers"),
        ({"x": np.zeros_like(DATA.train.x)}, "100% of the examples have an equal one with another label"),
        ({"y": swapped(0.5)}, "of the labels are their nearest neighbours'"),
    ],
)
def test_a_fault_of_the_data_is_named(changes, said):
    assert any(said in each for each in data_faults(FAULTY, learnt(**changes)))


def test_right_data_are_left_alone():
    assert data_faults(FAULTY, DATA) == []


@pytest.mark.parametrize("name", ["D1", "D6", "D7", "D8"])
def test_no_repairable_subject_s_data_are_blamed(name):
    assert data_faults(subject(name).faulty, data(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["M1", "D4", "D5", "C1", "D9"])
def test_of_the_image_subjects_only_d9_s_data_are_blamed(name, real_data):
    assert bool(data_faults(subject(name).faulty, data(name, real_data))) == (name == "D9")
