"""Training in pieces, on a budget, and what is not finite."""

import jax
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.programs.data import Data, Split, rows, score
from archrepair_jax.programs.layers import conv, dense, dropout, flatten
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.training import Run, price, train
from archrepair_jax.training.ledger import GRADIENT, Ledger, Overspent

KEY = jax.random.key(3)


def blobs(count: int, seed: int, shape: tuple[int, ...] = (2,)) -> Split:
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, count)
    x = random.normal(size=(count, *shape)) / 4 + (2.0 * y - 1).reshape(-1, *[1] * len(shape))
    return Split(x.astype(np.float32), np.eye(2, dtype=np.float32)[y])


DATA = Data(blobs(70, 0), blobs(30, 1), blobs(30, 2), outputs=2)
PROGRAM = Program(
    (dense(4, "relu"), dropout(0.1), dense(2, "softmax")), "categorical_crossentropy", "adam", 0.05, 16, 6
)
PICTURES = Data(*(blobs(20, seed, (6, 6, 1)) for seed in range(3)), outputs=2)
CONVOLVING = Program((conv(2, 3, "relu"), flatten(), dense(2, "softmax")), "categorical_crossentropy", "sgd", 0.1, 8, 2)


def test_it_learns_and_pays_for_every_example():
    ledger = Ledger()
    run = train(PROGRAM, DATA, KEY, ledger)
    assert run.score(DATA.validation) > 0.9 and run.curve[-1] < run.curve[0] / 2
    assert ledger.spent.passes == price(PROGRAM, DATA).passes == GRADIENT * 70 * 6 + 30
    assert run.forward == 2 * 4 + 4 * 2 and run.gradient >= 2 * run.forward + 4 * 2  # no gradient of the inputs
    assert ledger.spent.multiply_adds == 70 * 6 * run.gradient + 30 * run.forward


@pytest.mark.parametrize(("program", "data"), [(PROGRAM, DATA), (CONVOLVING, PICTURES)])
def test_pieces_make_the_same_whole(program, data):
    whole, pieces = train(program, data, KEY, Ledger()), Run(program, data, KEY, Ledger())
    for share in (1 / 27, 1 / 9, 1 / 3, 0.8, 1.0):
        pieces.advance(share)
    assert pieces.ledger.spent == whole.ledger.spent
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), pieces.state[0], whole.state[0])


def test_another_key_is_another_training():
    one, other, again = (train(PROGRAM, DATA, key, Ledger()) for key in (KEY, jax.random.key(4), KEY))
    assert one.curve == again.curve != other.curve


def test_an_exhausted_budget_stops_before_the_epoch_that_it_cannot_pay():
    ledger = Ledger(sample_gradients=3 * 70 + 1)
    run = Run(PROGRAM, DATA, KEY, ledger)
    with pytest.raises(Overspent, match="training asks for 70 sample-gradients"):
        run.advance(1.0)
    assert run.done == 0.5 and ledger.spent.sample_gradients == 3 * 70


def test_a_loss_that_is_no_longer_finite_is_the_worst_and_stops_costing():
    wild = PROGRAM.changed({"lr": 1e30, "optimizer": "sgd", "loss": "mean_squared_error", "act2": "linear"})
    run = train(wild, DATA, KEY, Ledger())
    assert not run.finite and run.score(DATA.validation) == 0.0
    assert run.ledger.spent.passes < price(wild, DATA).passes


def test_outputs_that_are_no_numbers_win_nothing():
    y = np.eye(2, dtype=np.float32)
    assert score(y, y, "accuracy") == 1.0 and score(y, y, "mae") == 0.0
    bad = np.array([[1.0, 0.0], [0.0, np.inf]], np.float32)
    assert score(bad, y, "accuracy") == 0.0 and score(bad, y, "mae") == -np.inf


def test_a_program_that_cannot_be_built_says_why():
    with pytest.raises(InputError, match="bias cannot be orthogonal"):
        Run(PROGRAM.changed({"bi1": "orthogonal"}), DATA, KEY, Ledger())


def test_class_numbers_are_cut_to_whole_ones():
    assert rows(np.array([0.9, 2.0, 7.0]), 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
