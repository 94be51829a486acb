"""Parameters and multiply-adds against the published figures, and against counts done by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.blocks import Block, batch_norm
from archrepair_jax.models.cost import block_multiply_adds, multiply_adds, parameters
from archrepair_jax.models.network import Network

IMAGENET = (224, 224, 3), 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "of", "count", "operations"),
    [
        # The 40.8 million often told of ResNet-20 are those of projections; option A has no operations.
        (ModelSettings("resnet20"), ((32, 32, 3), 10), 269_722, 40_551_040),
        (ModelSettings("resnet18", stem="imagenet"), IMAGENET, 11_689_512, 1_814_073_344),
        (ModelSettings("resnet50", stem="imagenet"), IMAGENET, 25_557_032, 4_089_184_256),
        (ModelSettings("resnet101", stem="imagenet"), IMAGENET, 44_549_160, 7_801_405_440),
        (ModelSettings("densenet121", stem="imagenet"), IMAGENET, 7_978_856, 2_834_161_664),
    ],
    ids=lambda value: value.name if isinstance(value, ModelSettings) else "",
)
def test_published_figures(settings, of, count, operations):
    network = build(settings, *of)
    variables = jax.eval_shape(network.init, jax.random.key(0))
    assert parameters(variables) == count
    assert multiply_adds(network, variables) == operations


def test_counts_of_each_block_by_hand():
    network = build(ModelSettings("convnet", widths=(4, 8)), (6, 6, 3), 10)
    counts = block_multiply_adds(network, jax.eval_shape(network.init, jax.random.key(0)))
    assert counts == {"input": 0, "stem": 36 * 9 * 3 * 4, "block1": 9 * 9 * 4 * 8, "head": 8 * 10}


class Filters(Block):
    """A 3-tap depthwise filter written as shifted multiply-adds, a grouped convolution and a scaled copy."""

    def setup(self):
        self.taps = self.param("taps", nn.initializers.ones, (3, 4))
        self.grouped = nn.Conv(8, (3, 3), feature_group_count=4, use_bias=False)
        self.bn = batch_norm()

    def branch(self, x, train):
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
        shifted = sum(padded[:, i : i + 5] * self.taps[i] for i in range(3))
        return self.grouped(self.bn(jax.nn.relu(2.0 * shifted), use_running_average=not train))


def test_depthwise_filters_cost_the_same_as_shifts_or_as_a_grouped_convolution():
    network = Network((("filters", Filters()),), (5, 5, 4), 8)
    variables = jax.eval_shape(network.init, jax.random.key(0))
    assert multiply_adds(network, variables) == 25 * 4 * 3 + 25 * 8 * 9
    assert parameters(variables) == 3 * 4 + 9 * 8 + 2 * 4


class Looped(Block):
    """A dense layer applied by ``scan``, under ``jit``."""

    def setup(self):
        self.kernel = self.param("kernel", nn.initializers.ones, (5, 4, 4))

    def branch(self, x, train):
        return jax.jit(lambda x, kernels: jax.lax.scan(lambda x, w: (x @ w, None), x, kernels)[0])(x, self.kernel)


def test_operations_inside_jit_and_scan_are_counted_every_time():
    network = Network((("looped", Looped()),), (3, 3, 4), 4)
    assert multiply_adds(network, jax.eval_shape(network.init, jax.random.key(0))) == 5 * 9 * 16
