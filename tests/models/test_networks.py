"""Every network: its blocks, its shapes, its neurons, and the parts whose arithmetic can be done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import random_variables

from archrepair_jax.errors import InputError
from archrepair_jax.models import MODELS, ModelSettings, build
from archrepair_jax.models.blocks import Block
from archrepair_jax.models.families.densenet import DenseLayer, densenet
from archrepair_jax.models.families.mlp import ACTIVATIONS, Layer
from archrepair_jax.models.families.resnet import BasicBlock, Bottleneck, pad_channels
from archrepair_jax.models.layers import Stem, conv
from archrepair_jax.models.network import Network

SMALL = {
    "resnet8": ModelSettings("resnet8", widths=(4, 6, 8)),
    "resnet18": ModelSettings("resnet18", widths=(4, 4, 8, 8)),
    "convnet": ModelSettings("convnet", widths=(4, 8)),
    "mlp": ModelSettings("mlp", widths=(8, 4)),
}


def shapes(network: Network):
    return jax.eval_shape(network.init, jax.random.key(0))


def images(network: Network, count: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(1), (count, *network.image_shape))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_network_gives_logits_from_uniquely_named_blocks(name):
    network = build(ModelSettings(name), (32, 32, 3), 7)
    logits = jax.eval_shape(network.apply, shapes(network), jax.ShapeDtypeStruct((5, 32, 32, 3), jnp.float32))
    assert (logits.shape, logits.dtype) == ((5, 7), jnp.float32)
    assert len(set(network.names)) == len(network.names)
    assert (network.names[0], network.names[-1]) == ("input", "head")
    assert all(isinstance(module, Block) for _, module in network.blocks[1:])


@pytest.mark.parametrize(
    ("name", "affine"), [("mlp", ["layer1", "layer2", "head"]), ("resnet20", ["head"]), ("densenet121", [])]
)
def test_blocks_say_what_can_be_done_with_them(name, affine):
    blocks = build(ModelSettings(name), (32, 32, 3), 7).blocks
    assert [name for name, module in blocks if module.affine] == affine
    assert [name for name, module in blocks if not module.has_branch] == ["input"]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet20", 9), ("resnet32", 15), ("resnet56", 27), ("resnet18", 8), ("resnet101", 33), ("densenet121", 58)],
)
def test_number_of_repairable_blocks(name, blocks):
    names = build(ModelSettings(name), (32, 32, 3), 10).names
    assert sum(block.startswith("stage") for block in names) == blocks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
@pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("imagenet", 8)])
def test_imagenet_stem_divides_the_image_by_four(name, stem, size):
    network = build(ModelSettings(name, stem=stem), (32, 32, 3), 10)
    after, _ = jax.eval_shape(lambda v, x: network.span(v, x, 0, 2), shapes(network), jnp.zeros((1, 32, 32, 3)))
    assert after.shape == (1, size, size, 64)


@pytest.mark.parametrize("name", MODELS)
def test_equal_settings_give_equal_networks_that_jit_takes_as_static(name):
    one, other = (build(ModelSettings(name), (8, 8, 3), 10) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert one != build(ModelSettings(name, mean=(0.4,)), (8, 8, 3), 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_weight_layer_but_the_last_records_its_output_channels(name):
    network = build(ModelSettings(name), (32, 32, 3), 10)
    variables, x = shapes(network), jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    for block in network.names:
        x, statuses = jax.eval_shape(lambda v, x, block=block: network.neurons(v, x, block), variables, x)
        flat = traverse_util.flatten_dict(variables["params"].get(block, {}), sep="/")
        kernels = {path.removesuffix("/kernel"): k.shape for path, k in flat.items() if path.endswith("/kernel")}
        expected = {} if block == "head" else {path: (2, shape[-1]) for path, shape in kernels.items()}
        assert {layer: status.shape for layer, status in statuses.items()} == expected


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_prefix_block_and_suffix_compose_to_the_network(model):
    network = build(model, (8, 8, 3), 4)
    variables, x = random_variables(network), images(network, 3)
    logits = network.apply(variables, x)
    assert float(logits.std()) > 1e-3
    for cut in range(1, len(network.blocks)):
        prefix, _ = network.span(variables, x, 0, cut)
        suffix, _ = network.span(variables, prefix, cut, len(network.blocks))
        np.testing.assert_array_equal(suffix, logits)


@pytest.mark.slow
def test_replacing_a_block_changes_that_block_only():
    network = build(SMALL["convnet"], (4, 4, 3), 4)
    other = network.replace("block1", BasicBlock(8, 2, "project"))
    assert other.names == network.names and other != network
    assert other.replace("block1", dict(network.blocks)["block1"]) == network
    old, new = network.init(jax.random.key(0)), other.init(jax.random.key(0))
    assert old["params"].pop("block1").keys() != new["params"].pop("block1").keys()
    jax.tree.map(np.testing.assert_array_equal, old["params"], new["params"])


@pytest.mark.slow
def test_training_updates_the_statistics_of_normalised_blocks_only():
    network = build(SMALL["convnet"], (8, 8, 3), 4)
    variables, x = random_variables(network), images(network, 4)

    def statistics(x, train):
        return network.span(variables, x, 0, len(network.blocks), train=train)[1]

    kept = jax.vmap(lambda x: statistics(x, False), axis_name="batch")(x[None])
    updated = jax.vmap(lambda x: statistics(x, True), axis_name="batch")(x[None])
    assert set(updated) == set(variables["batch_stats"]) == set(network.names) - {"input", "head"}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), kept, variables["batch_stats"])
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a[0] != b).any()), updated, variables["batch_stats"])))


def test_padded_shortcut_takes_every_second_pixel_and_pads_both_sides():
    x = jnp.arange(32.0).reshape(1, 4, 4, 2)
    expected = [
        [[0, 0, 1, 0], [0, 4, 5, 0]],
        [[0, 16, 17, 0], [0, 20, 21, 0]],
    ]
    np.testing.assert_array_equal(pad_channels(x, 4, 2), [expected])


@settings(deadline=None, max_examples=20)
@given(channels=st.integers(1, 9), more=st.integers(0, 9), stride=st.integers(1, 3))
def test_padded_shortcut_adds_nothing_but_zeros(channels, more, stride):
    x = np.random.default_rng(channels).normal(size=(2, 5, 5, channels)).astype(np.float32)
    y = np.asarray(pad_channels(jnp.asarray(x), channels + more, stride))
    assert y.shape == (2, -(-5 // stride), -(-5 // stride), channels + more)
    np.testing.assert_array_equal(y[..., more // 2 : more // 2 + channels], x[:, ::stride, ::stride])
    np.testing.assert_allclose(np.abs(y).sum(), np.abs(x[:, ::stride, ::stride]).sum(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("block", [BasicBlock(8, 2, "pad"), BasicBlock(8, 2, "project"), Bottleneck(8, 2, "project")])
def test_residual_block_is_the_relu_of_branch_plus_shortcut(block):
    x = jax.random.normal(jax.random.key(2), (2, 6, 6, 4))
    variables = block.init(jax.random.key(3), x, False)
    branch = block.apply(variables, x, False, method="branch")
    if block.shortcut == "pad":
        shortcut = pad_channels(x, 8, 2)
    else:  # fresh statistics normalise nothing but the epsilon
        kernel = variables["params"]["shortcut_conv"]["kernel"][0, 0]
        shortcut = x[:, ::2, ::2] @ kernel / jnp.sqrt(1 + 1e-5)
    np.testing.assert_allclose(block.apply(variables, x, False), np.maximum(branch + shortcut, 0), atol=1e-5)
    assert float(branch.min()) < 0, "the last activation belongs to the join"


@pytest.mark.slow
def test_dense_layer_appends_its_growth_to_its_input():
    layer, x = DenseLayer(3), jax.random.normal(jax.random.key(2), (2, 4, 4, 5))
    variables = layer.init(jax.random.key(3), x, False)
    y = layer.apply(variables, x, False)
    np.testing.assert_array_equal(y[..., :5], x)
    np.testing.assert_array_equal(y[..., 5:], layer.apply(variables, x, False, method="branch"))


def test_strided_convolution_pads_both_sides_as_torch_does():
    ones = jnp.ones((1, 4, 4, 1))
    y = conv(1, 3, 2).apply({"params": {"kernel": jnp.ones((3, 3, 1, 1))}}, ones)
    np.testing.assert_array_equal(y[0, ..., 0], [[4, 6], [6, 9]])


def test_pooled_stem_pools_over_the_border_but_not_beyond_it():
    branch = jnp.arange(16.0).reshape(1, 4, 4, 1)
    pooled = Stem(1, pool=True).apply({}, branch, branch, False, method="join")
    np.testing.assert_array_equal(pooled[0, ..., 0], [[5, 7], [13, 15]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_applies_the_activation_it_is_asked_for(activation):
    layer, z = Layer(3, activation), jnp.array([[-2.0, 0.0, 1.0]])
    expected = {
        "relu": [0, 0, 1],
        "leaky_relu": [-0.02, 0, 1],
        "tanh": [-0.9640276, 0, 0.7615942],
        "sigmoid": [0.1192029, 0.5, 0.7310586],
        "gelu": [-0.0455003, 0, 0.8413447],
    }
    np.testing.assert_allclose(layer.apply({}, z, z, False, method="join")[0], expected[activation], atol=1e-6)


def test_images_are_normalised_channel_by_channel_or_all_alike():
    x = jnp.full((1, 2, 2, 2), 0.75)
    each = build(ModelSettings("convnet", mean=(0.25, 0.5), std=(0.5, 0.125)), (2, 2, 2), 2)
    alike = build(ModelSettings("convnet"), (2, 2, 2), 2)
    np.testing.assert_allclose(each.span({}, x, 0, 1)[0][0, 0, 0], [1, 2])
    np.testing.assert_allclose(alike.span({}, x, 0, 1)[0][0, 0, 0], [1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 8])
def test_convnet_takes_images_of_any_size(size):
    network = build(SMALL["convnet"], (size, size, 1), 3)
    assert np.isfinite(network.apply(random_variables(network), images(network, 2))).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelSettings("resnet-20"), "the nearest is resnet20"),
        (ModelSettings("DenseNet"), "the nearest is densenet121"),
        (ModelSettings("mlp", stem="imagenet"), "mlp has no setting stem"),
        (ModelSettings("resnet20", activation="gelu"), "resnet20 has no setting activation"),
        (ModelSettings("resnet18", stem="tiny"), "no stem is called 'tiny'"),
        (ModelSettings("mlp", activation="swish"), "no activation is called 'swish'"),
        (ModelSettings("resnet8", widths=(16, 32)), "give one for each stage"),
        (ModelSettings("resnet8", widths=(32, 16, 64)), "cannot shrink"),
        (ModelSettings("mlp", widths=(16, 0)), "positive"),
        (ModelSettings("mlp", mean=(0.1, 0.2)), "mean has 2 values, but the images have 3 channels"),
        (ModelSettings("mlp", std=(0.0,)), "cannot divide"),
    ],
)
def test_impossible_settings_are_told_in_one_line(model, message):
    with pytest.raises(InputError, match=message) as error:
        build(model, (32, 32, 3), 10)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_densenet_refuses_images_that_its_pooling_would_use_up():
    network = build(ModelSettings("densenet121", stem="imagenet"), (28, 28, 3), 10)
    with pytest.raises(InputError, match="too small"):
        shapes(network)


@pytest.mark.slow
def test_small_densenet_computes_finite_logits():
    blocks = densenet(3, repeats=(2, 2), growth=4)
    network = Network(build(SMALL["mlp"], (8, 8, 3), 3).blocks[:1] + blocks, (8, 8, 3), 3)
    assert network.names == (
        "input",
        "stem",
        "stage1_block1",
        "stage1_block2",
        "transition1",
        "stage2_block1",
        "stage2_block2",
        "head",
    )
    logits = network.apply(random_variables(network), images(network, 2))
    assert np.isfinite(logits).all() and float(logits.std()) > 1e-3
