"""The 1797 handwritten digits that come with scikit-learn: real images without a download."""

import numpy as np
from jaxtyping import Float, UInt8

from archrepair_jax.data.sources.contract import DataSettings, Source
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError

SIDE = 32


def read(settings: DataSettings) -> Source:
    """The digits as [1797, 32, 32, 1], one training part without a test part."""
    from sklearn.datasets import load_digits  # here, because importing it takes a second

    if settings.path:
        raise InputError(
            f"data.path={settings.path!r} means nothing to data.name=digits: leave it empty, or say what it is, "
            "data.name=npz or data.name=folder"
        )
    bunch = load_digits()
    split = Split(enlarge(bunch.images), bunch.target.astype(np.int32))
    return Source("digits", tuple("0123456789"), {"train": split})


def enlarge(images: Float[np.ndarray, "N S S"]) -> UInt8[np.ndarray, "N 32 32 1"]:
    """Bilinear interpolation to 32x32 and from 0..16 to 0..255, rounded (half to even).

    Pixels are cells: the centre of cell i of n lies at (i + 1/2) / n of the side. Beyond the outermost centres the
    border value goes on. For 8x8 images all weights are dyadic, so every platform gives the same bytes.
    """
    cells = images.shape[1]
    centres = np.clip((np.arange(SIDE) + 0.5) * cells / SIDE - 0.5, 0, cells - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(cells)))
    return np.rint(weights @ images @ weights.T * (255 / 16)).astype(np.uint8)[..., None]
