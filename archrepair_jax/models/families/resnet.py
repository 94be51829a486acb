"""Residual networks (He et al., Deep Residual Learning for Image Recognition, 2015), shaped so that torch weights fit.

The CIFAR form (their section 4.2) has three stages of 16, 32 and 64 channels and shortcuts without parameters
(option A); the ImageNet form has four stages and 1x1 projections (option B) wherever the shape changes. The stride
of a bottleneck is on its 3x3 convolution, as in torchvision.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Block, batch_norm, record
from archrepair_jax.models.layers import Blocks, Head, Stem, conv, make_stem


def pad_channels(x: Float[Array, "B H W C"], channels: int, stride: int) -> Float[Array, "B h w D"]:
    """Option A: every ``stride``-th pixel, and zero channels added evenly on both sides of the old ones."""
    missing = channels - x.shape[-1]
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))


class Residual(Block):
    """``relu(branch(x) + shortcut(x))``; the shortcut is ``identity``, ``pad`` (option A) or ``project`` (option B)."""

    channels: int
    stride: int = 1
    shortcut: str = "identity"

    def setup(self):
        if self.shortcut == "project":
            self.shortcut_conv = conv(self.channels, 1, self.stride)
            self.shortcut_bn = batch_norm()

    def join(self, x: Float[Array, "B H W C"], branch: Float[Array, "B h w D"], train: bool) -> Float[Array, "B h w D"]:
        if self.shortcut == "pad":
            x = pad_channels(x, self.channels, self.stride)
        if self.shortcut == "project":
            x = self.shortcut_bn(self.shortcut_conv(x), use_running_average=not train)
            record(self, "shortcut_conv", x)
        return jax.nn.relu(branch + x)


class BasicBlock(Residual):
    """Two 3x3 convolutions; the stride is on the first."""

    expansion = 1  # output channels per stage width

    def setup(self):
        super().setup()
        self.conv1 = conv(self.channels, 3, self.stride)
        self.bn1 = batch_norm()
        self.conv2 = conv(self.channels, 3)
        self.bn2 = batch_norm()

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B h w D"]:
        x = self.bn1(self.conv1(x), use_running_average=not train)
        record(self, "conv1", x)
        x = self.bn2(self.conv2(jax.nn.relu(x)), use_running_average=not train)
        record(self, "conv2", x)
        return x


class Bottleneck(Residual):
    """1x1 down to a quarter of the channels, 3x3 with the stride, 1x1 up again."""

    expansion = 4

    def setup(self):
        super().setup()
        narrow = self.channels // self.expansion
        self.conv1 = conv(narrow, 1)
        self.bn1 = batch_norm()
        self.conv2 = conv(narrow, 3, self.stride)
        self.bn2 = batch_norm()
        self.conv3 = conv(self.channels, 1)
        self.bn3 = batch_norm()

    def branch(self, x: Float[Array, "B H W C"], train: bool) -> Float[Array, "B h w D"]:
        x = self.bn1(self.conv1(x), use_running_average=not train)
        record(self, "conv1", x)
        x = self.bn2(self.conv2(jax.nn.relu(x)), use_running_average=not train)
        record(self, "conv2", x)
        x = self.bn3(self.conv3(jax.nn.relu(x)), use_running_average=not train)
        record(self, "conv3", x)
        return x


def residual_stages(block: type[Residual], repeats: tuple[int, ...], widths: tuple[int, ...], shortcut: str) -> Blocks:
    """The blocks ``stage<s>_block<b>``; every stage but the first halves the image.

    ``shortcut`` is the kind used where the shape changes. Raises InputError for widths that do not match the stages.
    """
    if len(widths) != len(repeats):
        raise InputError(f"a ResNet of {len(repeats)} stages cannot have the widths {widths}; give one for each stage")
    blocks, entering = [], widths[0]
    for stage, (repeat, width) in enumerate(zip(repeats, widths, strict=True), start=1):
        for number in range(1, repeat + 1):
            channels, stride = width * block.expansion, 2 if number == 1 < stage else 1
            changed = stride != 1 or channels != entering
            blocks.append((f"stage{stage}_block{number}", block(channels, stride, shortcut if changed else "identity")))
            entering = channels
    return tuple(blocks)


def cifar_resnet(num_classes: int, *, depth: int, widths: tuple[int, ...] = (16, 32, 64)) -> Blocks:
    """The CIFAR form with ``depth = 6n + 2`` weight layers (8, 20, 32, 44, 56, …) and ``widths`` channels a stage.

    Raises InputError for another depth, and for widths that shrink, which a padded shortcut cannot follow.
    """
    repeat, rest = divmod(depth - 2, 6)
    if repeat < 1 or rest:
        raise InputError(f"a CIFAR ResNet cannot have {depth} layers; choose 6n + 2 of them: 8, 20, 32, 44, 56, …")
    if list(widths) != sorted(widths):
        raise InputError(f"the stages of a CIFAR ResNet cannot shrink as {widths} do; give rising widths")
    stages = residual_stages(BasicBlock, (repeat, repeat, repeat), widths, "pad")
    return ("stem", Stem(widths[0])), *stages, ("head", Head(num_classes))


def resnet(
    num_classes: int,
    *,
    block: type[Residual],
    repeats: tuple[int, int, int, int],
    widths: tuple[int, ...] = (64, 128, 256, 512),
    stem: str = "cifar",
) -> Blocks:
    """The ImageNet form, with the stem of either size (``make_stem``).

    ResNet-18 has the basic block and ``repeats`` (2, 2, 2, 2); ResNet-50 and ResNet-101 the bottleneck and
    (3, 4, 6, 3) and (3, 4, 23, 3). Raises InputError for an unknown stem or a wrong number of widths.
    """
    stages = residual_stages(block, repeats, widths, "project")
    return ("stem", make_stem(stem, widths[0])), *stages, ("head", Head(num_classes))
