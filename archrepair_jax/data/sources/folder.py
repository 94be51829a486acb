"""Images in a folder for each class."""

import difflib
import pathlib

import numpy as np

from archrepair_jax.data.sources.contract import PARTS, DataSettings, Source, existing
from archrepair_jax.data.sources.image_files import Size, check_few, common_format, header, pixels, told, tried
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError
from archrepair_jax.files import check_unpacked

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
MARKED = ("failing", "passing")  # folders in place of train's
LARGEST = 4096  # pixels a side that images are brought to

Classes = dict[str, list[pathlib.Path]]  # class name -> its files, both sorted by name


def read(settings: DataSettings) -> Source:
    """``DIR/{train,validation,test}/CLASS/*``, or ``DIR/CLASS/*`` without parts; all images of one size.

    The size is theirs, or that in ``folder:HEIGHTxWIDTH``, to which all are brought. In place of ``train`` there may be
    ``failing``, the images to repair, and ``passing``. The classes are those of the training part, numbered in the
    order of their names. Images are grey where every file is, otherwise RGB; transparency is dropped. Files with other
    suffixes and hidden ones are passed over, and so are those that cannot be read, if they are few.
    """
    root = existing(settings, "a folder DIR/train/CLASS/*.png, DIR/test/CLASS/*.png, or just DIR/CLASS/*.png")
    if not root.is_dir():
        raise InputError(f"{root} is a file: data.path names a folder of images (for an .npz set data.name=npz)")
    wanted = _wanted(settings.name)
    classes = {part: _classes(folder) for part, folder in _parts(root).items()}
    names = tuple(sorted({name for part in ("train", *MARKED) for name in classes.get(part, ())}))
    for part, found in classes.items():
        for name in found:
            if name not in names:
                raise InputError(f"{root / part / name} is a class without training images: add {root}/train/{name}")

    every = [file for found in classes.values() for files in found.values() for file in files]
    formats, unread = tried(header, every)
    check_few(unread, every)
    size, mode = common_format(formats, wanted)
    check_unpacked(root, len(every) * size[0] * size[1] * len(mode), sum(file.stat().st_size for file in every))
    images, more = tried(lambda file: pixels(file, mode, wanted), formats)
    check_few(unread := unread | more, every)
    parts = {}
    for part, found in classes.items():
        rows = [(names.index(name), images[file]) for name in found for file in found[name] if file in images]
        if len({label for label, _ in rows}) < len(found):
            raise InputError(f"{root / part} has a class of which no image can be read: replace {next(iter(unread))}")
        labels = np.array([label for label, _ in rows], np.int32)
        parts[part] = Split(np.stack([image for _, image in rows]).reshape(len(rows), *size[::-1], -1), labels)
    notes = (told(unread, every),) if unread else ()
    return Source(root.resolve().name, names, _marked(parts), notes)


def _wanted(name: str) -> Size | None:
    """The size in ``folder:HEIGHTxWIDTH``; None without one. Raises InputError for what is none."""
    sides = name.partition(":")[2]
    if ":" not in name:
        return None
    height, _, width = sides.partition("x")
    if not (height.isdecimal() and width.isdecimal() and 1 <= int(height) <= LARGEST and 1 <= int(width) <= LARGEST):
        raise InputError(f"data.name={name} says no size: write height and width in pixels, as folder:64x64")
    return int(width), int(height)


def _marked(parts: dict[str, Split]) -> dict[str, Split]:
    """``failing`` and ``passing`` as the training part, in which the first are told apart."""
    if "failing" not in parts:
        return parts
    failing, passing = parts.pop("failing"), parts.pop("passing")
    marked = np.arange(len(failing) + len(passing)) < len(failing)
    pairs = zip((failing.images, failing.labels), (passing.images, passing.labels), strict=True)
    return {"train": Split(*map(np.concatenate, pairs), marked)} | parts


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _parts(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folder of each part; the root itself is the training part where there are no parts."""
    found = {folder.name: folder for folder in _subfolders(root)}
    # Classes may be called "train" and "tram", but "train" and "test" alone are parts that lack their class folders.
    parts = (*PARTS, *MARKED)
    if not found or not (found.keys() <= set(PARTS) or any(_subfolders(root / part) for part in parts)):
        return {"train": root}
    for name in found:
        if name not in parts:
            near = (difflib.get_close_matches(name, parts, n=1, cutoff=0.4) or ["train, validation or test"])[0]
            raise InputError(f"{root / name} is no part of a data set: rename it to {near}, or move it away")
    if marked := [name for name in MARKED if name in found]:
        if len(marked) < len(MARKED) or "train" in found:
            raise InputError(
                f"{root} has {', '.join(found)}: give failing and passing, without train, since a repair that is not "
                "shown what works now may break it"
            )
    elif "train" not in found:
        raise InputError(f"{root} has {', '.join(found)} but no train folder: add {root}/train/CLASS/*.png")
    return {part: found[part] for part in parts if part in found}


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
