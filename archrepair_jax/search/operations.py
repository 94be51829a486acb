"""Candidate operations: what an edge of a searched block may compute.

Every candidate is ``normalise(linear(transform(x)))``, where ``linear`` mixes channels at each position, and only
``transform`` differs. Names follow DARTS (Liu et al., ICLR 2019) where the operation does; ours, with image corruptions
in mind, are the low-pass ``blur_conv`` and the gate that lets an image's global statistics steer its channels. Unlike
DARTS' ``sep_conv``, ours is one depthwise and one pointwise convolution, not two of each.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from archrepair_jax.models.blocks import batch_norm, record

ORIGINAL = "original"  # the candidate that is the block's own branch


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shifted_sum(x: Float[Array, "B H W C"], kernel: Float[Array, "k k C"], stride: int = 1, dilation: int = 1) -> Array:
    """Depthwise convolution with symmetric zero padding, as k·k shifted multiply-adds: [B, ⌈H/s⌉, ⌈W/s⌉, C].

    The same as ``lax.conv`` with ``feature_group_count=C``, which is several times slower on CPUs for small kernels.
    Its gradient for ``x`` is written as another shifted sum: what autodiff makes of the slices is slower still.
    """
    taps = [shifted * kernel[i, j] for (i, j), shifted in shifts(x, len(kernel), stride, dilation)]
    return sum(taps[1:], taps[0])


def shifts(
    x: Float[Array, "B H W C"], size: int, stride: int, dilation: int
) -> Iterator[tuple[tuple[int, int], Array]]:
    """``x`` as each of the size·size taps sees it, zeros coming in from outside."""
    height, width = x.shape[1:3]
    reach = dilation * (size // 2)
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    for i, j in itertools.product(range(size), repeat=2):
        rows = slice(i * dilation, i * dilation + height, stride)
        columns = slice(j * dilation, j * dilation + width, stride)
        yield (i, j), padded[:, rows, columns]


def shifted_sum_forward(x, kernel, stride, dilation):
    return shifted_sum(x, kernel, stride, dilation), (x, kernel)


def shifted_sum_backward(stride, dilation, saved, gradient):
    x, kernel = saved
    size, gap = len(kernel), stride - 1
    rest = [n - 1 - stride * (m - 1) for n, m in zip(x.shape[1:3], gradient.shape[1:3], strict=True)]
    spread = jax.lax.pad(gradient, jnp.zeros((), x.dtype), ((0, 0, 0), (0, rest[0], gap), (0, rest[1], gap), (0, 0, 0)))
    for_x = shifted_sum(spread, kernel[::-1, ::-1], 1, dilation)
    for_kernel = [(shifted * gradient).sum((0, 1, 2)) for _, shifted in shifts(x, size, stride, dilation)]
    return for_x, jnp.stack(for_kernel).reshape(kernel.shape)


shifted_sum.defvjp(shifted_sum_forward, shifted_sum_backward)


class Depthwise(nn.Module):
    """A learned depthwise filter."""

    size: int
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], stride: int) -> Array:
        shape = (self.size, self.size, x.shape[-1])
        init = nn.initializers.truncated_normal(1 / self.size)  # keeps the scale of its input
        return shifted_sum(x, self.param("kernel", init, shape), stride, self.dilation)


class Blur(nn.Module):
    """A fixed binomial low-pass filter: noise is high-pass, images are not."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], stride: int) -> Array:
        row = jnp.array([0.25, 0.5, 0.25], x.dtype)
        return shifted_sum(x, jnp.broadcast_to(jnp.outer(row, row)[..., None], (3, 3, x.shape[-1])), stride)


class Gate(nn.Module):
    """Scales each channel by a sigmoid of the spatial means of all (squeeze-and-excitation without its bottleneck)."""

    @nn.compact
    def __call__(self, x: Float[Array, "B ... C"], stride: int) -> Array:
        means = x.mean(tuple(range(1, x.ndim - 1)), keepdims=True)
        return subsample(x * 2 * nn.sigmoid(nn.Dense(x.shape[-1], name="gate")(means)), stride)


class Direct(nn.Module):
    """Nothing before the linear map."""

    def __call__(self, x: Float[Array, "B ... C"], stride: int) -> Array:
        return subsample(x, stride)


class Bottleneck(nn.Module):
    """A hidden layer of a quarter of the width, for blocks of vectors."""

    @nn.compact
    def __call__(self, x: Float[Array, "B C"], stride: int) -> Array:
        return nn.relu(nn.Dense(max(1, x.shape[-1] // 4), name="hidden")(x))


def subsample(x: Float[Array, "B ..."], stride: int) -> Array:
    return x[:, ::stride, ::stride] if stride > 1 else x


SPATIAL: dict[str, Callable[[], nn.Module]] = {
    "sep_conv_3x3": lambda: Depthwise(3),
    "sep_conv_5x5": lambda: Depthwise(5),
    "dil_conv_3x3": lambda: Depthwise(3, dilation=2),
    "blur_conv_3x3": Blur,
    "gated_conv_1x1": Gate,
    "conv_1x1": Direct,
}
VECTOR: dict[str, Callable[[], nn.Module]] = {"dense": Direct, "bottleneck": Bottleneck, "gated_dense": Gate}


class Candidate(nn.Module):
    """One operation on one edge.

    Attributes:
        operation: a key of ``SPATIAL`` or ``VECTOR``.
        channels: how many come out.
        stride: spatial stride.
        silent: starts at zero (the last scale is 0), so that adding the operation changes nothing at first.
    """

    operation: str
    channels: int
    stride: int = 1
    silent: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        x = (SPATIAL | VECTOR)[self.operation]()(x, self.stride)
        x = nn.Dense(self.channels, use_bias=False, name="linear")(x)
        scale = nn.initializers.zeros if self.silent else nn.initializers.ones
        y = batch_norm(scale_init=scale, name="norm")(x, use_running_average=not train)
        record(self, "linear", y)
        return y
