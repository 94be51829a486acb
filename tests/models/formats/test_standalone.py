"""Networks as programs of their own: onnxruntime and a deserialized jax.export program give the same logits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from flax import nnx
from jax import export
from tiny_networks import random_leaves, random_variables

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.adopt import adopt
from archrepair_jax.models.formats.standalone import to_onnx, to_stablehlo
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import Network
from archrepair_jax.repair.edits import Inserted, Replaced, Scaled, apply
from archrepair_jax.search.cell import Genotype, Space
from archrepair_jax.search.conditional import Filters
from archrepair_jax.search.filters import GATED
from archrepair_jax.search.operations import ORIGINAL, SPATIAL

SIDE = 8
FILTERS = (*GATED, "film", "routed_statistics", "squeeze_excitation", "residual_conv")
KERNEL = {"kernel": np.random.default_rng(0).normal(size=(SIDE * SIDE, 4)).astype(np.float32)}


def network(name: str, image_shape=(SIDE, SIDE, 3), edits=(), **settings) -> tuple[Network, dict]:
    settings = ModelSettings(name, **settings)
    edited = apply(regroup(build(settings, image_shape, 4), {}, settings.groups)[0], edits)
    return edited, random_variables(edited, 1)


def own(model) -> tuple[Network, dict]:
    adopted = adopt(model, (SIDE, SIDE, 1))
    return adopted.network, adopted.variables


class ManyLayers(nn.Module):
    """Whatever layers people use, written as they write them."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, padding="VALID", feature_group_count=1)(x))
        x = nn.avg_pool(x, (2, 2), strides=(1, 1), padding="SAME")
        x = nn.max_pool(nn.BatchNorm(use_running_average=not train)(x), (2, 2))
        x = nn.gelu(nn.LayerNorm()(x)) + nn.swish(nn.GroupNorm(2)(x)) + nn.elu(x) + nn.softplus(x)
        x = jnp.flip(x, 1)[:, :, ::-1][..., jnp.array([2, 1, 0, 3])]
        x = x.reshape((x.shape[0], -1, 4))
        x = nn.hard_swish(nn.MultiHeadDotProductAttention(2)(x, x))
        x = jnp.concatenate([x.mean(1), x.max(1), jnp.std(x, 1), jnp.median(x, 1), jnp.cumsum(x, 1)[:, -1]], -1)
        x = nn.Dropout(0.5, deterministic=not train)(nn.leaky_relu(nn.Dense(8)(x)))
        return nn.log_softmax(nn.Dense(4)(x))


class OfNNX(nnx.Module):
    def __init__(self):
        self.convolution = nnx.Conv(1, 2, (3, 3), rngs=nnx.Rngs(0))
        self.head = nnx.Linear(2 * SIDE * SIDE, 4, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.head(nnx.relu(self.convolution(x)).reshape(len(x), -1))  # which asks how many images there are


def many_layers() -> tuple[Network, dict]:
    module = ManyLayers()
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 1)))
    return own((module, random_leaves(shapes)))


def found() -> tuple[Network, dict]:
    """A block with every operation of the static search in it."""
    space = Space(2, tuple(SPATIAL), 8, 2)
    genotype = Genotype(
        space,
        tuple(ORIGINAL if edge == space.direct else name for edge, name in zip(space.edges, SPATIAL, strict=True)),
    )
    return network("resnet8", edits=(Replaced("stage2_block1", genotype), Scaled("stem")), widths=(4, 8, 8))


MODELS = {
    "filters": lambda: network("resnet8", widths=(4, 4, 4), edits=(Inserted("input", Filters(FILTERS, 4)),)),
    "found": found,
    "group": lambda: network("convnet", (9, 7, 1), widths=(4, 8), groups=("stem+block1",)),
    "pool": lambda: network("resnet18", (32, 32, 3), widths=(4, 4, 4, 4), stem="imagenet"),
    "many layers": many_layers,
    "nnx": lambda: own(OfNNX()),
    "function": lambda: own((lambda params, x: x.reshape(len(x), -1) @ params["kernel"], KERNEL)),
}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_same_logits_whatever_the_batch(model):
    made, variables = MODELS[model]()
    content = to_onnx(made, variables)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    program = export.deserialize(bytearray(to_stablehlo(made, variables)))
    assert program.platforms == ("cpu", "cuda", "tpu")
    images = np.random.default_rng(0).random((5, *made.image_shape), np.float32)
    logits = np.asarray(jax.jit(made.apply)(variables, images))
    largest = max(1, np.abs(logits).max())
    np.testing.assert_allclose(program.call(images), logits, atol=1e-5 * largest)
    np.testing.assert_allclose(session.run(["logits"], {"input": images})[0], logits, atol=1e-5 * largest)
    np.testing.assert_allclose(session.run(None, {"input": images[:1]})[0], logits[:1], atol=1e-5 * largest)


def sums(x):
    return x.reshape(x.shape[0], -1)[:, :4]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda p, x: jax.lax.fori_loop(0, 3, lambda _, y: jnp.sin(y), sums(x)), "the operation scan cannot be"),
        (lambda p, x: jnp.take(p["kernel"], jnp.argmax(sums(x), 1), 0), "gather .* it takes elements from places that"),
        (lambda p, x: jax.lax.sort((sums(x), sums(-x)))[1], "sort cannot be written as onnx: it sorts several"),
        (lambda p, x: sums(jax.lax.conv_transpose(x, jnp.ones((3, 3, 1, 1)), (2, 2), "SAME")), "conv_general_dilated"),
        (lambda p, x: jnp.flip(sums(x), 0), "rev .* does not leave the batch as it is"),
    ],
)
def test_an_operation_that_onnx_does_not_know_is_named(function, words):
    with pytest.raises(InputError, match=words) as refusal:
        to_onnx(*own((function, KERNEL)))
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith("try stablehlo")


def test_what_runs_in_python_is_in_no_file():
    def function(params, images):
        return jax.pure_callback(np.asarray, jax.ShapeDtypeStruct((images.shape[0], 4), jnp.float32), sums(images))

    for write, form in ((to_stablehlo, "stablehlo"), (to_onnx, "onnx")):
        with pytest.raises(InputError, match=f"written as {form}"):
            write(*own((function, KERNEL)))
