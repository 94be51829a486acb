"""A small convolutional network, for demonstrations and tests that should take seconds."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from archrepair_jax.models.blocks import Block, batch_norm, record
from archrepair_jax.models.layers import Blocks, Head, conv


class ConvBlock(Block):
    """A 3x3 convolution and normalisation in ``branch``; ReLU and 2x2 max-pooling in ``join``."""

    channels: int

    def setup(self):
        self.conv1 = conv(self.channels, 3)
        self.bn1 = batch_norm()

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B H W D"]:
        x = self.bn1(self.conv1(x), use_running_average=not train)
        record(self, "conv1", x)
        return x

    def join(self, x: Float[Array, "B H W C"], branch: Float[Array, "B H W D"], train: bool) -> Float[Array, "B h w D"]:
        return nn.max_pool(jax.nn.relu(branch), (2, 2), strides=(2, 2), padding="SAME")  # keeps a single pixel


def convnet(num_classes: int, *, widths: tuple[int, ...] = (32, 64, 128)) -> Blocks:
    """A convolution a width: ``stem``, then ``block1``, ``block2``, …, then the head."""
    names = ["stem", *(f"block{number}" for number in range(1, len(widths)))]
    return *((name, ConvBlock(width)) for name, width in zip(names, widths, strict=True)), ("head", Head(num_classes))
