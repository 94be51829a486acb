"""Noise: every value of the image by itself, whatever the image's size."""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, PRNGKeyArray

FEW = 10  # counts with a mean up to here are drawn by summing the distribution
MOST = 32  # above which a count of mean FEW lies once in a hundred million draws


def gaussian_noise(image: Float[Array, "H W C"], key: PRNGKeyArray, sigma: float) -> Float[Array, "H W C"]:
    """Adds normal noise of standard deviation ``sigma``."""
    return image + sigma * jax.random.normal(key, image.shape)


def shot_noise(image: Float[Array, "H W C"], key: PRNGKeyArray, photons: float) -> Float[Array, "H W C"]:
    """Counts photons: a Poisson number of them where ``photons`` are expected from a value of 1."""
    return poisson(key, image * photons) / photons


def impulse_noise(image: Float[Array, "H W C"], key: PRNGKeyArray, amount: float) -> Float[Array, "H W C"]:
    """Salt and pepper: a share ``amount`` of the values becomes 1 or 0, with equal chances."""
    where, which = jax.random.split(key)
    hit = jax.random.bernoulli(where, amount, image.shape)
    return jnp.where(hit, jax.random.bernoulli(which, 0.5, image.shape), image)


def poisson(key: PRNGKeyArray, mean: Float[Array, "..."]) -> Float[Array, "..."]:
    """Poisson counts by inverting the distribution at one uniform draw each: no rejection, and any kind of key.

    Small means sum the distribution; large ones use the expansion of Giles, Approximation of the Inverse Poisson
    Cumulative Distribution Function, ACM TOMS 42 (2016), which is off by one in up to 5 of 10,000 draws.
    """
    uniform = jax.random.uniform(key, mean.shape, minval=jnp.finfo(jnp.float32).tiny)
    small = jnp.minimum(mean, FEW)
    probability = cumulated = jnp.exp(-small)
    few = jnp.zeros_like(mean)
    for count in range(1, MOST + 1):
        few += uniform > cumulated
        probability *= small / count
        cumulated += probability
    large = jnp.maximum(mean, FEW)
    root, normal = jnp.sqrt(large), ndtri(uniform)
    square = normal**2
    expansion = large + root * normal + (2 + square) / 6 - normal * (2 + square) / (72 * root)
    expansion += (square * (3 * square + 7) - 16) / (810 * large)
    return jnp.where(mean <= FEW, few, jnp.floor(expansion))
