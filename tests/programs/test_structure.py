"""Edits of structure: normalisations, residual connections and layers that come or go."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_subject import DATA, searching

from archrepair_jax.errors import InputError
from archrepair_jax.programs.engine import run
from archrepair_jax.programs.layers import conv, dense, flatten
from archrepair_jax.programs.model import Model, start
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.space import space
from archrepair_jax.programs.subjects import data, subject
from archrepair_jax.programs.symptoms import observe
from archrepair_jax.programs.training import train
from archrepair_jax.programs.trials import paid
from archrepair_jax.training.ledger import Ledger

KEY = jax.random.key(0)
DEEP = Program(  # four sigmoids in a row
    (*[dense(4, "sigmoid")] * 4, dense(2, "softmax")), "categorical_crossentropy", "adam", 0.02, 16, 8
)


def found(name, subject_name):
    own = subject(subject_name)
    return space(name, own.faulty, data(subject_name), own.sizes, 20, KEY)


def hidden(program, x):
    """What the first layer with weights gives."""
    params, _ = start(program, x.shape[1:], KEY)
    _, seen = Model(program.layers).apply({"params": params}, jnp.asarray(x), mutable=["intermediates"])
    return np.asarray(seen["intermediates"]["layer1"][0])


def test_the_structure_may_change_and_the_recipe_not():
    frozen, unfrozen = found("S2", "D8").domains, found("S2_unfrozen", "D8").domains
    assert set(frozen) == {f"{name}{number}" for name in ("norm", "skip", "layer") for number in (1, 2)}
    assert set(unfrozen) == set(frozen) | set(found("S1", "D8").domains)
    assert "skip1" not in found("S2", "D1").domains  # 128 bits do not fit through 50 units
    edits = DEEP.edits(DEEP.changed({"norm2": "layer", "layer1": 2}))
    assert list(map(str, edits)) == ["change layer1 from 1 to 2", "change norm2 from none to layer"]


def test_what_does_not_fit_is_not_tried_and_where_nothing_may_change_nothing_is_searched():
    own = space("S2_unfrozen", DEEP, DATA, ("unit2",), 20, KEY)
    assert own.fits(DEEP.changed({"skip2": "identity"}))
    assert not own.fits(DEEP.changed({"skip2": "identity", "unit2": 2}))
    with pytest.raises(InputError, match="space=S2 has nothing to change in this program"):
        found("S2", "D7")


def test_a_residual_connection_adds_the_middle_of_what_comes_in():
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
    program = Program((conv(5, 3, ki="zeros"), flatten(), dense(2, "softmax")), "hinge", "sgd", 0.1)
    assert not hidden(program, x).any()
    added = hidden(program.changed({"skip1": "identity"}), x)
    np.testing.assert_array_equal(added[..., :2], x[:, 1:5, 1:5])
    assert not added[..., 2:].any()


def test_a_normalised_layer_has_no_scale_of_its_own():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    program = Program((dense(64, "linear", norm="layer"), dense(2, "softmax")), "hinge", "sgd", 0.1)
    outputs = hidden(program, 100 * x)
    np.testing.assert_allclose(outputs.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(1), 1, rtol=1e-2)


def test_what_has_them_trains_and_shows_its_symptoms():
    changes = {"norm1": "layer", "skip2": "identity", "norm3": "layer", "layer4": 0}
    trained = train(DEEP.changed(changes), DATA, KEY, Ledger())
    assert trained.score(DATA.validation) > 0.9 and len(observe(trained)["gradients"]) == 5


@pytest.mark.parametrize("name", ["guided", "autotrainer"])
def test_techniques_that_know_fields_by_name_work_in_it(name, tmp_path):
    search = searching(tmp_path, name, budget=5)
    own = space("S2", DEEP, DATA, (), 5, KEY)
    search = dataclasses.replace(search, space=own)
    run(search)
    tried = [own.program(each.params) for each in paid(search.study.get_trials(deepcopy=False))]
    assert tried[0] == DEEP and all(each.optimizer == "adam" and each.lr == 0.02 for each in tried)
    assert len(set(tried)) > 1 or name == "autotrainer"  # whose remedies are none of structure
