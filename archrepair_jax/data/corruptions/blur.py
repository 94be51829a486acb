"""Blurs: out of focus, through frosted glass, moving and zooming."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from archrepair_jax.data.corruptions.filters import (
    gaussian_blur,
    gaussian_matrix,
    grey_levels,
    pixel_scale,
    separable,
    smear,
    zoom_matrix,
)


def defocus_blur(image: Float[Array, "H W C"], _: PRNGKeyArray, radius: float, alias: float) -> Float[Array, "H W C"]:
    """Filters with a disc of ``radius`` pixels, smoothed by a Gaussian of sigma ``alias``; both grow with the image."""
    scale = pixel_scale(image)
    kernel = _disc(radius * scale, alias * scale, window=round(scale))
    reach = len(kernel) // 2
    channels = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect").transpose(2, 0, 1)
    blurred = jax.lax.conv(channels[:, None], kernel[None, None], (1, 1), "VALID", precision="highest")
    return blurred[:, 0].transpose(1, 2, 0)


def _disc(radius: float, alias: float, window: int) -> Float[np.ndarray, "k k"]:
    reach = int(radius) + window
    squares = np.arange(-reach, reach + 1) ** 2
    disc = (squares[:, None] + squares <= radius**2).astype(np.float32)
    smooth = gaussian_matrix(len(disc), alias, window, "edge")
    return smooth @ (disc / disc.sum()) @ smooth.T


def glass_blur(
    image: Float[Array, "H W C"], key: PRNGKeyArray, sigma: float, delta: int, sweeps: int
) -> Float[Array, "H W C"]:
    """Blurs, lets pixels take a near pixel's value in ``sweeps`` sweeps, and blurs again.

    ``sigma`` and ``delta``, the reach of a step, grow with the image.
    """
    scale = pixel_scale(image)
    sigma, delta = sigma * scale, round(delta * scale)
    radius = int(4 * sigma + 0.5)
    image = grey_levels(gaussian_blur(image, sigma, radius, "edge")) / 255
    for sweep in range(sweeps):
        image = _scatter(image, jax.random.fold_in(key, sweep), delta)
    return gaussian_blur(image, sigma, radius, "edge")


def _scatter(image: Float[Array, "H W C"], key: PRNGKeyArray, delta: int) -> Float[Array, "H W C"]:
    """One sweep of ``swept_sources`` with offsets drawn from {-delta … delta - 1}²."""
    height, width, channels = image.shape
    offsets = jnp.floor(jax.random.uniform(key, (2, height, width), minval=-delta, maxval=delta)).astype(int)
    return image.reshape(-1, channels)[swept_sources(offsets, delta)].reshape(image.shape)


def swept_sources(offsets: Int[Array, "2 H W"], delta: int) -> Int[Array, " pixels"]:
    """Whose value each pixel has after a sweep from the last pixel to the first, as flat indices.

    Each pixel further than ``delta`` inside takes the value that the pixel at its offset (down, right) has by then;
    as in the published generator it is copied, not exchanged. A source that the sweep has passed holds its own
    source's value. Such chains are followed to their ends all at once, by doubling the steps.
    """
    _, height, width = offsets.shape
    rows, columns = np.mgrid[:height, :width]
    inner = (rows > delta) & (rows <= height - delta) & (columns > delta) & (columns <= width - delta)
    own = jnp.arange(height * width)
    source = own + jnp.where(inner, offsets[0] * width + offsets[1], 0).ravel()
    if delta == 1:  # no offset points forward, to what the sweep has passed
        return source
    passed = (source > own) & jnp.asarray(inner).ravel()[source]
    end = jnp.where(passed, source, own)
    for _ in range(own.size.bit_length()):
        end = end[end]
    return source[end]


def motion_blur(image: Float[Array, "H W C"], key: PRNGKeyArray, radius: float, sigma: float) -> Float[Array, "H W C"]:
    """Smears along a direction within 45° of the rows; ``radius`` and ``sigma`` grow with the image."""
    scale = pixel_scale(image)
    angle = jax.random.uniform(key, minval=-jnp.pi / 4, maxval=jnp.pi / 4)
    return smear(image, angle, radius * scale, sigma * scale)


def zoom_blur(image: Float[Array, "H W C"], _: PRNGKeyArray, limit: float) -> Float[Array, "H W C"]:
    """The mean of the image and its centre zooms by 1, 1.01, 1.02, … up to ``limit``, which rounding may take in."""
    factors = np.arange(1, limit, 0.01)  # 1.06 and 1.11 are their own last factors, as in the reference
    total = image
    for factor in factors:
        total += separable(image, *(zoom_matrix(size, factor) for size in image.shape[:2]))
    return total / (len(factors) + 1)
