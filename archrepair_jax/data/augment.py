"""Random shifts and flips of one image; the jitted step maps them over its batch, a key an image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from archrepair_jax.keys import named

SHIFT = 4  # pixels, as in the usual CIFAR training


def shift(image: Float[Array, "H W C"], key: PRNGKeyArray) -> Float[Array, "H W C"]:
    """Moves the image by up to ``SHIFT`` pixels along both axes; black comes in from outside."""
    padded = jnp.pad(image, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    row, column = jax.random.randint(key, (2,), 0, 2 * SHIFT + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)


def flip(image: Float[Array, "H W C"], key: PRNGKeyArray) -> Float[Array, "H W C"]:
    """Mirrors the image left to right with probability one half."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


AUGMENTATIONS = {"shift": shift, "flip": flip}


def augment(images: Float[Array, "B H W C"], keys: Key[Array, "B"], names: tuple[str, ...]) -> Float[Array, "B H W C"]:
    """Applies the named augmentations in order to each image with its own key."""
    for name in names:
        images = jax.vmap(AUGMENTATIONS[name])(images, jax.vmap(lambda key, name=name: named(key, name))(keys))
    return images
