"""Digital corruptions: contrast, elastic deformation and pixelation. JPEG is in ``jpeg.py``."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.data.corruptions.filters import bilinear, box_matrix, gaussian_blur, pixel_scale, separable


def contrast(image: Float[Array, "H W C"], _: PRNGKeyArray, amount: float) -> Float[Array, "H W C"]:
    """Leaves ``amount`` of each channel's deviation from its mean over the image."""
    mean = image.mean((0, 1), keepdims=True)
    return (image - mean) * amount + mean


def elastic_transform(
    image: Float[Array, "H W C"], key: PRNGKeyArray, strength: float, sigma: float, affine: float
) -> Float[Array, "H W C"]:
    """A random affine map, then random displacements of ``strength`` smoothed by a Gaussian of ``sigma``.

    All three are fractions of the shorter side. Where that is above 32, ``strength`` grows with it once more, for the
    wider Gaussian averages more of the noise away. The map moves three corners of a centred square, whose sides measure
    two thirds of the shorter side, by up to ``affine`` along each axis.
    """
    corners, field = jax.random.split(key)
    side = min(image.shape[:2])
    position = jnp.stack(jnp.meshgrid(*map(jnp.arange, image.shape[:2]), indexing="ij"), -1).astype(float)
    moved = jax.random.uniform(corners, (3, 2), minval=-affine * side, maxval=affine * side)
    image = bilinear(image, *jnp.moveaxis(_affine_source(position, moved, side // 3), -1, 0), border="reflect")
    if strength == 0:
        return image
    noise = jax.random.uniform(field, position.shape, minval=-1, maxval=1)
    radius = int(3 * sigma * side + 0.5)
    reach = strength * side * pixel_scale(image)
    position += reach * gaussian_blur(noise, sigma * side, radius, "symmetric")
    return bilinear(image, *jnp.moveaxis(position, -1, 0), border="symmetric")


def _affine_source(position: Float[Array, "H W 2"], moved: Float[Array, "3 2"], half: int) -> Float[Array, "H W 2"]:
    """Where pixels come from when the centre's corners (+, +), (+, -) and (-, -), ``half`` away, are ``moved``."""
    corner = np.array(position.shape[:2]) // 2 + np.array([half, -half])
    down = jnp.array([1.0, 0.0]) + (moved[1] - moved[2]) / (2 * half)
    right = jnp.array([0.0, 1.0]) + (moved[0] - moved[1]) / (2 * half)
    from_corner = position - corner - moved[1]
    rows = from_corner[..., 0] * right[1] - from_corner[..., 1] * right[0]
    columns = from_corner[..., 1] * down[0] - from_corner[..., 0] * down[1]
    return corner + jnp.stack([rows, columns], -1) / (down[0] * right[1] - down[1] * right[0])


def pixelate(image: Float[Array, "H W C"], _: PRNGKeyArray, share: float) -> Float[Array, "H W C"]:
    """Box-filters the image down to ``share`` of its sides and up again."""
    for_axis = []
    for size in image.shape[:2]:
        small = int(size * share)
        for_axis.append(box_matrix(small, size) @ box_matrix(size, small))
    return separable(image, *for_axis)
