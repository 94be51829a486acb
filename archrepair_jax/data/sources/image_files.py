"""Images as files: what their headers say, their pixels, and those that cannot be read."""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from archrepair_jax.data.sources.contract import reason
from archrepair_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # others, whatever a file is called, may start programs
GREY = {"1", "L", "LA"}
SHOWN = 3  # files that are named before they are only counted

Size = tuple[int, int]  # (width, height), as Pillow has it


class Unreadable(Exception):
    """Why an image cannot be read."""


@contextlib.contextmanager
def opened(file: pathlib.Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except Exception as error:  # each of Pillow's decoders has its own way to fail
        raise Unreadable(reason(error)) from error


def tried(look: Callable, files: Iterable[pathlib.Path]) -> tuple[dict[pathlib.Path, Any], dict[pathlib.Path, str]]:
    """What there is to see of each file, and of those that cannot be read, why."""
    seen, unread = {}, {}
    for file in files:
        try:
            seen[file] = look(file)
        except Unreadable as error:
            unread[file] = str(error)
    return seen, unread


def check_few(unread: dict[pathlib.Path, str], every: list[pathlib.Path]) -> None:
    """Raises InputError where more than one in a hundred cannot be read."""
    if 100 * len(unread) > len(every):
        (first, why), *others = unread.items()
        rest = f" and {len(others)} more of {len(every)}" if others else ""
        raise InputError(f"cannot read the image {first} ({why}){rest}: replace or remove it")


def told(unread: dict[pathlib.Path, str], every: list[pathlib.Path]) -> str:
    shown = ", ".join(f"{file} ({why})" for file, why in list(unread.items())[:SHOWN])
    more = f" and {len(unread) - SHOWN} more" if len(unread) > SHOWN else ""
    return f"{len(unread)} of {len(every)} images cannot be read and were left out: {shown}{more}"


def common_format(formats: dict[pathlib.Path, tuple[Size, str]], wanted: Size | None) -> tuple[Size, str]:
    """The size of all files, or the one that is wanted, and the mode that keeps them all, from their headers alone."""
    (first, (common, _)), *_ = formats.items()
    modes = {mode for _, mode in formats.values()}
    for file, (size, mode) in formats.items():
        if not wanted and size != common:
            raise InputError(
                f"{file} is {size[0]}x{size[1]} but {first} is {common[0]}x{common[1]}: bring all images to one size, "
                f"or have them brought to it, as --config.data.name=folder:{common[1]}x{common[0]}"
            )
        if mode == "F" or mode.startswith("I"):
            raise InputError(f"{file} has more than 8 bits a channel (mode {mode}): save it as 8-bit grey or RGB")
    return wanted or common, "L" if modes <= GREY else "RGB"


def header(file: pathlib.Path) -> tuple[Size, str]:
    with opened(file) as image:
        return image.size, image.mode


def pixels(file: pathlib.Path, mode: str, wanted: Size | None) -> np.ndarray:
    with opened(file) as image:
        image = image.convert(mode)
        return np.asarray(image.resize(wanted, Image.Resampling.BILINEAR) if wanted else image)
