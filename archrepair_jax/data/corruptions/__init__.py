"""The fifteen corruptions of CIFAR-10-C, drawn on the device.

Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019,
with the constants that they publish for CIFAR-10. Ours agree with theirs in their statistics, not draw for draw (see
results/corruptions.csv), and frost is drawn where theirs is photographed; figures for comparison with other papers
need the published arrays.
"""

import difflib
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from archrepair_jax.data.corruptions import blur, digital, jpeg, noise, weather
from archrepair_jax.data.corruptions.filters import grey_levels
from archrepair_jax.errors import InputError

# kind: (function of an image, a key and constants; the constants of each severity)
CORRUPTIONS = {
    "gaussian_noise": (noise.gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    "shot_noise": (noise.shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    "impulse_noise": (noise.impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    "defocus_blur": (blur.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (blur.glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    "motion_blur": (blur.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (blur.zoom_blur, ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,))),
    "snow": (
        weather.snow,
        (
            ((0.1, 0.2, 1, 0.6), (8, 3), 0.95),
            ((0.1, 0.2, 1, 0.5), (10, 4), 0.9),
            ((0.15, 0.3, 1.75, 0.55), (10, 4), 0.9),
            ((0.25, 0.3, 2.25, 0.6), (12, 6), 0.85),
            ((0.3, 0.3, 1.25, 0.65), (14, 12), 0.8),
        ),
    ),
    "frost": (weather.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (weather.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (weather.brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
    "contrast": (digital.contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    "elastic_transform": (
        digital.elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (digital.pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    "jpeg_compression": (jpeg.jpeg_compression, ((80,), (65,), (58,), (50,), (40,))),
}
KINDS = tuple(CORRUPTIONS)
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images: Float[Array, "B H W C"], key: PRNGKeyArray, *, kind: str, severity: int) -> Float[Array, "B H W C"]:
    """Corrupts a batch: image ``i`` is ``corrupt_one`` with ``fold_in(key, i)``, whatever else is in the batch.

    Images are in [0, 1]. Raises InputError as ``corrupt_one`` does.
    """
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(len(images)))
    return jax.vmap(functools.partial(corrupt_one, kind=kind, severity=severity))(images, keys)


@functools.partial(jax.jit, static_argnames=("kind", "severity"))
def corrupt_one(image: Float[Array, "H W C"], key: PRNGKeyArray, *, kind: str, severity: int) -> Float[Array, "H W C"]:
    """Corrupts one image, which is and stays in [0, 1], as ``kind`` of ``KINDS`` does with ``severity`` 1 to 5.

    The image is grey (C = 1) or RGB. Constants that are lengths in pixels belong to a shorter side of 32 and grow in
    proportion to longer ones; those of noise, JPEG's 8x8 blocks and the grain of frost do not. Raises InputError for
    another kind or severity, or an image of integers or of other channels.
    """
    if kind not in CORRUPTIONS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]}? The kinds are" if near else "choose one of"
        raise InputError(f"no corruption is called {kind!r}; {hint} {', '.join(KINDS)}")
    if severity not in SEVERITIES:
        raise InputError(f"no corruption has the severity {severity!r}; choose one of 1, 2, 3, 4, 5")
    if image.shape[-1] not in (1, 3) or not jnp.issubdtype(image.dtype, jnp.floating):
        given = f"{image.dtype} images of {image.shape[-1]} channels"
        raise InputError(f"cannot corrupt {given}; give floats in [0, 1] of 1 or 3 channels")
    function, constants = CORRUPTIONS[kind]
    return jnp.clip(function(image, key, *constants[SEVERITIES.index(severity)]), 0, 1)


def quantize(images: Float[Array, "..."]) -> UInt8[Array, "..."]:
    """Images in [0, 1] as uint8, cut off to whole grey levels as in the published set, not rounded."""
    return grey_levels(images).astype(jnp.uint8)
