"""Filters that several corruptions share.

A linear filter along one axis is a small constant matrix, whose row ``i`` holds the weights of output pixel ``i``;
borders are part of the matrix. A filter whose direction is drawn for each image is a sum of shifted copies.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

REFERENCE_SIZE = 32  # pixels; the sizes in pixels of the published constants are meant for such images


def pixel_scale(image: Float[Array, "H W C"]) -> float:
    """What lengths in pixels are multiplied with: the shorter side over 32, and 1 for images smaller than that."""
    return max(1.0, min(image.shape[:2]) / REFERENCE_SIZE)


def grey_levels(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Values in [0, 1] as whole levels 0 … 255, cut off and not rounded, as the reference stores them in 8 bits.

    A value within 0.001 below a level counts as that level, for ``k / 255 * 255`` may come out less than ``k``.
    """
    return jnp.floor(x * 255 + 1e-3)


def gaussian_matrix(size: int, sigma: float, radius: int, border: str) -> Float[np.ndarray, "size size"]:
    """A Gaussian of ``2 * radius + 1`` taps; ``border`` is a mode of ``numpy.pad``."""
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    sources = np.pad(np.arange(size), radius, mode=border)
    matrix = np.zeros((size, size), np.float32)
    for tap, weight in enumerate(taps / taps.sum()):
        np.add.at(matrix, (np.arange(size), sources[tap : tap + size]), weight)
    return matrix


def linear_matrix(size: int, positions: Float[np.ndarray, " new"]) -> Float[np.ndarray, "new size"]:
    """Linear interpolation between ``size`` pixels at ``positions`` in [0, size - 1]."""
    distances = np.abs(positions[:, None] - np.arange(size))
    return np.maximum(0, 1 - distances).astype(np.float32)


def zoom_matrix(size: int, factor: float) -> Float[np.ndarray, "size size"]:
    """Enlarges the centre by ``factor`` >= 1.

    The crop and the enlarged crop have whole numbers of pixels and share their end points, so that a factor near 1
    shifts by up to half a pixel, as in the reference.
    """
    crop = math.ceil(size / factor)
    enlarged = round(crop * factor)
    positions = (np.arange(size) + (enlarged - size) // 2) * ((crop - 1) / max(enlarged - 1, 1))
    return linear_matrix(size, positions + (size - crop) // 2)


def box_matrix(size: int, new: int) -> Float[np.ndarray, "new size"]:
    """Box-filtered resizing: the mean of the pixels whose centres lie in the new pixel, or else the nearest one."""
    step = size / new
    centres = (np.arange(new)[:, None] + 0.5) * step
    offsets = (np.arange(size) + 0.5 - centres) / max(step, 1.0)
    inside = ((offsets > -0.5) & (offsets <= 0.5)).astype(np.float32)
    return inside / inside.sum(axis=1, keepdims=True)


def separable(
    image: Float[Array, "H W C"], rows: Float[np.ndarray, "h H"], columns: Float[np.ndarray, "w W"]
) -> Float[Array, "h w C"]:
    """Applies one matrix along the rows' axis and another along the columns'."""
    return jnp.einsum("ih,jw,hwc->ijc", rows, columns, image, precision="highest")


def gaussian_blur(image: Float[Array, "H W C"], sigma: float, radius: int, border: str) -> Float[Array, "H W C"]:
    """A Gaussian of ``2 * radius + 1`` taps along both axes; ``border`` is a mode of ``numpy.pad``."""
    rows, columns = (gaussian_matrix(size, sigma, radius, border) for size in image.shape[:2])
    return separable(image, rows, columns)


def smear(image: Float[Array, "H W C"], angle: Float[Array, ""], radius: float, sigma: float) -> Float[Array, "H W C"]:
    """A one-sided Gaussian of ``2 * ceil(radius) + 1`` taps along ``angle`` (radians); edge pixels repeat.

    Tap ``i`` lies ``i`` pixels away, rounded to whole pixels. Taps beyond five sigma weigh nothing and are left out.
    """
    reach = min(2 * math.ceil(radius), math.ceil(5 * sigma))
    steps = np.arange(reach + 1, dtype=np.float32)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    starts = reach + jnp.round(steps[:, None] * jnp.stack([jnp.sin(angle), jnp.cos(angle)])).astype(int)
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")

    def add(total, tap):
        (row, column), weight = tap
        return total + weight * jax.lax.dynamic_slice(padded, (row, column, 0), image.shape), None

    return jax.lax.scan(add, jnp.zeros_like(image), (starts, weights / weights.sum()))[0]


def bilinear(
    image: Float[Array, "H W C"], rows: Float[Array, "H W"], columns: Float[Array, "H W"], border: str
) -> Float[Array, "H W C"]:
    """The image at fractional positions; ``border`` is ``reflect`` (about the edge pixels' centres) or ``symmetric``.

    (Terms as in ``numpy.pad``: ``symmetric`` repeats the edge pixel, ``reflect`` does not.)
    """
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]

    def at(row, column):
        return image[_mirrored(row, image.shape[0], border), _mirrored(column, image.shape[1], border)]

    upper = (1 - right) * at(top, left) + right * at(top, left + 1)
    lower = (1 - right) * at(top + 1, left) + right * at(top + 1, left + 1)
    return (1 - down) * upper + down * lower


def _mirrored(index: Float[Array, "H W"], size: int, border: str) -> Int[Array, "H W"]:
    repeated = int(border == "symmetric")
    period = 2 * size - 2 + 2 * repeated
    index = index.astype(int) % period
    return jnp.minimum(index, period - repeated - index)
