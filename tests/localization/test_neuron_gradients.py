"""The block-by-block passes against the whole network at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_networks

from archrepair_jax.localization import gradients
from archrepair_jax.localization.gradients import forward, neuron_gradients, stack
from archrepair_jax.models.blocks import Normalize
from archrepair_jax.models.families.resnet import BasicBlock
from archrepair_jax.models.layers import Head, Stem
from archrepair_jax.models.network import Network

BLOCKS = (
    ("input", Normalize((0.5,), (0.25,))),
    ("stem", Stem(4)),
    ("same", BasicBlock(4)),
    ("down", BasicBlock(8, 2, "project")),
    ("head", Head(5)),
)
NETWORK = Network(BLOCKS, (8, 8, 3), 5)
LABELS = jnp.arange(6) % 5


@pytest.fixture(scope="module")
def variables():
    return tiny_networks.random_variables(NETWORK)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (6, 8, 8, 3))


def whole(variables, images, weights):
    """The gradient of the weighted loss, for all parameters at once."""

    def loss(params):
        logits = NETWORK.apply({**variables, "params": params}, images)
        return weights @ optax.softmax_cross_entropy_with_integer_labels(logits, LABELS)

    return jax.jit(jax.grad(loss))(variables["params"])


@pytest.mark.slow
def test_the_forward_pass_is_the_networks(variables, images):
    trace = forward(NETWORK, variables, images)
    np.testing.assert_allclose(trace.logits, NETWORK.apply(variables, images), rtol=1e-4, atol=1e-5)
    x = images
    for name, entering, statuses in zip(NETWORK.names, trace.inputs, trace.statuses, strict=True):
        np.testing.assert_allclose(entering, x, rtol=1e-4, atol=1e-5)
        x, expected = NETWORK.neurons(variables, x, name)
        assert statuses.keys() == expected.keys()
        for layer in statuses:
            np.testing.assert_allclose(statuses[layer], expected[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("taylor", [False, True])
def test_blockwise_gradients_are_those_of_the_whole_network(variables, images, taylor):
    weights = jnp.array([[1.0, 1, 1, 1, 1, 1], [0, 2, 0, 0.5, 3, 1]])
    trace = forward(NETWORK, variables, images)
    found = neuron_gradients(NETWORK, variables, trace, LABELS, weights, taylor=taylor)
    assert not found[0] and not found[-1]  # the input's normalisation and the head have no neurons
    for row, row_weights in enumerate(weights):
        expected = whole(variables, images, row_weights)
        for name, layers in zip(NETWORK.names, found, strict=True):
            for layer, gradient in layers.items():
                kernel = expected[name][layer]["kernel"]
                kernel = kernel * variables["params"][name][layer]["kernel"] if taylor else kernel
                np.testing.assert_allclose(gradient[row], jnp.abs(kernel).mean((0, 1, 2)), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_replicates_do_not_depend_on_how_many_run_together(variables, images, monkeypatch):
    weights = jax.random.uniform(jax.random.key(2), (5, 6))
    trace = forward(NETWORK, variables, images)
    together = stack(neuron_gradients(NETWORK, variables, trace, LABELS, weights))
    monkeypatch.setattr(gradients, "REPLICATE_FLOATS", 1000)
    gradients._backward.clear_cache()
    one_by_one = stack(neuron_gradients(NETWORK, variables, trace, LABELS, weights))
    gradients._backward.clear_cache()
    np.testing.assert_allclose(together, one_by_one, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_excluded_blocks_are_passed_through(variables, images):
    trace = forward(NETWORK, variables, images, ("down",))
    found = neuron_gradients(NETWORK, variables, trace, LABELS, jnp.ones((1, 6)))
    everywhere = neuron_gradients(NETWORK, variables, forward(NETWORK, variables, images), LABELS, jnp.ones((1, 6)))
    assert not found[NETWORK.index("down")]
    np.testing.assert_allclose(found[1]["conv1"], everywhere[1]["conv1"], rtol=1e-5)
