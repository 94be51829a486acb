"""Weather: snow, frost, fog and a brighter day."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.data.corruptions.filters import grey_levels, pixel_scale, separable, smear, zoom_matrix
from archrepair_jax.data.corruptions.textures import frost_texture, plasma

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def grey(image: Float[Array, "H W C"]) -> Float[Array, "H W 1"]:
    """The luma of a colour image; a grey image as it is."""
    return image if image.shape[-1] == 1 else (image * LUMA).sum(-1, keepdims=True)


def snow(
    image: Float[Array, "H W C"],
    key: PRNGKeyArray,
    flakes: tuple[float, float, float, float],
    streak: tuple[float, float],
    mix: float,
) -> Float[Array, "H W C"]:
    """Whitens the image by ``1 - mix`` and adds flakes: thresholded normal noise, enlarged and smeared downwards.

    ``flakes`` are the noise's mean and deviation, the zoom and the threshold, ``streak`` the smear's radius and sigma;
    the zoom and the smear grow with the image. The layer is added twice, the
    second time turned by 180°. It has whole grey levels before and after the smear, as in the reference: half a level
    more in each of the two would show in the figures.
    """
    scale = pixel_scale(image)
    (mean, deviation, zoom, threshold), (radius, sigma) = flakes, streak
    where, direction = jax.random.split(key)
    layer = mean + deviation * jax.random.normal(where, (*image.shape[:2], 1))
    layer = separable(layer, *(zoom_matrix(size, zoom * scale) for size in image.shape[:2]))
    layer = jnp.clip(jnp.where(layer < threshold, 0, layer), 0, 1)
    angle = jax.random.uniform(direction, minval=-0.75 * jnp.pi, maxval=-0.25 * jnp.pi)
    layer = smear(grey_levels(layer) / 255, angle, radius * scale, sigma * scale)
    layer = grey_levels(layer) / 255
    white = jnp.maximum(image, 1.5 * grey(image) + 0.5)
    return mix * image + (1 - mix) * white + layer + layer[::-1, ::-1]


def frost(image: Float[Array, "H W C"], key: PRNGKeyArray, clear: float, frosted: float) -> Float[Array, "H W C"]:
    """``clear`` of the image plus ``frosted`` of a frost texture."""
    texture = frost_texture(key, image.shape[:2], pixel_scale(image))
    return clear * image + frosted * (grey(texture) if image.shape[-1] == 1 else texture)


def fog(image: Float[Array, "H W C"], key: PRNGKeyArray, amount: float, decay: float) -> Float[Array, "H W C"]:
    """Adds ``amount`` of plasma, and scales the sum so that the image's maximum stays what it was."""
    brightest = image.max()
    return (image + amount * plasma(key, image.shape[:2], decay)) * brightest / (brightest + amount)


def brightness(image: Float[Array, "H W C"], _: PRNGKeyArray, amount: float) -> Float[Array, "H W C"]:
    """Adds ``amount`` to the value V of HSV, at unchanged hue and saturation; black becomes grey."""
    value = image.max(-1, keepdims=True)
    brighter = jnp.minimum(value + amount, 1)
    return jnp.where(value > 0, image * brighter / jnp.where(value > 0, value, 1), brighter)
