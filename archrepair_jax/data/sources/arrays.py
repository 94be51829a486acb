"""Images and labels from numpy files, checked before anything else sees them."""

import dataclasses
import pathlib
from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from archrepair_jax.data.sources.contract import PARTS, DataSettings, Source, existing
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError
from archrepair_jax.files import read_npz


def read(settings: DataSettings) -> Source:
    """An ``.npz`` with x_train, y_train, x_test, y_test and, optionally, x_validation and y_validation.

    ``class_names`` are read if it has them, and ``failing``, the places in x_train of those that are to be repaired.
    """
    path = existing(settings, "an .npz file with x_train, y_train, x_test and y_test")
    arrays = read_npz(path, lambda declared: wanted(path, declared))
    parts = {}
    for part in PARTS:
        if f"x_{part}" in arrays:
            images = to_images(arrays[f"x_{part}"], f"x_{part} of {path}")
            parts[part] = Split(images, to_labels(arrays[f"y_{part}"], len(images), f"y_{part} of {path}"))
    classes = np.unique(parts["train"].labels)
    gaps = np.flatnonzero(classes != np.arange(len(classes)))
    if len(gaps):
        raise InputError(
            f"y_train of {path} goes up to {classes[-1]} but never is {gaps[0]}: number the classes 0..K-1 without gaps"
        )
    if "failing" in arrays:
        marked = to_mask(arrays["failing"], len(parts["train"]), f"failing of {path}")
        parts["train"] = dataclasses.replace(parts["train"], failing=marked)
    names = arrays.get("class_names", classes.astype(str))
    if names.dtype.kind != "U" or names.shape != classes.shape:
        raise InputError(
            f"class_names of {path} is {names.dtype} {names.shape}: give {len(classes)} texts, one a class of y_train"
        )
    return Source(path.stem, tuple(map(str, names)), parts)


def wanted(path: pathlib.Path, there: Collection[str]) -> list[str]:
    """The names of the arrays to read among those that are there; raises InputError where one is missing."""
    validation = ["validation"] if {"x_validation", "y_validation"} & set(there) else []
    names = [f"{kind}_{part}" for part in ("train", *validation, "test") for kind in "xy"]
    if missing := [name for name in names if name not in there]:
        raise InputError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(there) or 'nothing'}")
    return names + [name for name in ("failing", "class_names") if name in there]


def to_mask(array: np.ndarray, count: int, where: str) -> Bool[np.ndarray, " N"]:
    """Which of ``count`` images are meant, by a mask or by their places. Raises InputError for anything else."""
    if array.dtype == bool and array.shape == (count,):
        return array
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or not array.size:
        raise InputError(f"{where} holds no indices: give whole numbers, the places of images in train")
    if array.min() < 0 or array.max() >= count:
        raise InputError(f"{where} goes from {array.min()} to {array.max()}, but train has {count} images")
    mask = np.zeros(count, bool)
    mask[array] = True
    return mask


def to_images(array: np.ndarray, where: str) -> UInt8[np.ndarray, "N H W C"]:
    """Images as uint8 with a channel axis; floats in [0, 1] are scaled by 255 and rounded.

    Raises:
        InputError: the shape is not [N, H, W], [N, H, W, 1] or [N, H, W, 3]; the type is neither uint8 nor float; or a
            float is NaN or outside [0, 1].
    """
    images = array[..., None] if array.ndim == 3 else array
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        hint = "; move its channels last" if images.ndim == 4 and images.shape[1] in (1, 3) else ""
        raise InputError(f"{where} has shape {array.shape}: images are [N,H,W], [N,H,W,1] or [N,H,W,3]{hint}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"{where} is {images.dtype}: save images as uint8 in 0..255 or as floats in [0, 1]")
    if np.isnan(images).any():
        raise InputError(f"{where} holds NaN: remove or mend these images")
    if images.size and (images.min() < 0 or images.max() > 1):
        raise InputError(
            f"{where} ranges over {images.min():g}..{images.max():g}, but float images lie in [0, 1]: "
            "for 0..255 divide by 255, or save uint8"
        )
    return np.rint(images * np.float32(255)).astype(np.uint8)


def to_labels(array: np.ndarray, count: int, where: str) -> Int32[np.ndarray, " N"]:
    """Labels as int32; [N, 1] is taken as [N].

    Raises:
        InputError: they are not ``count`` integers of 0 or more.
    """
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.ndim != 1:
        raise InputError(f"{where} has shape {array.shape}: labels are one integer an image (one-hot: take argmax(1))")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{where} is {labels.dtype}: labels are integers 0..K-1")
    if len(labels) != count:
        raise InputError(f"{where} has {len(labels)} labels for {count} images: their numbers must agree")
    if count and not 0 <= labels.min() <= labels.max() <= np.iinfo(np.int32).max:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"{where} holds {wrong}: labels are 0..K-1")
    return np.array(labels, np.int32)
