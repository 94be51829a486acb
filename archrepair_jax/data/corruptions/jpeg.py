"""What is lost in a baseline JPEG file: colour resolution and the fine steps of the cosine transform.

ITU-T Recommendation T.81 (1992), with the colour space and the halved chroma of JFIF and the quality scale of libjpeg.
Entropy coding loses nothing and is left out.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from archrepair_jax.data.corruptions.filters import linear_matrix, separable

# T.81, Annex K.1: tables K.1 and K.2
LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip
CHROMINANCE = np.full((8, 8), 99)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# JFIF: Y, Cb and Cr of R, G and B in 0 … 255; the chroma is centred at 128
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
FROM_YCC = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)
CENTRE = np.array([0, 128, 128], np.float32)

COSINES = np.cos(np.pi / 16 * np.arange(8)[:, None] * (2 * np.arange(8) + 1)) / 2
COSINES[0] /= np.sqrt(2)
COSINES = COSINES.astype(np.float32)


def jpeg_compression(image: Float[Array, "H W C"], _: PRNGKeyArray, quality: int) -> Float[Array, "H W C"]:
    """Through JPEG and back at ``quality`` (1 to 100); a grey image has only the luma."""
    pixels = jnp.round(image * 255)
    if image.shape[-1] == 1:
        return _coded(pixels, LUMINANCE, quality) / 255
    planes = jnp.round(jnp.einsum("yc,hwc->hwy", TO_YCC, pixels, precision="highest") + CENTRE)
    luma = _coded(planes[..., :1], LUMINANCE, quality)
    chroma = _enlarged(_coded(_halved(planes[..., 1:]), CHROMINANCE, quality))[: image.shape[0], : image.shape[1]]
    planes = jnp.concatenate([luma, chroma], -1) - CENTRE
    return jnp.clip(jnp.round(jnp.einsum("cy,hwy->hwc", FROM_YCC, planes, precision="highest")), 0, 255) / 255


def _coded(planes: Float[Array, "H W C"], table: np.ndarray, quality: int) -> Float[Array, "H W C"]:
    """Planes of 0 … 255 whose 8x8 blocks were transformed and quantised; edges are repeated to fill a block."""
    height, width, channels = planes.shape
    padded = jnp.pad(planes, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge") - 128
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8, channels)
    steps = _steps(table, quality)[None, :, None, :, None]
    frequencies = jnp.einsum("ui,vj,aibjc->aubvc", COSINES, COSINES, blocks, precision="highest")
    frequencies = jnp.round(frequencies / steps) * steps
    blocks = jnp.einsum("ui,vj,aubvc->aibjc", COSINES, COSINES, frequencies, precision="highest")
    return jnp.clip(jnp.round(blocks.reshape(padded.shape) + 128), 0, 255)[:height, :width]


def _steps(table: np.ndarray, quality: int) -> Float[np.ndarray, "8 8"]:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255).astype(np.float32)


def _halved(planes: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
    height, width, channels = planes.shape
    even = jnp.pad(planes, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return jnp.round(even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).mean((1, 3)))


def _enlarged(planes: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
    """Twice the size by linear interpolation between the centres of the small pixels, as libjpeg does."""
    sizes = planes.shape[:2]
    matrices = (linear_matrix(n, np.clip((np.arange(2 * n) - 0.5) / 2, 0, n - 1)) for n in sizes)
    return jnp.round(separable(planes, *matrices))
