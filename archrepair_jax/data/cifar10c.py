"""CIFAR-10-C (Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261): the published arrays of corrupted test images."""

import difflib
import pathlib

import numpy as np

from archrepair_jax.data.sources.arrays import to_labels
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError

SEVERITIES = 5


def load(folder: str | pathlib.Path, kind: str, severity: int, n: int = 0) -> Split:
    """The first ``n`` (0: all) test images of CIFAR-10 under one corruption.

    ``KIND.npy`` stacks all test images five times, severity 1 first, so that image i of the split is image i of the
    clean test set. The file is memory-mapped: only the rows asked for are read.

    Args:
        folder: where ``KIND.npy``, uint8 [5N, 32, 32, 3], and ``labels.npy``, integers [5N], lie.
        kind: for example ``gaussian_noise`` or ``motion_blur``.
        severity: 1 to 5.
        n: how many images.

    Raises:
        InputError: a file is missing, damaged or not of that form, or a value is out of its range.
    """
    folder = pathlib.Path(folder).expanduser()
    if severity not in range(1, SEVERITIES + 1):
        raise InputError(f"severity {severity} does not exist in CIFAR-10-C: choose 1 to {SEVERITIES}")
    path = folder / f"{kind}.npy"
    if not path.is_file():
        kinds = sorted(file.stem for file in folder.glob("*.npy") if file.stem != "labels")
        near = difflib.get_close_matches(kind, kinds, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(kinds) or 'none'}; unpack CIFAR-10-C there"
        raise InputError(f"{folder} has no corruption {kind!r}: {hint}")
    images, labels = _mapped(path), _mapped(folder / "labels.npy")
    total, remainder = divmod(len(images), SEVERITIES) if images.ndim == 4 else (0, 1)
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or remainder or not total:
        raise InputError(
            f"{path} is {images.dtype} {images.shape}, not uint8 (5N, 32, 32, 3): fetch the CIFAR-10-C arrays again"
        )
    labels = to_labels(labels, len(images), f"{folder / 'labels.npy'}")
    if labels.max() > 9:
        raise InputError(f"{folder / 'labels.npy'} holds {labels.max()}: the classes of CIFAR-10 are 0..9")
    if not 0 <= n <= total:
        raise InputError(f"{n} images asked of {path}, which has {total} a severity: choose 0 (all) to {total}")
    start = (severity - 1) * total
    rows = slice(start, start + (n or total))
    return Split(np.array(images[rows]), labels[rows])


def _mapped(path: pathlib.Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")  # of np.load the part that knows no pickles
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}): check the folder and the name") from error
    except Exception as error:  # of a damaged header numpy lets through whatever Python's parser raises
        raise InputError(
            f"cannot read {path}: it is truncated or no array; fetch the CIFAR-10-C arrays again"
        ) from error
