"""Keras's meaning of names that JAX and optax read otherwise; expected values are worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.programs.ingredients import ACTIVATIONS, INITIALIZERS, initial
from archrepair_jax.programs.recipe import LOSSES, OPTIMIZERS, losses

Y, P = jnp.array([[0.0, 1.0]]), jnp.array([[0.2, 0.6]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_squared_error", (0.04 + 0.16) / 2),
        ("mean_absolute_error", 0.3),
        ("hinge", (1.2 + 0.4) / 2),
        ("squared_hinge", (1.44 + 0.16) / 2),
        ("categorical_hinge", 1 + 0.2 - 0.6),
        ("categorical_crossentropy", -np.log(0.6 / 0.8)),
        ("sparse_categorical_crossentropy", -np.log(0.6 / 0.8)),
        ("binary_crossentropy", -(np.log(0.8) + np.log(0.6)) / 2),
        ("poisson", (0.2 + 0.6 - np.log(0.6)) / 2),
        ("logcosh", (np.log(np.cosh(0.2)) + np.log(np.cosh(0.4))) / 2),
        ("mean_squared_logarithmic_error", (np.log(1.2) ** 2 + np.log(1.6 / 2) ** 2) / 2),
        ("kullback_leibler_divergence", -np.log(0.6) + 1e-7 * np.log(1e-7 / 0.2)),
        ("mean_absolute_percentage_error", 100 * (0.2 / 1e-7 + 0.4) / 2),
    ],
)
def test_losses_are_keras_s(name, value):
    assert losses(name, "linear", Y, P, P)[0] == pytest.approx(value, rel=1e-5)


def test_no_loss_is_left_untested():
    assert len(LOSSES) == 13


@pytest.mark.parametrize(("loss", "act"), [("categorical_crossentropy", "softmax"), ("binary_crossentropy", "sigmoid")])
def test_a_cross_entropy_behind_its_own_activation_still_learns_from_far_away(loss, act):
    z = jnp.array([[60.0, -60.0]])
    value = losses(loss, act, Y, z, ACTIVATIONS[act](z))
    slope = jax.grad(lambda z: losses(loss, act, Y, z, ACTIVATIONS[act](z)).sum())(z)
    assert value[0] > 50 and abs(slope[0, 1]) > 0.4


def test_hard_sigmoid_is_keras_s():
    assert ACTIVATIONS["hard_sigmoid"](jnp.array([-2.5, -1.0, 0.0, 2.5])).tolist() == pytest.approx([0, 0.3, 0.5, 1])


SPREADS = {  # of a kernel [3, 3, 8, 32]: nine times 8 go in, nine times 32 go out
    "random_normal": 0.05, "random_uniform": 0.05 / 3**0.5, "truncated_normal": 0.05 * 0.8796, "unit_normal": 1,
    "orthogonal": 1 / 72**0.5, "lecun_uniform": 1 / 72**0.5, "lecun_normal": 1 / 72**0.5,
    "glorot_uniform": (2 / 360) ** 0.5, "glorot_normal": (2 / 360) ** 0.5,
    "he_uniform": (2 / 72) ** 0.5, "he_normal": (2 / 72) ** 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", INITIALIZERS)
def test_kernels_start_as_in_keras(name):
    found = initial(name, (3, 3, 8, 32), np.random.default_rng(0))
    assert found.std() == pytest.approx(SPREADS.get(name, 0), rel=0.05)
    assert found.mean() == pytest.approx(1.0 if name == "ones" else 0.0, abs=0.06)
    if name == "orthogonal":
        flat = found.reshape(-1, 32)
        np.testing.assert_allclose(flat.T @ flat, np.eye(32), atol=1e-5)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_bias_has_both_fans_alike(name):
    random, size = np.random.default_rng(0), 400
    if name == "orthogonal":
        with pytest.raises(InputError, match="orthogonal"):
            initial(name, (size,), random)
    else:
        kernel = initial(name, (size, size), random)
        assert initial(name, (size,), random).std() == pytest.approx(float(kernel.std()), rel=0.15, abs=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_downhill(name):
    rate = 0.5 if name == "adadelta" else 0.05
    params, optimizer = jnp.array([1.0]), OPTIMIZERS[name](rate)
    state = optimizer.init(params)
    for _ in range(20):
        update, state = optimizer.update(2 * params, state, params)
        params = params + update
    assert 0 <= abs(float(params[0])) < 1
