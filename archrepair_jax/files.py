"""Files that appear whole or not at all."""

import os
import pathlib


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file beside its place, and moves it there when it is whole; the folder is made if there is none."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.partial")  # a killed run's is overwritten by the next
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
