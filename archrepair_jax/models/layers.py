"""What the convolutional networks share: the convolution, the stem they begin with and the head they end in."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, ArrayLike, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Block, batch_norm, record

Blocks = tuple[tuple[str, nn.Module], ...]  # what a family builds: the named blocks after the input's normalisation


def conv(channels: int, kernel: int, stride: int = 1) -> nn.Conv:
    """A square convolution without bias, padded alike on all sides: at stride 2 flax's ``SAME`` would pad one side."""
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=nn.initializers.he_normal(),
    )


class Stem(Block):
    """The first convolution: ``branch`` convolves and normalises, ``join`` is the ReLU and, if ``pool``, a max-pool."""

    channels: int
    kernel: int = 3
    stride: int = 1
    pool: bool = False

    def setup(self):
        self.conv1 = conv(self.channels, self.kernel, self.stride)
        self.bn1 = batch_norm()

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B h w D"]:
        x = self.bn1(self.conv1(x), use_running_average=not train)
        record(self, "conv1", x)
        return x

    def join(self, x: Float[Array, "B H W C"], branch: Float[Array, "B h w D"], train: bool) -> Float[Array, "B _ _ D"]:
        y = jax.nn.relu(branch)
        return nn.max_pool(y, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1))) if self.pool else y


def make_stem(kind: str, channels: int) -> Stem:
    """The stem for small images (``cifar``: 3x3) or large ones (``imagenet``: 7x7 and a max-pool, both with stride 2).

    Raises InputError for any other kind.
    """
    stems = {"cifar": Stem(channels), "imagenet": Stem(channels, kernel=7, stride=2, pool=True)}
    if kind not in stems:
        raise InputError(f"no stem is called {kind!r}; choose one of {', '.join(stems)}")
    return stems[kind]


class Head(Block):
    """Global average pooling and the output layer, whose neurons are the logits: none is recorded."""

    num_classes: int
    affine = True
    activation = None

    def setup(self):
        self.linear = nn.Dense(self.num_classes)

    def branch(self, x: Float[Array, "B ... D"], train: bool) -> Float[Array, "B K"]:
        return self.linear(x.mean(tuple(range(1, x.ndim - 1))))

    def scale_outputs(self, params: Any, factors: Float[ArrayLike, "K"]) -> Any:
        return {**params, "linear": {leaf: array * factors for leaf, array in params["linear"].items()}}
