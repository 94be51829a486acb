"""Densely connected networks (Huang et al., Densely Connected Convolutional Networks, 2017), as torchvision has them.

Normalisation and ReLU come before each convolution. So the pre-activation of a layer's first convolution is what the
second normalisation makes of it; the second convolution's channels meet a normalisation in every later layer, none of
which is their own, and are recorded as they are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Block, batch_norm, record
from archrepair_jax.models.layers import Blocks, Head, conv, make_stem


class DenseLayer(Block):
    """``concat(x, branch(x))``: the branch adds ``growth`` channels, through a 1x1 bottleneck of four times as many."""

    growth: int

    def setup(self):
        self.bn1 = batch_norm()
        self.conv1 = conv(4 * self.growth, 1)
        self.bn2 = batch_norm()
        self.conv2 = conv(self.growth, 3)

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B H W D"]:
        x = jax.nn.relu(self.bn1(x, use_running_average=not train))
        x = self.bn2(self.conv1(x), use_running_average=not train)
        record(self, "conv1", x)
        x = self.conv2(jax.nn.relu(x))
        record(self, "conv2", x)
        return x

    def join(self, x: Float[Array, "B H W C"], branch: Float[Array, "B H W D"], train: bool) -> Float[Array, "B H W _"]:
        return jnp.concatenate([x, branch], axis=-1)


class Transition(Block):
    """Between two dense stages: a 1x1 convolution to ``channels``, then 2x2 average pooling in ``join``."""

    channels: int

    def setup(self):
        self.bn1 = batch_norm()
        self.conv1 = conv(self.channels, 1)

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B H W D"]:
        x = self.conv1(jax.nn.relu(self.bn1(x, use_running_average=not train)))
        record(self, "conv1", x)
        return x

    def join(self, x: Float[Array, "B H W C"], branch: Float[Array, "B H W D"], train: bool) -> Float[Array, "B h w D"]:
        if min(branch.shape[1:3]) < 2:
            raise InputError("the images are too small for a DenseNet: nothing is left to pool; take the cifar stem")
        return nn.avg_pool(branch, (2, 2), strides=(2, 2))


class DenseHead(Head):
    """The head, after the normalisation and ReLU that the last dense layer is still owed."""

    affine = False

    def setup(self):
        super().setup()
        self.bn1 = batch_norm()

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B K"]:
        return super().branch(jax.nn.relu(self.bn1(x, use_running_average=not train)), train)


def densenet(
    num_classes: int,
    *,
    repeats: tuple[int, ...] = (6, 12, 24, 16),
    growth: int = 32,
    stem: str = "cifar",
) -> Blocks:
    """Stages of dense layers ``stage<s>_block<b>``, halved in channels and size by ``transition<s>`` between them.

    The defaults are DenseNet-121. Raises InputError for an unknown stem.
    """
    channels = 2 * growth
    blocks = [("stem", make_stem(stem, channels))]
    for stage, repeat in enumerate(repeats, start=1):
        blocks += [(f"stage{stage}_block{number}", DenseLayer(growth)) for number in range(1, repeat + 1)]
        channels += repeat * growth
        if stage < len(repeats):
            channels //= 2
            blocks.append((f"transition{stage}", Transition(channels)))
    return *blocks, ("head", DenseHead(num_classes))
