"""What a remedy may change, in both spaces."""

import jax
import numpy as np
import pytest
from tiny_subject import DATA, FAULTY

from archrepair_jax.errors import InputError
from archrepair_jax.programs.data import Data, Split
from archrepair_jax.programs.space import Interval, space
from archrepair_jax.programs.subjects.synthetic import D1, D6, D7

KEY = jax.random.key(0)
NUMBERS = Data(*(Split(np.ones((8, 1)), np.ones((8, 1))) for _ in range(3)), outputs=1, metric="mae")


def test_the_published_space_is_that_of_its_package():
    own = space("S0", D6, DATA, ("unit1",), 20, KEY).domains
    assert len(own) == 12  # as counted there for D6
    assert own["lr"] == Interval(1e-6, 10.0) and own["unit1"] == (1, 2, 4)
    sizes = {name: len(each) for name, each in own.items() if name != "lr"}
    assert (sizes["loss"], sizes["batch_size"], sizes["optimizer"]) == (13, 6, 7)
    assert sizes["act1"] == sizes["act2"] == 11 and sizes["ki1"] == sizes["bi2"] == 13
    assert 5 in own["epochs"] and max(own["epochs"]) <= int(5 * 1.3**4) and min(own["epochs"]) > 1


def test_numbers_of_epochs_are_drawn_once_a_search():
    one, other = (space("S0", D7, NUMBERS, (), 20, jax.random.key(seed)).domains["epochs"] for seed in (1, 2))
    assert one != other and space("S0", D7, NUMBERS, (), 20, jax.random.key(1)).domains["epochs"] == one


@pytest.mark.parametrize("name", ["S0", "S1"])
@pytest.mark.parametrize(("program", "data"), [(D6, DATA), (D1, DATA), (D7, NUMBERS), (FAULTY, DATA)])
def test_the_fault_itself_is_in_every_space(name, program, data):
    own = space(name, program, data, (), 20, KEY)
    assert all(own.holds(field, value) for field, value in own.origin.items())
    assert own.program(own.origin) == program and own.fits(program)


def test_the_sane_space_has_rates_by_their_logarithm_and_epochs_as_far_as_half_the_budget():
    own = space("S1", D6, DATA, (), 20, KEY).domains
    assert own["lr"] == Interval(1e-5, 1.0, log=True)
    assert max(own["epochs"]) == 8 * 5 and max(space("S1", D6, DATA, (), 4, KEY).domains["epochs"]) == 2 * 5
    assert not {"zeros", "ones"} & set(own["ki1"]) and "exponential" not in own["act1"]


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"act2": "linear"}, False),  # cross-entropy of no probabilities
        ({"act2": "linear", "loss": "categorical_hinge"}, True),
        ({"act2": "sigmoid"}, True),
        ({"act1": "tanh"}, True),
    ],
)
def test_the_sane_space_has_no_loss_behind_outputs_that_it_cannot_take(changes, fits):
    own = space("S1", D6, DATA, (), 20, KEY)
    assert own.fits(D6.changed(changes)) == fits
    assert space("S0", D6, DATA, (), 20, KEY).fits(D6.changed(changes))


def test_other_edits_of_a_fault_are_not_refused_for_what_it_has_itself():
    own = space("S1", D1, Data(NUMBERS.train, NUMBERS.train, NUMBERS.train, 1), (), 20, KEY)
    assert own.fits(D1.changed({"lr": 0.1})) and not own.fits(D1.changed({"loss": "categorical_crossentropy"}))


def test_what_there_is_not_is_refused():
    with pytest.raises(InputError, match="choose from S0, S1"):
        space("S3", D6, DATA, (), 20, KEY)
    with pytest.raises(InputError, match="budget=0 pays for no training"):
        space("S1", D6, DATA, (), 0, KEY)
