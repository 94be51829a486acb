"""Files that appear whole or not at all, and files that are read without trust in what they say."""

import json
import math
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from archrepair_jax.errors import InputError

UNPACKED = 2**28  # bytes that a file of any size may unpack to
RATIO = 50  # and a larger one so many times its own size: what takes more holds hardly anything but repetitions


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file beside its place, and moves it there when it is whole; the folder is made if there is none."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.partial")  # a killed run's is overwritten by the next
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno:  # on a full disk it does not say where that was
            error.filename = error.filename or str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


class Declared(NamedTuple):
    """What an archive says of an array, known before it is unpacked."""

    dtype: np.dtype
    shape: tuple[int, ...]


def read_npz(
    path: str | os.PathLike,
    choose: Callable[[Mapping[str, Declared]], Iterable[str]] = list,
    what: str = ".npz archive of arrays: save it again with np.savez",
) -> dict[str, np.ndarray]:
    """The arrays of an .npz archive, all or those that ``choose`` names when it is shown what is declared of each.

    Nothing is unpacked before that, and never more than ``check_unpacked`` allows. Raises what ``choose`` raises, and
    InputError for a file that cannot be read, is damaged or none (the error says ``what`` it should be, and what to
    do), is too large, or holds Python objects, which can run code when they are read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            headers = {name: declared(archive, member) for name, member in members.items()}
            chosen = list(choose(headers))
            for name in chosen:
                if headers[name].dtype.hasobject:
                    raise InputError(f"{path} holds Python objects ({name}), which are not read: save numbers alone")
            check_unpacked(path, sum(members[name].file_size for name in chosen), os.path.getsize(path))
            return {name: unpacked(archive, members[name]) for name in chosen}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); check the path") from error
    except Exception as error:  # zipfile, zlib and numpy have a dozen ways to fail on a damaged file
        raise InputError(f"{path} is damaged or no {what}") from error


def declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Declared:
    """The type and shape of an array; raises ValueError where its member cannot hold it or numpy did not write it."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may take any amount of memory
        raise ValueError(f"compression {member.compress_type}")
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):  # of structured types alone, and with headers of any length
            raise ValueError("a later format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        size = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and (size != member.file_size or min(shape, default=0) < 0 or not dtype.itemsize):
        raise ValueError(f"{member.file_size} bytes do not hold {dtype} {shape}")
    return Declared(dtype, shape)


def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def check_unpacked(path: str | os.PathLike, unpacked: int, packed: int) -> None:
    """Raises InputError where so many bytes are to come out of so few."""
    if unpacked > max(UNPACKED, RATIO * packed):
        raise InputError(
            f"{path} would take {unpacked / 2**20:.0f} MiB of memory, over {RATIO} times its own size: "
            "look at what it holds, and save it uncompressed"
        )


def read_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file; NaN and Infinity are read as Python writes them.

    Raises InputError for a file that cannot be read, is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged or no JSON: write it again") from error
