"""Models of every form become networks that compute what they did, and come back in the form they had."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_networks import random_leaves

from archrepair_jax.errors import InputError
from archrepair_jax.models.adopt import Model, adopt
from archrepair_jax.models.network import Network
from archrepair_jax.repair.edits import Inserted, apply
from archrepair_jax.search.conditional import Filters

SHAPE = (8, 8, 1)
FILTERS = Filters(("median", "residual_conv"), 0)


class Stage(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(self.width, (3, 3), strides=2)(x)))


class Head(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.mean((1, 2)))


class InARow(nn.Module):
    """Hands images on from one submodule to the next, and tells them whether it trains."""

    def setup(self):
        self.first, self.second, self.head = Stage(4), Stage(6), Head()

    def __call__(self, x, train: bool = False):
        return self.head(self.second(self.first(x, train), train))


class Interrupted(nn.Module):
    """Has an activation of its own between its submodules."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(nn.relu(nn.Conv(4, (3, 3), name="conv")(x)).mean((1, 2)))


class Listing(nn.Module):
    """Has a field that cannot be hashed."""

    widths: Any

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.widths[-1])(x.reshape(len(x), -1))


class OfNNX(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.relu(self.norm(self.conv(x))).mean((1, 2))))


def fresh(module: nn.Module, seed: int = 0):
    return random_leaves(jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))), seed)


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).random((count, *SHAPE), np.float32)


def dense(params, x):
    """A function of JAX; its parameters are a list with a number that is not to be tuned."""
    weights, steps, bias = params
    return x.reshape(len(x), -1) @ weights + bias + 0 * steps


def dense_params():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(64, 3)).astype(np.float32), np.int32(7), np.ones(3, np.float16)]


def moved(variables):
    """Other weights in the place of each."""
    return variables | {"params": jax.tree.map(lambda leaf: leaf + 0.01, variables["params"])}


def with_filters(model: Model, variables):
    """The network with filters in front, and its variables."""
    network = apply(model.network, (Inserted(model.network.names[0], FILTERS),))
    added = random_leaves(jax.eval_shape(network.init, jax.random.key(0)), 3)
    name = f"before_{model.network.names[0]}"
    return network, {
        part: variables[part] | ({name: added[part][name]} if name in added[part] else {}) for part in variables
    }


def test_submodules_in_a_row_become_blocks():
    module, variables = InARow(), fresh(InARow())
    model = adopt((module, variables), SHAPE)
    assert model.network.names == ("first", "second", "head") and model.note == "" and model.name == "InARow"
    np.testing.assert_allclose(
        model.network.apply(model.variables, images()), module.apply(variables, images()), atol=1e-6
    )
    _, statistics = model.network.span(model.variables, images(), 0, 3, train=True)
    assert not np.array_equal(
        statistics["first"]["module"]["BatchNorm_0"]["mean"], variables["batch_stats"]["first"]["BatchNorm_0"]["mean"]
    )
    again, own = model.back(model.network, moved(model.variables))
    assert again is module
    jax.tree.map(np.testing.assert_array_equal, own, moved(variables))


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Interrupted(), "does something of its own between conv and head"), (Head(), "has no two submodules")],
)
def test_a_module_that_is_no_row_is_one_block_and_says_why(module, reason):
    variables = fresh(module)
    model = adopt((module, variables), SHAPE)
    assert model.network.names == ("model",) and f"{type(module).__name__} {reason}" in model.note
    assert "blocks in front of it" in model.note and "\n" not in model.note
    again, own = model.back(model.network, moved(model.variables))
    assert again is module
    jax.tree.map(np.testing.assert_array_equal, own, moved(variables))


@pytest.mark.parametrize("widths", [[4, 3], np.array([4, 3])])
def test_a_module_that_cannot_be_hashed_comes_back_as_well(widths):
    module = Listing(widths)
    variables = fresh(module)
    model = adopt((module, variables), SHAPE)
    assert (
        "of Listing only the outside" in model.note
        if isinstance(widths, np.ndarray)
        else "Listing has no two submodules" in model.note
    )
    np.testing.assert_array_equal(model.network.apply(model.variables, images()), module.apply(variables, images()))
    again, own = model.back(model.network, moved(model.variables))
    assert again is module
    jax.tree.map(np.testing.assert_array_equal, own, moved(variables))


def test_a_function_keeps_what_is_not_tuned_and_its_types():
    model = adopt((dense, dense_params()), SHAPE)
    x = images()
    np.testing.assert_array_equal(model.network.apply(model.variables, x), dense(dense_params(), jnp.asarray(x)))
    assert "of dense only the outside is known" in model.note and model.network.num_classes == 3
    function, (weights, steps, bias) = model.back(model.network, moved(model.variables))
    assert function is dense and steps == 7 and bias.dtype == np.float16
    np.testing.assert_array_equal(weights, dense_params()[0] + np.float32(0.01))


def test_of_variables_as_flax_writes_them_the_params_are_tuned():
    module, variables = InARow(), fresh(InARow())
    model = adopt((lambda v, x: module.apply(v, x), variables), SHAPE)
    leaves = model.variables["params"]["model"]
    assert len(leaves) == len(jax.tree.leaves(variables["params"])) and model.variables["batch_stats"] == {}


def test_an_nnx_module_comes_back_as_one():
    module = OfNNX(nnx.Rngs(0))
    module(jnp.asarray(images()))  # statistics that differ from those of a fresh one
    model = adopt(module, SHAPE)
    expected = nnx.clone(module)
    expected.eval()
    np.testing.assert_allclose(model.network.apply(model.variables, images()), expected(images()), atol=1e-6)
    again = model.back(model.network, moved(model.variables))
    assert isinstance(again, OfNNX) and not again.dropout.deterministic
    np.testing.assert_array_equal(again.head.bias[...], module.head.bias[...] + 0.01)
    np.testing.assert_array_equal(again.norm.mean[...], module.norm.mean[...])


@pytest.mark.parametrize("form", ["linen", "row", "function", "nnx"])
def test_what_was_inserted_comes_back_in_the_callers_form(form):
    brought = {
        "linen": lambda: (Interrupted(), fresh(Interrupted())),
        "row": lambda: (InARow(), fresh(InARow())),
        "function": lambda: (dense, dense_params()),
        "nnx": lambda: OfNNX(nnx.Rngs(0)),
    }[form]()
    model = adopt(brought, SHAPE, mean=(0.4,), std=(0.5,))
    assert model.network.names[0] == "input"
    network, variables = with_filters(model, model.variables)
    logits = network.apply(variables, images())
    assert not np.allclose(logits, model.network.apply(model.variables, images()), atol=1e-3)
    back = model.back(network, variables)
    if form == "nnx":
        assert isinstance(back, nnx.Module)
        back.eval()
        given = back(images())
    elif form == "function":
        given = back[0](back[1], images())
        assert isinstance(back[1]["own"], list)
    else:
        given = back[0].apply(back[1], images())
    np.testing.assert_allclose(given, logits, atol=1e-6)


def test_a_network_of_ours_stays_what_it_is():
    own = adopt((InARow(), fresh(InARow())), SHAPE)
    model = adopt((own.network, own.variables), SHAPE)
    assert model.network is own.network and isinstance(model.back(own.network, own.variables)[0], Network)
    assert adopt(model, SHAPE) is model
    with pytest.raises(InputError, match=r"the network takes images \(8, 8, 1\), and these are \(28, 28, 1\)"):
        adopt((own.network, own.variables), (28, 28, 1))


@pytest.mark.parametrize(
    ("brought", "words"),
    [
        (Head(), r"Head comes without its variables: give \(Flax module, variables\), an NNX module"),
        (dense, "function comes without its variables"),
        ("resnet20", "str is no model: give"),
        ((3, {}), "tuple is no model: give"),
        ((lambda params, x: x, {}), r"model gives \(8, 8, 1\) for an image"),
        ((InARow(), {"params": {}}), r"model cannot be applied to an array \(1, 8, 8, 1\): "),
        ((dense, {}), r"model cannot be applied to an array \(1, 8, 8, 1\)"),
    ],
)
def test_what_is_no_model_is_told_in_one_line(brought, words):
    with pytest.raises(InputError, match=words) as refusal:
        adopt(brought, SHAPE)
    assert "\n" not in str(refusal.value)
