"""Textures drawn at random: plasma for fog, and frost."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

# mean colour and standard deviation of the reference's five photographs of frost, at a fifth of their size
PANES = np.array([(78, 149, 166), (201, 205, 215), (201, 205, 215), (138, 153, 166), (112, 123, 135)], np.float32) / 255
DEVIATIONS = np.array([20, 22, 22, 29, 43], np.float32) / 255
GROUND, CRYSTALS, GRAIN = 0.45, 0.25, 0.3  # shares of the variance, ours: the autocorrelation and the harm fit


def plasma(key: PRNGKeyArray, shape: tuple[int, int], decay: float) -> Float[Array, "H W 1"]:
    """Plasma in [0, 1] by diamond-square, cut from a torus of the next power of two.

    A round doubles the grid: the centre of a square of points is their mean plus noise, and so is the middle of
    each edge, whose neighbours are its ends and the centres beside it. Noise is uniform and shrinks by ``decay``
    squared a round.
    """
    points = jnp.zeros((1, 1))
    rounds = (max(shape) - 1).bit_length()
    noise = jax.random.uniform(key, ((4**rounds - 1) // 3, 3), minval=-1, maxval=1)  # one draw compiles fastest
    for number in range(rounds):
        drawn, noise = jnp.split(noise, [points.size])
        swings = decay ** (-2 * number) * drawn.T.reshape(3, *points.shape)
        below, right = jnp.roll(points, -1, 0), jnp.roll(points, -1, 1)
        centre = (points + below + right + jnp.roll(below, -1, 1)) / 4 + swings[0]
        across = (points + right + centre + jnp.roll(centre, 1, 0)) / 4 + swings[1]
        down = (points + below + centre + jnp.roll(centre, 1, 1)) / 4 + swings[2]
        quads = jnp.stack([points, across, down, centre], -1).reshape(*points.shape, 2, 2)
        points = quads.transpose(0, 2, 1, 3).reshape(2 * len(points), -1)
    points = (points - points.min()) / (points.max() - points.min())
    return points[: shape[0], : shape[1], None]


def frost_texture(key: PRNGKeyArray, shape: tuple[int, int], scale: float) -> Float[Array, "H W 3"]:
    """A piece of one of five frosted panes, drawn in place of the five photographs of the reference (ours).

    A pane has the mean colour and the deviation of a photograph. The deviation is one field for all channels: a
    smooth ground, crystals and grain, in shares that give the photographs' autocorrelation. The ground and the
    crystals grow with the image by ``scale``; the grain is of one pixel, as in any photograph.
    """
    keys = jax.random.split(key, 4)
    pane, direction = jax.random.uniform(keys[0], (2,))
    pane = jnp.floor(pane * len(PANES)).astype(int)
    crystals = _crystals(keys[1], shape, scale, jnp.pi * direction)
    field = GROUND**0.5 * _ground(keys[2], shape, 12 * scale) + GRAIN**0.5 * jax.random.normal(keys[3], shape)
    field += CRYSTALS**0.5 * jax.nn.standardize(crystals, axis=None)
    return jnp.asarray(PANES)[pane] + jnp.asarray(DEVIATIONS)[pane] * field[..., None]


def _ground(key: PRNGKeyArray, shape: tuple[int, int], length: float) -> Float[Array, "H W"]:
    """A Gaussian field of unit variance: bumps of width ``length`` on a grid of knots that reaches beyond the image."""

    def bumps(size):
        knots = np.arange(-3 * length, size + 3 * length, length)
        weights = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / length) ** 2)
        return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)

    rows, columns = map(bumps, shape)
    return rows @ jax.random.normal(key, (rows.shape[1], columns.shape[1])) @ columns.T


def _crystals(
    key: PRNGKeyArray, shape: tuple[int, int], scale: float, direction: Float[Array, ""]
) -> Float[Array, "H W"]:
    """Bright streaks within half a radian of ``direction``, 0.6 pixels in width and about 6 in length."""
    margin = 8 * scale
    sides = shape[0] + 2 * margin, shape[1] + 2 * margin
    count = round(sides[0] * sides[1] / (115 * scale**2))
    row, column, turn, size, light = jax.random.uniform(key, (5, count, 1, 1))
    angle = direction + turn - 0.5
    length = scale * (1 - 5 * jnp.log1p(-size))  # exponentially distributed, as their light is
    down = np.arange(shape[0])[:, None] + margin - row * sides[0]
    right = np.arange(shape[1]) + margin - column * sides[1]
    along = jnp.cos(angle) * right + jnp.sin(angle) * down
    across = jnp.cos(angle) * down - jnp.sin(angle) * right
    return (-jnp.log1p(-light) * jnp.exp(-0.5 * ((along / length) ** 2 + (across / (0.6 * scale)) ** 2))).sum(0)
