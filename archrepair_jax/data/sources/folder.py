"""Images in a folder for each class."""

import contextlib
import difflib
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image

from archrepair_jax.data.sources.contract import PARTS, DataSettings, Source, existing, reason
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError
from archrepair_jax.files import check_unpacked

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # others, whatever a file is called, may start programs
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
GREY = {"1", "L", "LA"}

Classes = dict[str, list[pathlib.Path]]  # class name -> its files, both sorted by name


def read(settings: DataSettings) -> Source:
    """``DIR/{train,validation,test}/CLASS/*``, or ``DIR/CLASS/*`` without parts; all images of one size.

    The classes are those of the training part, numbered in the order of their names. Images are grey where every file
    is, otherwise RGB; transparency is dropped. Files with other suffixes and hidden ones are passed over.
    """
    root = existing(settings, "a folder DIR/train/CLASS/*.png, DIR/test/CLASS/*.png, or just DIR/CLASS/*.png")
    if not root.is_dir():
        raise InputError(f"{root} is a file: data.path names a folder of images (for an .npz set data.name=npz)")
    classes = {part: _classes(folder) for part, folder in _parts(root).items()}
    names = tuple(classes["train"])
    for part, found in classes.items():
        for name in found:
            if name not in names:
                raise InputError(f"{root / part / name} is a class without training images: add {root}/train/{name}")

    files = {part: [file for name in found for file in found[name]] for part, found in classes.items()}
    every = [file for part in files.values() for file in part]
    size, mode = _common_format(every)
    check_unpacked(root, len(every) * size[0] * size[1] * len(mode), sum(file.stat().st_size for file in every))
    parts = {}
    for part, found in classes.items():
        images = np.stack([_pixels(file, mode) for file in files[part]]).reshape(len(files[part]), *size[::-1], -1)
        labels = np.repeat([names.index(name) for name in found], [len(found[name]) for name in found])
        parts[part] = Split(images, labels.astype(np.int32))
    return Source(root.resolve().name, names, parts)


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _parts(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folder of each part; the root itself is the training part where there are no parts."""
    found = {folder.name: folder for folder in _subfolders(root)}
    # Classes may be called "train" and "tram", but "train" and "test" alone are parts that lack their class folders.
    if not found or not (found.keys() <= set(PARTS) or any(_subfolders(root / part) for part in PARTS)):
        return {"train": root}
    for name in found:
        if name not in PARTS:
            near = (difflib.get_close_matches(name, PARTS, n=1, cutoff=0.4) or ["train, validation or test"])[0]
            raise InputError(f"{root / name} is no part of a data set: rename it to {near}, or move it away")
    if "train" not in found:
        raise InputError(f"{root} has {', '.join(found)} but no train folder: add {root}/train/CLASS/*.png")
    return {part: found[part] for part in PARTS if part in found}


def _classes(folder: pathlib.Path) -> Classes:
    classes = {}
    for child in _subfolders(folder):
        files = (file for file in child.iterdir() if file.suffix.lower() in SUFFIXES)
        classes[child.name] = sorted(file for file in files if not file.name.startswith("."))
        if not classes[child.name]:
            raise InputError(f"{child} holds no images ({', '.join(sorted(SUFFIXES))}): add some or remove it")
    if not classes:
        raise InputError(f"{folder} holds no folders: put the images of each class in one, {folder}/CLASS/*.png")
    return classes


@contextlib.contextmanager
def _opened(file: pathlib.Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except Exception as error:  # each of Pillow's decoders has its own way to fail
        raise InputError(f"cannot read the image {file} ({reason(error)}): replace or remove it") from error


def _common_format(files: list[pathlib.Path]) -> tuple[tuple[int, int], str]:
    """The (width, height) of all files and the mode that keeps them all, from their headers alone."""
    formats = [_format(file) for file in files]
    common, modes = formats[0][0], {mode for _, mode in formats}
    for file, (size, mode) in zip(files, formats, strict=True):
        if size != common:
            raise InputError(
                f"{file} is {size[0]}x{size[1]} but {files[0]} is {common[0]}x{common[1]}: bring all images to one size"
            )
        if mode == "F" or mode.startswith("I"):
            raise InputError(f"{file} has more than 8 bits a channel (mode {mode}): save it as 8-bit grey or RGB")
    return common, "L" if modes <= GREY else "RGB"


def _format(file: pathlib.Path) -> tuple[tuple[int, int], str]:
    with _opened(file) as image:
        return image.size, image.mode


def _pixels(file: pathlib.Path, mode: str) -> np.ndarray:
    with _opened(file) as image:
        return np.asarray(image.convert(mode))
